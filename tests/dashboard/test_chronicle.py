"""Looks in, facts out: sums that survive workers and lost answers, rates, what a page is told, all by value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.commands.dashboard import exposition, tables
from distpool.commands.dashboard.chronicle import ERRORS_MAX, Chronicle
from distpool.commands.dashboard.functions import called, quantile
from distpool.commands.dashboard.histories import COARSE_MAX, COARSE_S, FINE_MAX, History, thinned
from distpool.commands.dashboard.overview import LANES_SHOWN, changes, frame, snapshot
from distpool.commands.dashboard.streams import BARS_MAX, Stream
from distpool.scheduler.messages.activity import Bar, CallStates, LeftActivity, Mishap, pack
from distpool.util.metrics import Series
from tests.dashboard.making import a_look, facts, lease, machine, owner, pool, tally, worker


def done(chronicle: Chronicle, name: str = "f") -> float:
    return chronicle.functions.by_name[name].done


# ------------------------------------------------------------------------------------------------- sums


def test_counts_are_sums_of_differences() -> None:
    chronicle = Chronicle()
    for at_s, (one, two) in enumerate([(10, 5), (10, 5), (30, 6)]):
        chronicle.take(a_look(at_s, worker(1, tally("f", one)), worker(2, tally("f", two))))
    assert done(chronicle) == 36
    assert chronicle.rates() == (10.5, 0.0), "21 in the two seconds since the first look, which is no rate"


def test_a_worker_that_has_ended_counts_once_with_its_last_word() -> None:
    chronicle = Chronicle()
    chronicle.take(a_look(0, worker(1, tally("f", 10))))
    chronicle.take(a_look(1))
    last = LeftActivity(1, pack(worker(1, tally("f", 13))))
    chronicle.take(a_look(2, last, worker(2, tally("f", 1))))
    assert done(chronicle) == 14


def test_a_node_that_is_silent_for_a_while_is_not_counted_twice() -> None:
    chronicle = Chronicle()
    chronicle.take(a_look(0, worker(1, tally("f", 10))))
    chronicle.take(a_look(1, silent=True))
    assert chronicle.nodes["a"].state == "silent"
    chronicle.take(a_look(2, worker(1, tally("f", 11))))
    assert done(chronicle) == 11


def test_a_worker_with_the_number_of_an_earlier_one_is_another() -> None:
    chronicle = Chronicle()
    chronicle.take(a_look(0, worker(1, tally("f", 10))))
    successor = worker(1, tally("f", 2))
    chronicle.take(a_look(1, type(successor)("a", 1, 4711, False, successor.tallies)))
    assert done(chronicle) == 12


def test_states_come_from_owners_and_what_runs_from_slots() -> None:
    chronicle = Chronicle()
    calls = CallStates("<locals>.f", 3, 40, 2), CallStates("g", 0, 1, 0, True)
    view = pool(lease(1, "main.<locals>.f"), lease(2), pending=41)
    chronicle.take(a_look(0, owner(*calls, pools=(view,)), workers=(facts(1, 7, 2.5), facts(2))))
    assert chronicle.states() == {"waiting": 3, "queued": 41, "sent": 1, "running": 1}
    assert chronicle.functions.by_name["g"].guessed
    assert chronicle.workers["a/1"].function == "f"
    assert chronicle.workers["a/1"].for_s == 2.5
    assert [now.state for now in chronicle.workers.values()] == ["runs", "idle"]
    chronicle.take(a_look(1, owner()))
    assert chronicle.states() == {"waiting": 0, "queued": 0, "sent": 0, "running": 0}, (
        "it is told anew each time"
    )


def test_machines_and_processes_are_shares_of_the_time_between_looks() -> None:
    chronicle = Chronicle()
    chronicle.take(a_look(0, workers=(facts(1),), load=machine(10.0, 5.0, 1)))
    assert chronicle.nodes["a"].cpu is None
    chronicle.take(a_look(2, workers=(facts(1),), load=machine(12.0, 7.0, 1)))
    assert chronicle.nodes["a"].cpu == 0.5
    assert chronicle.workers["a/1"].cpu == 0.5
    numbers = chronicle.history.points(0.0)[-1][1]
    assert (numbers["cpu a"], numbers["memory a"]) == (0.5, 0.25)


def test_errors_are_kept_with_their_number_up_to_a_bound() -> None:
    chronicle = Chronicle()
    for at_s in range(30):
        mishaps = tuple(
            Mishap(n, 5.0, "f", "TASK_EXECUTION_EXCEPTION", "Traceback\nValueError: no\n", "a", 1)
            for n in range(1, 51)
        )
        chronicle.take(a_look(at_s, owner(mishaps=mishaps, failed=50 * (at_s + 1))))
    assert (len(chronicle.errors), chronicle.error_count) == (ERRORS_MAX, 1500)
    assert chronicle.errors[-1].headline == "ValueError: no"
    assert snapshot(chronicle).facts["failed"] == 1500


def test_names_and_quantiles() -> None:
    assert [called(n) for n in ("f", "main.<locals>.f", "C.m", "")] == ["f", "f", "C.m", "(unnamed)"]
    assert quantile({}, 0.5) == 0.0
    assert quantile({10: 100.0}, 1.0) == 1024e-6
    assert quantile({10: 90.0, 20: 10.0}, 0.5) < 0.0011 < 0.5 < quantile({10: 90.0, 20: 10.0}, 0.95) < 1.05


# ------------------------------------------------------------------------------------------------ over time


def test_history_is_fine_then_coarse_and_bounded() -> None:
    history = History()
    for second in range(20_000):
        history.put(float(second), {"done": float(second)})
    points = history.points(0.0)
    assert abs(len(points) - (FINE_MAX + COARSE_MAX - FINE_MAX / COARSE_S)) <= 1
    times = [at_s for at_s, _ in points]
    assert times == sorted(times)
    assert history.points(19_990.0) == [(float(s), {"done": float(s)}) for s in range(19_990, 20_000)]
    history.put(5.0, {"done": 0.0})
    assert history.points(0.0) == points, "a clock that was set back adds nothing"


def test_a_number_that_was_not_told_is_a_gap() -> None:
    history = History()
    history.put(1.0, {"a": 1.0})
    history.put(2.0, {"b": 2.0})
    assert history.columns(0.0) == {"at": [1.0, 2.0], "a": [1.0, None], "b": [None, 2.0]}


@given(st.lists(st.floats(0, 1e6), unique=True, max_size=200), st.integers(2, 50))
def test_thinning_keeps_order_newest_and_range(times: list[float], most: int) -> None:
    points = [(at_s, {"x": at_s}) for at_s in sorted(times)]
    less = thinned(points, most)
    assert len(less) <= most
    assert [at_s for at_s, _ in less] == sorted(at_s for at_s, _ in less)
    if points:
        assert less[-1] == points[-1]
        assert all(points[0][0] <= values["x"] <= points[-1][0] for _, values in less)


def bar(start_s: float, end_s: float, calls: int = 1) -> Bar:
    return Bar(0, start_s, end_s, end_s - start_s, calls, 0)


def test_the_stream_takes_each_bar_once_and_is_bounded() -> None:
    stream = Stream()
    stream.add(1, [worker(1, names=("f",), bars=(bar(1.0, 2.0), bar(2.0, 3.0, 9)))], 0.0)
    stream.add(2, [worker(1, names=("f",), bars=(bar(2.0, 3.0, 9), bar(2.5, 4.0, 9)))], 1.0)
    assert [(row[2], row[3]) for row in stream.news(0)] == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert len(stream.news(1)) == 1
    assert stream.news(0, workers=frozenset(["a/2"])) == []
    for look in range(3, 3000):
        bars = tuple(bar(look + n / 100, look + (n + 1) / 100) for n in range(50))
        stream.add(look, [worker(1, names=("f",), bars=bars)], float(look))
    assert len(stream.news(0)) <= BARS_MAX


# ------------------------------------------------------------------------------------------- what is told


def test_a_page_that_is_told_frame_by_frame_has_what_a_new_one_gets() -> None:
    chronicle = Chronicle()
    page: dict[str, dict[str, object]] = {"nodes": {}, "functions": {}, "lanes": {}, "errors": {}}
    before = None
    for step in range(12):
        numbers = range(1, 2 + step % 3)
        chronicle.take(
            a_look(
                step,
                *(worker(n, tally(f"f{step % 4}", step + 1)) for n in numbers),
                owner(mishaps=(Mishap(step + 1, 1.0, "f", "OTHER", "x"),)),
                workers=tuple(facts(n) for n in numbers),
                load=machine(step, step / 2),
            )
        )
        if step % 5 == 3:
            continue  # this page was slow, and missed a frame
        now = snapshot(chronicle)
        told = json.loads(json.dumps(frame(chronicle, now, before)))
        for name, rows in page.items():
            for key in told[name]["gone"]:
                del rows[key]
            rows.update(told[name]["set"])
        before = now
    assert before is not None
    whole = json.loads(json.dumps(frame(chronicle, before, None)))
    assert page == {name: whole[name]["set"] for name in page}


def test_changes_are_what_is_new_other_or_gone() -> None:
    before = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}
    now = {"a": {"x": 1}, "b": {"x": 9}, "d": {"x": 4}}
    assert changes(before, now) == {"set": {"b": {"x": 9}, "d": {"x": 4}}, "gone": ["c"]}


def test_a_frame_of_many_workers_and_functions_stays_small() -> None:
    chronicle = Chronicle()
    for at_s in range(3):
        activities = [
            worker(
                n,
                tally(f"f{n}", 100 * at_s),
                names=("f",),
                bars=tuple(bar(at_s + b, at_s + b + 1) for b in range(4)),
            )
            for n in range(1, 1001)
        ]
        chronicle.take(a_look(at_s, *activities, workers=tuple(facts(n, 1) for n in range(1, 1001))))
    now = snapshot(chronicle)
    assert len(now.lanes) == LANES_SHOWN
    assert now.facts["workers"] == 1000
    assert len(json.dumps(frame(chronicle, now, None))) < 150_000


def test_tables_are_cut_sorted_and_filtered_here() -> None:
    rows = [{"name": f"f{n}", "done": n, "cpu": None if n % 2 else n} for n in range(1000)]
    told = tables.cut(rows, tables.Wanted("f9", "done", True, 2, 3))
    assert told["total"] == 111
    assert [row["done"] for row in told["rows"]] == [997, 996, 995]
    assert tables.cut(rows, tables.Wanted(sort="cpu", limit=1))["rows"][0]["cpu"] is None
    for query in ({"offset": "-1"}, {"limit": "x"}, {"offset": "9" * 30}):
        with pytest.raises(ValueError, match="whole number"):
            tables.wanted_of(query)


def test_metrics_are_what_prometheus_reads() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    chronicle = Chronicle()
    chronicle.take(a_look(0, worker(1, tally("f", 7, 2, 0.003)), workers=(facts(1, 1),), load=machine(1.0)))
    text = exposition.text_of(chronicle, [Series("counter", "rows", "", ("file",), (), {("a",): 3.0})])
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["distpool_tasks_total", "done", "f"] == 7
    assert samples["distpool_tasks_total", "f", "failed"] == 2
    assert samples["distpool_task_seconds_count", "f"] == 9
    assert samples["distpool_task_seconds_bucket", "+Inf", "f"] == 9
    assert [
        value for (name, *labels), value in samples.items() if name == "distpool_workers" and "runs" in labels
    ] == [1]
    assert samples["ray_rows_total", "a"] == 3
    assert any(name[0] == "distpool_node_memory_used_bytes" for name in samples)
