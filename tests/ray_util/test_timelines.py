"""``timeline``: the rings of workers, merged to a trace."""

import json
import os
import time

import pytest

import distpool
from distpool.scheduler.shells import traces
from distpool.scheduler.shells.traces import Left, Ran, Trace, name_of
from distpool.timelines import in_lanes, of_worker
from tests.processes.scene import run, wait_until
from tests.ray_util.bodies import Worker, double, fails_at

in_a_session = pytest.mark.usefixtures("session")


def calls(name):
    return [event for event in distpool.timeline() if event["name"] == name and event["ph"] == "X"]


@in_a_session
def test_a_call_is_an_event_with_its_times():
    before_s = time.time()
    distpool.get(double.options(name="seen").remote(1), timeout=60)
    (event,) = calls("seen")
    assert event["cat"] == "task"
    assert event["args"]["failed"] is False
    assert before_s - 0.1 < event["ts"] / 1e6 < time.time()
    assert 0 <= event["dur"] < 10e6


@in_a_session
def test_what_has_raised_is_marked():
    distpool.wait([fails_at.options(name="raises").remote(1, 1)], timeout=60)
    (event,) = calls("raises")
    assert event["args"]["failed"] is True


@in_a_session
def test_a_worker_that_has_ended_has_left_its_calls():
    @distpool.remote(max_calls=1)
    def once():
        return os.getpid()

    pids = distpool.get([once.remote() for _ in range(3)], timeout=60)
    wait_until(lambda: sorted(event["pid"] for event in calls("once")) == sorted(pids), "all three are told")


@in_a_session
def test_calls_of_an_actor_side_by_side_are_in_lanes(tmp_path):
    actor = Worker.options(max_concurrency=2).remote()
    refs = [actor.after.remote(tmp_path / "go", number) for number in range(2)]
    (tmp_path / "go").touch()
    distpool.get(refs, timeout=60)
    events = calls("Worker.after")
    assert {event["cat"] for event in events} == {"actor_task"}
    for one in events:
        for other in events:
            if one is not other and one["tid"] == other["tid"]:
                assert one["ts"] + one["dur"] <= other["ts"] or other["ts"] + other["dur"] <= one["ts"]


@in_a_session
def test_calls_of_a_coroutine():
    @distpool.remote
    class Loop:
        async def turn(self, bad):
            if bad:
                raise ValueError

        def plain(self):
            return 1

    loop = Loop.remote()
    distpool.wait(
        [loop.turn.remote(False), loop.turn.remote(True), loop.plain.remote()], num_returns=3, timeout=60
    )
    assert sorted(event["args"]["failed"] for event in calls("Loop.turn")) == [False, True]
    assert len(calls("Loop.plain")) == 1


def as_pool_task(number):
    return number


@in_a_session
def test_calls_of_a_pool_are_there_too():
    with distpool.Pool(1) as pool:
        assert pool.apply(as_pool_task, (1,)) == 1
        assert len(calls("as_pool_task")) == 1


@in_a_session
def test_the_file_is_what_perfetto_opens(tmp_path):
    distpool.get(double.remote(1), timeout=60)
    assert distpool.timeline(tmp_path / "trace.json") is None
    events = json.loads((tmp_path / "trace.json").read_text())
    assert {event["ph"] for event in events} == {"X", "M"}
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in events if event["ph"] == "X"} == named


def test_what_overlaps_is_not_in_one_lane():
    rows = [
        (0, 0.0, 4.0, False),
        (1, 1.0, 2.0, False),
        (2, 2.0, 3.0, False),
        (3, 2.5, 5.0, False),
        (4, 4.0, 6.0, False),
    ]
    assert [(lane, row[0]) for lane, row in in_lanes(reversed(rows))] == [
        (0, 0),
        (1, 1),
        (1, 2),
        (2, 3),
        (0, 4),
    ]


def test_each_lane_has_a_name_once():
    ran = Ran("n", 7, True, 100.0, ["f"], [(0, 1.0, 3.0, False), (0, 2.0, 4.0, True)])
    events = list(of_worker(ran))
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names == ["an actor's worker 7 on n", "calls", "calls 2"]
    assert [(e["ts"], e["dur"]) for e in events if e["ph"] == "X"] == [(101e6, 2e6), (102e6, 2e6)]


# ----------------------------------------------------------------------------------------- rings


class Start:
    def __init__(self, directory="", worker=1):
        self.directory, self.worker, self.node = str(directory), worker, "n"


def noted(*marks):
    return [(name, start, end, failed) for name, start, end, failed in traces.events_of(marks)]


def test_calls_one_behind_the_other_need_no_start():
    assert noted(-1.0, 2.0, "f", 3.0, "g") == [("f", 1.0, 2.0, False), ("g", 2.0, 3.0, False)]
    assert noted(-1.0, 2.0, "f", -5.0, 6.0, "g") == [("f", 1.0, 2.0, False), ("g", 5.0, 6.0, False)]
    assert noted(-1.0, ("f", 1.5, 2.0, True), 3.0, "g") == [("f", 1.5, 2.0, True), ("g", 2.0, 3.0, False)]


def test_a_row_whose_first_marks_are_gone_or_whose_last_is_not_there_yet():
    whole = (-1.0, 2.0, "f", 3.0, "g")
    assert noted(*whole[1:]) == noted(*whole[2:]) == noted(*whole)[1:] or noted(*whole[2:]) == []
    assert noted(*whole[:-1]) == noted(*whole)[:1]
    assert noted() == noted("f") == []


def test_a_ring_keeps_the_latest():
    trace = Trace()
    assert trace.packed(Start()) == b""
    for number in range(traces.EVENTS_MAX + 5):
        trace.note(-float(number) - 1)
        trace.note(number + 1.5)
        trace.note(f"f{number % 3}")
    ran = traces.unpack(trace.packed(Start()))
    assert len(ran.events) == traces.EVENTS_MAX
    assert ran.events[0][1] == 6.0
    assert [ran.names[name] for name, *_ in ran.events[:2]] == ["f2", "f0"]


def test_what_ended_workers_leave_is_bounded(tmp_path, monkeypatch):
    left = Left()
    trace = Trace()
    trace.note(("f", 0.0, 1.0, False))
    monkeypatch.setattr(traces, "KEPT_MAX", 2)
    for worker in (1, 2, 3):
        trace.leave(Start(tmp_path, worker))
        left.take(str(tmp_path), worker)
    left.take(str(tmp_path), 4)  # it has run nothing
    assert len(left.blobs) == 2
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(traces, "KEPT_BYTES_MAX", 1)
    trace.leave(Start(tmp_path, 5))
    left.take(str(tmp_path), 5)
    assert left.blobs == ()


def test_the_session_may_be_gone_when_a_worker_leaves_its_ring(tmp_path):
    trace = Trace()
    trace.note(("f", 0.0, 1.0, False))
    trace.leave(Start(tmp_path / "gone"))


def test_names():
    def inner():
        pass

    import functools

    assert name_of(inner) == "inner"
    assert name_of(functools.partial(test_names)) == "test_names"
    assert name_of(Trace().packed) == "Trace.packed"
    assert name_of(Trace()) == "Trace"


def test_without_a_session():
    code = """
import distpool
try:
    distpool.timeline()
except distpool.errors.ClusterError as error:
    print(error)
"""
    assert "call init() first" in run(code)
