"""Counters, gauges and histograms: what they take and refuse, and what becomes of their numbers in a cluster."""

import builtins
import pickle
import subprocess
import sys
import threading

import pytest

from distpool.util import metrics, metrics_sharing
from distpool.util.metrics import Counter, Gauge, Histogram, Series


@pytest.fixture(autouse=True)
def _no_others(monkeypatch):
    monkeypatch.setattr(metrics, "_series", {})


def values(name):
    (found,) = [each for each in metrics.snapshot() if each.name == name]
    return found.values


def test_a_counter_adds_up():
    counter = Counter("rows", "rows read", ("file",))
    counter.inc(3, {"file": "a"})
    counter.inc(tags={"file": "a"})
    counter.inc(0.5, {"file": "b"})
    assert values("rows") == {("a",): 4.0, ("b",): 0.5}


def test_a_gauge_is_what_it_was_set_to():
    gauge = Gauge("length")
    gauge.set(3)
    gauge.set(-1.5)
    gauge.set(None)
    assert values("length") == {(): -1.5}


def test_a_histogram_counts_in_buckets():
    histogram = Histogram("seconds", boundaries=[1, 0.1, 10])
    for value in (0.05, 0.1, 0.5, 1, 2, 100, -3):
        histogram.observe(value)
    assert values("seconds") == {(): [3, 2, 1, 1, pytest.approx(100.65)]}
    assert histogram.info["boundaries"] == [1, 0.1, 10]


@pytest.mark.parametrize("value", [0, -1, -0.5])
def test_a_counter_only_grows(value):
    with pytest.raises(ValueError, match="above 0"):
        Counter("rows").inc(value)


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_values_are_numbers(value):
    with pytest.raises(TypeError, match="int or a float"):
        Counter("rows").inc(value)
    with pytest.raises(TypeError, match="int or a float"):
        Histogram("h", boundaries=[1]).observe(value)
    if value is not None:
        with pytest.raises(TypeError, match="int or a float"):
            Gauge("g").set(value)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("",), ValueError, "needs a name"),
        ((3,), TypeError, "is a string, not a int"),
        (("m", "d", "ab"), TypeError, "tuple of strings, not a str"),
        (("m", "d", ["a"]), TypeError, "tuple of strings, not a list"),
        (("m", "d", (1,)), TypeError, "in this one is a int"),
    ],
)
def test_what_a_metric_refuses(arguments, error, text):
    for kind in (Counter, Gauge):
        with pytest.raises(error, match=text):
            kind(*arguments)


@pytest.mark.parametrize("boundaries", [None, [], [0, 1], [-1], ["a"]])
def test_what_boundaries_a_histogram_refuses(boundaries):
    with pytest.raises((ValueError, TypeError), match=r"boundaries|int or a float"):
        Histogram("h", boundaries=boundaries)


def test_every_tag_needs_a_string():
    counter = Counter("rows", tag_keys=("file", "kind"))
    with pytest.raises(ValueError, match="has none for kind"):
        counter.inc(1, {"file": "a"})
    with pytest.raises(TypeError, match="tag 'kind' is a string, not a int"):
        counter.inc(1, {"file": "a", "kind": 3})
    with pytest.raises(ValueError, match="has none for file, kind"):
        counter.inc()
    assert values("rows") == {}


def test_default_tags_stand_in():
    counter = Counter("rows", tag_keys=("file", "kind"))
    assert counter.set_default_tags({"kind": "k"}) is counter
    counter.inc(1, {"file": "a"})
    counter.inc(1, {"file": "a", "kind": "other"})
    assert values("rows") == {("a", "k"): 1.0, ("a", "other"): 1.0}
    assert counter.info == {
        "name": "rows",
        "description": "",
        "tag_keys": ("file", "kind"),
        "default_tags": {"kind": "k"},
    }
    with pytest.raises(ValueError, match="has no tag 'size'; it has file, kind"):
        counter.set_default_tags({"size": "1"})
    with pytest.raises(TypeError, match="is a string"):
        counter.set_default_tags({"kind": 1})


def test_tags_without_a_key_are_left_out():
    counter = Counter("rows", tag_keys=("file",))
    counter.inc(1, {"file": "a", "more": "b"})
    assert values("rows") == {("a",): 1.0}


def test_two_of_one_name_are_one():
    Counter("rows").inc()
    Counter("rows").inc(2)
    assert values("rows") == {(): 3.0}


def test_a_metric_that_was_sent_counts_where_it_is():
    counter = Counter("rows", tag_keys=("file",)).set_default_tags({"file": "a"})
    again = pickle.loads(pickle.dumps(counter))
    again.inc()
    assert again.info == counter.info
    assert values("rows") == {("a",): 1.0}
    histogram = pickle.loads(pickle.dumps(Histogram("h", boundaries=[1])))
    histogram.observe(2)
    assert values("h") == {(): [0, 1, 2.0]}


def test_threads_lose_nothing():
    counter, histogram = Counter("rows"), Histogram("h", boundaries=[1])

    def count():
        for _ in range(2_000):
            counter.inc()
            histogram.observe(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values("rows") == {(): 8_000.0}
    assert values("h") == {(): [0, 8_000, 16_000.0]}


def three_processes():
    """What three processes have recorded."""
    one = [
        Series("counter", "rows", "rows read", ("file",), (), {("a",): 1.0, ("b",): 2.0}),
        Series("gauge", "length", "", (), (), {(): 5.0}),
        Series("histogram", "seconds", "", (), (0.1, 1.0), {(): [1, 2, 3, 10.5]}),
    ]
    two = [
        Series("counter", "rows", "rows read", ("file",), (), {("a",): 10.0}),
        Series("gauge", "length", "", (), (), {(): 7.0}),
        Series("histogram", "seconds", "", (), (0.1, 1.0), {(): [1, 0, 0, 0.05]}),
    ]
    other = [Series("histogram", "seconds", "", (), (5.0,), {(): [1, 0, 2.0]})]
    return {"here:1": one, "here:2": two, "there:1": other}


def test_in_a_cluster_counts_are_added_and_gauges_stay_apart():
    by_name = {}
    for each in metrics_sharing.merged(three_processes()):
        by_name.setdefault(each.name, []).append(each)
    (rows,) = by_name["rows"]
    assert rows.values == {("a",): 11.0, ("b",): 2.0}
    (length,) = by_name["length"]
    assert length.tag_keys == ("process",)
    assert length.values == {("here:1",): 5.0, ("here:2",): 7.0}
    assert [each.values for each in by_name["seconds"]] == [{(): [2, 2, 3, 10.55]}, {(): [1, 0, 2.0]}]


def test_a_later_process_of_the_same_id_adds_to_the_counts_and_replaces_the_gauges():
    rows = Series("counter", "rows", "", (), (), {(): 1.0})
    early, late = (Series("gauge", "length", "", (), (), {(): value}) for value in (5.0, 7.0))
    merged = metrics_sharing.merged({"here:1/a": [rows, early], "here:1/b": [rows, late]})
    assert [each.values for each in merged] == [{(): 2.0}, {("here:1",): 7.0}]


def test_without_a_session_the_numbers_are_this_processes_own():
    code = (
        "import distpool; from distpool.util import metrics, metrics_sharing\n"
        "metrics.Counter('rows').inc(2); print([each.values for each in metrics_sharing.collect()])\n"
        "print(distpool.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[{(): 2.0}]\nFalse\n", "")


def test_merging_changes_nothing_of_what_was_merged():
    given = three_processes()
    metrics_sharing.merged(given)
    assert given == three_processes()


def test_series_come_through_the_wire_as_they_are():
    for series in three_processes().values():
        assert metrics_sharing.unpacked(metrics_sharing.packed(series)) == series


def test_as_text_for_prometheus():
    pytest.importorskip("prometheus_client")
    text = metrics_sharing.prometheus_text(metrics_sharing.merged(three_processes()))
    for line in (
        "# HELP ray_rows_total rows read",
        "# TYPE ray_rows_total counter",
        'ray_rows_total{file="a"} 11.0',
        "# TYPE ray_length gauge",
        'ray_length{process="here:2"} 7.0',
        "# TYPE ray_seconds histogram",
        'ray_seconds_bucket{le="0.1"} 2.0',
        'ray_seconds_bucket{le="1.0"} 4.0',
        'ray_seconds_bucket{le="+Inf"} 7.0',
        "ray_seconds_count 7.0",
        "ray_seconds_sum 10.55",
    ):
        assert line in text.splitlines()


def test_names_that_prometheus_does_not_know_are_changed():
    pytest.importorskip("prometheus_client")
    odd = [
        Series("gauge", "a b-c", "", ("k.l",), (), {("x",): 1.0}),
        Series("counter", "a b-c", "", (), (), {(): 2.0}),
    ]
    lines = metrics_sharing.prometheus_text(odd, prefix="").splitlines()
    assert 'a_b_c{k_l="x"} 1.0' in lines
    assert "a_b_c_counter_total 2.0" in lines


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(metrics_sharing.importlib, "import_module", lambda name, *rest: absent(name, *rest))
    with pytest.raises(ModuleNotFoundError, match="pip install prometheus-client"):
        metrics_sharing.prometheus_text([])
