"""``scheduler="distpool"`` beside Dask's own synchronous scheduler: the same values, whatever the collection."""

from __future__ import annotations

import contextlib
import operator
import os
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask import delayed
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef
from dask.callbacks import Callback
from dask.diagnostics import ProgressBar
from dask.utils_test import GetFunctionTestMixin, add, inc

import distpool
import distpool.dask
from distpool.dask import AnnotationError, CycleError, MissingKeyError
from distpool.dask.running import Computation
from distpool.errors import WorkerDied
from distpool.scheduler import client
from distpool.scheduler.remote.refs import ObjectRef
from tests.big import storage
from tests.processes.scene import wait_until

pytestmark = pytest.mark.usefixtures("session")

CHUNK = (256, 256)  # of floats: half a megabyte, so that it lies in the store


class TestGet(GetFunctionTestMixin):
    """What Dask expects of a function that computes graphs."""

    get = staticmethod(distpool.dask.get)


# ------------------------------------------------------------------------------------- collections


def frame(rows: int = 4000) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "key": random.integers(0, 40, rows),
            "name": random.choice(["ann", "ben", "cis", "dan"], rows),
            "value": random.random(rows),
        }
    )


def _array() -> da.Array:
    x = da.random.default_rng(3).random((1024, 512), chunks=CHUNK)
    return (x + x.mean(axis=0) - x[::-1]).dot(x.T).sum(axis=1)


def _bag() -> db.Bag:
    words = db.from_sequence(["a", "bb", "ccc", "dd", "e", "fff"] * 20, npartitions=5)
    return words.foldby(len, lambda total, _word: total + 1, 0)


def _grouped_bag() -> db.Bag:
    words = db.from_sequence(["a", "bb", "ccc", "dd", "e", "fff"] * 20, npartitions=5)
    return words.groupby(str, shuffle="tasks").map(lambda pair: (pair[0], len(pair[1]))).repartition(1)


COLLECTIONS = {
    "array": _array,
    "bag": _bag,
    "grouped bag": _grouped_bag,
    "set_index": lambda: dd.from_pandas(frame(), npartitions=7).set_index("key"),
    "groupby": lambda: dd.from_pandas(frame(), npartitions=7).groupby("name").value.agg(["mean", "count"]),
    "merge": lambda: (
        dd.from_pandas(frame(), npartitions=5)
        .merge(dd.from_pandas(frame(300), npartitions=3), on="key", shuffle_method="tasks")
        .value_x.sum()
    ),
    "delayed": lambda: delayed(sum)([delayed(pow)(i, 2) for i in range(50)]),
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_the_values_are_those_of_the_synchronous_scheduler(name):
    collection = COLLECTIONS[name]()
    expected, got = collection.compute(scheduler="sync"), collection.compute(scheduler="distpool")
    if isinstance(expected, (pd.DataFrame, pd.Series)):
        assert expected.equals(got)  # the order, too
        assert list(expected.index) == list(got.index)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(expected, got)
    elif isinstance(expected, list):
        assert sorted(expected) == sorted(got)
    else:
        assert expected == pytest.approx(got)
    assert type(expected) is type(got)


def test_no_row_is_lost_by_a_shuffle():
    whole = frame()
    shuffled = dd.from_pandas(whole, npartitions=9).set_index("key").compute(scheduler="distpool")
    columns = ["key", "name", "value"]
    pd.testing.assert_frame_equal(
        shuffled.reset_index()[columns].sort_values(columns, ignore_index=True),
        whole.sort_values(columns, ignore_index=True),
        check_dtype=False,
    )


def test_it_may_be_the_default_of_the_configuration_or_a_function():
    total = delayed(add)(1, 2)
    with dask.config.set(scheduler="distpool"):
        assert dask.compute(total, total + 1) == (3, 4)
    assert dask.compute(total, scheduler=distpool.dask.get) == (3,)


def test_every_kind_of_node_of_the_new_graphs():
    graph = {
        "data": DataNode("data", {"a": 1}),
        "other": Alias("other", "data"),
        "task": Task("task", add, 1, y=Task(None, inc, TaskRef("n"))),
        "n": Task("n", int, 5),
        "nested": Task("nested", dict, List(List("k", TaskRef("n")), List("l", TaskRef("task")))),
        "dictionary": Task("dictionary", len, Dict({"a": TaskRef("n"), "b": 2})),
    }
    keys = ["data", "other", ["task", "nested"], "dictionary"]
    assert distpool.dask.get(graph, keys) == ({"a": 1}, {"a": 1}, (7, {"k": 5, "l": 7}), 2)


def test_work_is_done_by_workers_and_what_they_cannot_import_goes_along():
    def where() -> int:
        return os.getpid()

    pids = {delayed(where, pure=False)().compute(scheduler="distpool") for _ in range(3)}
    assert os.getpid() not in pids


def test_a_graph_may_be_computed_within_a_task():
    def inner(count: int) -> int:
        import distpool.dask as door

        return delayed(sum)([delayed(inc)(i) for i in range(count)]).compute(scheduler=door.get)

    assert delayed(sum)([delayed(inner)(3), delayed(inner)(4)]).compute(scheduler="distpool") == 16


def test_threads_compute_side_by_side():
    results = {}

    def work(number: int) -> None:
        results[number] = delayed(sum)([delayed(inc)(i) for i in range(number)]).compute(scheduler="distpool")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: sum(range(1, number + 1)) for number in range(5)}


# ------------------------------------------------------------------------------------- the store


def test_what_nobody_needs_any_more_leaves_the_store_while_the_rest_is_computed(tmp_path):
    """A long line of big values, each made of the one before: never more than a few of them are there."""
    seen = []

    class Look(Callback):
        def _posttask(self, key, value, dsk, state, worker_id):
            seen.append(len(list(storage.lying_there())))

    value = delayed(np.zeros)(CHUNK)
    for _ in range(12):
        value = delayed(np.add)(value, 1.0)
    with Look():
        result = value.compute(scheduler="distpool")
    assert result[0, 0] == 12.0
    assert len(seen) == 13
    assert max(seen) <= 4


def test_data_of_the_graph_goes_into_the_store_once_for_all_who_need_it():
    big = np.arange(65536.0)
    graph = {"big": DataNode("big", big)}
    graph |= {("part", i): Task(("part", i), _after_a_look, TaskRef("big"), i) for i in range(6)}
    parts = distpool.dask.get(graph, [("part", i) for i in range(6)])
    assert [value for value, _ in parts] == [float(i) for i in range(6)]
    assert distpool.dask.get(graph, "big") is big


def _after_a_look(array: np.ndarray, place: int) -> tuple[float, int]:
    return float(array[place]), os.getpid()


def test_chunks_of_a_persisted_collection_stay_in_the_store_and_serve_any_scheduler():
    x = da.random.default_rng(1).random((512, 512), chunks=CHUNK)
    expected = x.compute(scheduler="sync")
    kept = x.persist(scheduler="distpool")
    assert len(list(storage.lying_there())) == 4
    assert all(isinstance(task.reference, ObjectRef) for task in dict(kept.dask).values())
    np.testing.assert_array_equal(kept.compute(scheduler="distpool"), expected)
    np.testing.assert_array_equal((kept + 1)[::2].compute(scheduler="distpool"), (expected + 1)[::2])
    np.testing.assert_array_equal((kept * 2).compute(scheduler="sync"), expected * 2)
    with dask.config.set(scheduler="distpool"):
        again = (kept - 1).persist()
        del kept
        np.testing.assert_array_equal(again.compute(), expected - 1)


@pytest.mark.parametrize("name", ["bag", "set_index", "delayed"])
def test_every_collection_can_be_persisted(name):
    collection = COLLECTIONS[name]()
    kept = collection.persist(scheduler="distpool")
    assert type(kept) is type(collection)
    expected, got = collection.compute(scheduler="sync"), kept.compute(scheduler="distpool")
    assert expected.equals(got) if isinstance(expected, pd.DataFrame) else expected == got


def test_a_value_that_is_lost_is_made_again(monkeypatch, tmp_path):
    """The store loses it before its user could read it: the graph says how it is made."""
    lost = []

    class Lose(Callback):
        def _pretask(self, key, dsk, state):
            if key == "last" and not lost:
                lost.extend(storage.lose_all())

    graph = {
        "first": Task("first", _count_and_make, str(tmp_path)),
        "second": Task("second", np.add, TaskRef("first"), 1.0),
        "last": Task("last", np.sum, TaskRef("second")),
    }
    with Lose():
        assert distpool.dask.get(graph, "last") == 65536.0
    assert lost
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_only_taken_apart_never_leaves_its_worker():
    """The whole could not even be pickled; a part of it is big, one small, one is wanted for itself."""
    graph = {
        "n": 4,
        "whole": Task("whole", _split, TaskRef("n")),
        "big": Task("big", operator.getitem, TaskRef("whole"), "big"),
        "small": Task("small", operator.getitem, TaskRef("whole"), "small"),
        "again": Task("again", operator.getitem, TaskRef("whole"), "small"),
        "sum": Task("sum", lambda big, small: big.sum() + small, TaskRef("big"), TaskRef("small")),
    }
    assert distpool.dask.get(graph, ["sum", "small", "again"]) == (65540.0, 4, 4)


def test_a_part_that_there_is_not_is_an_error_as_ever():
    graph = {
        "whole": Task("whole", dict, [(1, "there")]),
        "one": Task("one", operator.getitem, TaskRef("whole"), 1),
        "two": Task("two", operator.getitem, TaskRef("whole"), 2),
    }
    with pytest.raises(KeyError) as raised:
        distpool.dask.get(graph, ["one", "two"])
    assert raised.value.args == (2,)
    assert "taking 2 out of its value" in raised.value.__notes__
    assert "raised by the Dask task 'whole'" in raised.value.__notes__


def test_a_part_that_is_lost_is_made_again_with_its_whole(monkeypatch, tmp_path):
    lost = []
    call = Computation._call

    def lose(computation, number):
        if computation._nodes[number][-1].key == "last" and not lost:
            lost.extend(storage.lose_all())
        return call(computation, number)

    monkeypatch.setattr(Computation, "_call", lose)
    graph = {
        "whole": Task("whole", lambda folder: [_count_and_make(folder), 1.0], str(tmp_path)),
        "one": Task("one", operator.getitem, TaskRef("whole"), 0),
        "two": Task("two", operator.getitem, TaskRef("whole"), 1),
        "last": Task("last", lambda one, two: one.sum() + two, TaskRef("one"), TaskRef("two")),
    }
    assert distpool.dask.get(graph, "last") == 1.0
    assert len(lost) == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("told", [False, True])
def test_a_task_is_known_by_the_name_that_the_graph_has_for_it(told):
    """Dask's ``df.loc[::-1]`` has tasks that have another for themselves."""
    graph = {
        "one": Task("another", add, 1, 2),
        "two": Task(TaskRef("two"), inc, TaskRef("one")),
        "three": Task("three", inc, TaskRef("two")),
    }
    with Callback(posttask=lambda *_: None) if told else contextlib.nullcontext():
        assert distpool.dask.get(graph, "three") == 5
    reversed_frame = dd.from_pandas(frame(), npartitions=3).loc[::-1]
    assert reversed_frame.compute(scheduler="distpool").equals(reversed_frame.compute(scheduler="sync"))


def test_a_part_may_be_taken_apart_itself():
    a, b = (delayed(_nested)()[place] for place in (0, 1))
    inner, three = a[0], a[1]
    assert dask.compute(b, three, inner[0], inner[1], scheduler="distpool") == ("last", 3, "xx", 2)


def test_what_is_taken_twice_is_one_part(tmp_path):
    graph = {"whole": Task("whole", _pair_with_noted, str(tmp_path))} | {
        f"part {i}": Task(f"part {i}", operator.getitem, TaskRef("whole"), min(i, 1)) for i in range(5)
    }
    one, *noted = distpool.dask.get(graph, [f"part {i}" for i in range(5)])
    assert (one, *[type(each) for each in noted]) == (1, *[_Noted] * 4)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_may_take_long_to_take_is_a_call_for_each_part(tmp_path):
    """As an item of a data set, which is read when it is asked for."""
    items = delayed(_Reads)(str(tmp_path))
    assert dask.compute(items[0], items[1], items["a"], scheduler="distpool") == (0, 1, "a")


def test_a_part_that_there_is_not_is_looked_for_here_for_a_debugger():
    graph = {
        "whole": Task("whole", dict, [(1, "there")]),
        "one": Task("one", operator.getitem, TaskRef("whole"), 1),
        "two": Task("two", operator.getitem, TaskRef("whole"), 2),
    }
    with pytest.raises(KeyError) as raised:
        distpool.dask.get(graph, ["one", "two"], rerun_exceptions_locally=True)
    assert raised.value.__cause__ is None  # or there were a worker's traceback


def _nested() -> tuple[tuple[tuple[str, int], int], str]:
    return (("xx", 2), 3), "last"


class _Noted:
    """Leaves a file for each time that it is pickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[type, tuple[str]]:
        Path(self.folder, f"{time.monotonic_ns()}").touch()
        return _Noted, (self.folder,)


def _pair_with_noted(folder: str) -> tuple[int, _Noted]:
    return 1, _Noted(folder)


class _Reads:
    """No item comes before another has been asked for as well."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __getitem__(self, name: object) -> object:
        Path(self.folder, str(name)).touch()
        wait_until(lambda: len(list(Path(self.folder).iterdir())) > 1, "another item")
        return name


def _split(n: int) -> dict[str, object]:
    return {"big": np.ones(CHUNK), "small": n, "cannot be pickled": threading.Lock()}


def _count_and_make(folder: str) -> np.ndarray:
    Path(folder, f"{time.monotonic_ns()}").touch()
    return np.zeros(CHUNK)


# ------------------------------------------------------------------------------ callbacks, annotations


def test_callbacks_hear_of_each_task_with_its_value_its_worker_and_the_state():
    heard = []

    class Hear(Callback):
        def _start(self, dsk):
            heard.append(("start", sorted(dsk)))

        def _start_state(self, dsk, state):
            heard.append(("state", sorted(state["waiting"]), [*state["ready"]]))

        def _pretask(self, key, dsk, state):
            assert key in state["running"]
            heard.append(("before", key))

        def _posttask(self, key, value, dsk, state, worker_id):
            assert key in state["finished"]
            heard.append(("after", key, value, worker_id == os.getpid()))

        def _finish(self, dsk, state, failed):
            heard.append(("finish", failed))

    with Hear():
        assert distpool.dask.get({"a": 1, "b": (inc, "a"), "c": (inc, "b")}, "c") == 3
    assert heard == [
        ("start", ["a", "b", "c"]),
        ("state", ["c"], ["b"]),
        ("before", "b"),
        ("after", "b", 2, False),
        ("before", "c"),
        ("after", "c", 3, False),
        ("finish", False),
    ]


def test_a_progress_bar_gets_to_the_end(capsys):
    with ProgressBar(dt=0.001):
        da.ones((100, 100), chunks=10).sum().compute(scheduler="distpool")
    assert "100% Completed" in capsys.readouterr().out


def test_a_callback_that_raises_ends_the_computation_and_the_others_are_told():
    finished = []

    def stop(_key, _graph, _state):
        raise LookupError("no more")

    with (
        Callback(finish=lambda _graph, _state, failed: finished.append(failed)),
        Callback(pretask=stop),
        pytest.raises(LookupError, match="no more"),
    ):
        distpool.dask.get({"a": (inc, 1), "b": (inc, "a")}, "b")
    assert finished == [True]
    assert distpool.dask.get({"a": (inc, 1)}, "a") == 2


def test_retries_run_a_task_again_that_raises(tmp_path):
    def fail_twice() -> int:
        mark = tmp_path / f"{time.monotonic_ns()}"
        mark.touch()
        if len(list(tmp_path.iterdir())) < 3:
            raise OSError("not yet")
        return 3

    with dask.annotate(retries=2):
        value = delayed(fail_twice)()
    assert value.compute(scheduler="distpool", optimize_graph=False) == 3
    for mark in tmp_path.iterdir():
        mark.unlink()
    with dask.annotate(retries=1):
        value = delayed(fail_twice)()
    with pytest.raises(OSError, match="not yet"):
        value.compute(scheduler="distpool", optimize_graph=False)


def test_the_greatest_priority_comes_first():
    order = []

    class Note(Callback):
        def _pretask(self, key, dsk, state):
            order.append(key)

    with dask.annotate(priority=lambda key: int(key[1:])):
        values = [delayed(inc)(i, dask_key_name=f"t{i}") for i in (3, 1, 2, 9)]
    with Note():
        assert dask.compute(*values, scheduler="distpool", optimize_graph=False) == (4, 2, 3, 10)
    assert order == ["t9", "t3", "t2", "t1"]


def test_resources_are_those_of_remote_functions():
    with dask.annotate(resources={"there is none": 1}):
        value = delayed(inc)(1)
    with pytest.raises(Exception, match="there is none"):
        value.compute(scheduler="distpool", optimize_graph=False)
    with dask.annotate(resources={"CPU": 2}):
        value = delayed(inc)(1)
    assert value.compute(scheduler="distpool", optimize_graph=False) == 2


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        ({"retry": 2}, "distpool knows no annotation 'retry': did you mean retries?"),
        ({"colour": "red"}, "distpool knows no annotation 'colour': there are resources, retries, priority"),
        ({"workers": ["a"]}, "ask for resources={'node:NAME': 0.001}"),
        ({"retries": -1}, "the annotation retries is a whole number of at least 0, not -1"),
        (
            {"resources": {"a": -3}},
            "resources is a dictionary of names and amounts of zero or more, not {'a': -3}",
        ),
        (
            {"priority": lambda _key: "high"},
            "priority is a number, greater for what is to come first, not 'high'",
        ),
    ],
)
def test_annotations_that_mean_nothing_are_errors(annotations, text):
    with dask.annotate(**annotations):
        value = delayed(inc)(1)
    with pytest.raises(AnnotationError) as caught:
        value.compute(scheduler="distpool", optimize_graph=False)
    assert text in str(caught.value)


# ------------------------------------------------------------------------------------------ errors


def test_an_error_is_of_its_own_type_and_carries_the_workers_traceback():
    def outer(x: int) -> int:
        return inner_that_divides(x)

    def inner_that_divides(x: int) -> int:
        return 1 // x

    with pytest.raises(ZeroDivisionError) as caught:
        delayed(outer)(delayed(int)(0), dask_key_name="the task").compute(scheduler="distpool")
    assert "inner_that_divides" in str(caught.value.__cause__)
    assert caught.value.__notes__ == ["raised by the Dask task 'the task'"]


def test_what_cannot_be_pickled_names_its_task_and_the_path():
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        distpool.dask.get({"t": (len, [threading.Lock()])}, "t")
    assert "in the Dask task 't'" in caught.value.__notes__


def test_a_worker_that_dies_again_and_again_is_told_of():
    with pytest.raises(WorkerDied, match="SIGKILL"):
        delayed(os.kill)(delayed(os.getpid)(), 9).compute(scheduler="distpool")


def test_a_cycle_and_a_missing_key_are_one_line():
    with pytest.raises(CycleError) as caught:
        distpool.dask.get({"a": (inc, "b"), "b": (inc, "c"), "c": (inc, "a")}, "a")
    assert str(caught.value).startswith("the graph has a cycle: 'a' -> ")
    with pytest.raises(MissingKeyError) as missing:
        distpool.dask.get({"a": Task("a", inc, TaskRef("b"))}, "a")
    assert "does not have the key 'b' (Missing dependency of 'a')" in str(missing.value)
    assert "\n" not in str(caught.value) + str(missing.value)


def test_after_an_error_what_has_not_started_never_does(tmp_path):
    workers = int(distpool.cluster_resources()["CPU"])
    begun, over = tmp_path / "begun", tmp_path / "over"
    begun.mkdir()

    def fail() -> None:
        wait_until(lambda: len(list(begun.iterdir())) >= workers - 1, "all others are busy", 30)
        raise RuntimeError("first")

    def wait(i: int) -> None:
        """Holds its worker until the error is known."""
        (begun / str(i)).touch()
        wait_until(over.exists, "the error is known", 30)

    tasks = [delayed(wait)(i) for i in range(100)]
    with dask.annotate(priority=1):
        first = delayed(fail)()
    with pytest.raises(RuntimeError, match="first"):
        dask.compute(first, *tasks, scheduler="distpool", optimize_graph=False)
    pools = client.session().core.pools
    wait_until(
        lambda: sum(p.pending + p.offered for p in list(pools.values())) <= workers, "the rest is taken back"
    )
    over.touch()
    last = dask.compute(*(delayed(int)(i) for i in range(20)), scheduler="distpool")
    assert last == tuple(range(20)), "behind all that is left"
    assert len(list(begun.iterdir())) <= workers, "one on each worker, at most"


def test_rerun_exceptions_locally_runs_the_task_here():
    def fail(x: int) -> None:
        raise ValueError(os.getpid())

    with pytest.raises(ValueError, match=str(os.getpid())):
        delayed(fail)(delayed(int)(1)).compute(scheduler="distpool", rerun_exceptions_locally=True)


def test_num_workers_is_a_bound(tmp_path):
    def alone() -> int:
        mark = tmp_path / "runs"
        mark.mkdir()  # fails if another one runs
        time.sleep(0.01)
        mark.rmdir()
        return 1

    tasks = [delayed(alone, pure=False)() for _ in range(6)]
    assert sum(dask.compute(*tasks, scheduler="distpool", num_workers=1)) == 6
