"""Reasons by value: what a survey has brought, and the sentences."""

from __future__ import annotations

from typing import Any

from distpool.commands.reasons import Picture, explain_pool, explain_task, explain_wanted
from distpool.scheduler.messages import GroupFacts, NodeAnswers, Strategy, Wanted, WorkerFacts
from distpool.scheduler.messages.insights import LeaseView, OwnerView, PoolView, Waiting


def pool(**more: Any) -> PoolView:
    fields: dict[str, Any] = {
        "pool": 1, "kind": "shared", "name": "", "resources": {"CPU": 1.0}, "strategy": Strategy(), "size": 8,
        "pending": 3, "resting": 0, "offered": 0, "ready": 0, "staying": 0, "done": 0, "wanted": {},
        "setup_failures": 0, "mean_s": 0.0, "failure": "", "leases": (),
    }  # fmt: skip
    return PoolView(**{**fields, **more})


def owner(*pools: PoolView) -> OwnerView:
    return OwnerView("o", 7, "a", 0, pools)


def node(name: str = "a", **more: Any) -> NodeAnswers:
    return NodeAnswers(1, name, (), (), free={"CPU": 0.0}, total={"CPU": 2.0}, **more)


def worker(number: int, **more: Any) -> WorkerFacts:
    return WorkerFacts(number, 100 + number, f"a.1.{number}", "o", pool=1, **more)


def test_a_broken_pool() -> None:
    broken = pool(failure="no node has that")
    assert explain_pool(Picture(), owner(broken), broken) == ["its workers cannot be had: no node has that"]


def test_workers_are_on_their_way_or_not_asked_for() -> None:
    for wanted, said in [({"a": 2}, "2 workers are asked for and on the way"), ({}, "none is asked for yet")]:
        asking = pool(wanted=wanted)
        assert explain_pool(Picture(nodes={"a": node()}), owner(asking), asking) == [said]


def test_a_node_that_was_asked_and_is_silent() -> None:
    asking = pool(wanted={"b": 1})
    assert explain_pool(Picture(nodes={"a": node()}), owner(asking), asking) == [
        "node b was asked for 1 worker, and is not known to answer"
    ]


def test_set_ups_that_fail() -> None:
    starting = pool(
        setup_failures=2, leases=(LeaseView("a.1.3", 103, "a", "setting up", 0),), staying=1, kind="pool"
    )
    picture = Picture(nodes={"a": node(workers=(worker(3),))})
    assert explain_pool(picture, owner(starting), starting) == [
        "1 worker still runs what comes before any task (the initializer): worker 3 on node a (process 103)",
        "2 workers in a row died before that was done",
    ]


def test_workers_that_die_at_their_start() -> None:
    want = Wanted("o", 1, 1, {}, wait_s=2.5, failed_starts=4)
    assert explain_wanted(Picture(nodes={"a": node()}), "a", want) == [
        "1 more worker is wanted of node a; the last 4 died at their start, and the next is forked in 2.5 s"
    ]


def test_more_holders_than_are_named_and_what_has_lent_its_own() -> None:
    workers = [worker(number, need={"CPU": 0.25}) for number in range(1, 9)]
    workers.append(worker(9, need={"CPU": 5.0}, charged=False, blocked=True))
    want = Wanted("p", 1, 2, {"CPU": 1.0, "license": 1.0})
    first, *rest = explain_wanted(Picture(nodes={"a": node(workers=tuple(workers))}), "a", want)
    assert first == (
        "2 more workers are wanted of node a, each with CPU 1, license 1; of CPU 2, license 0 there, "
        "CPU 0, license 0 is free"
    )
    assert len(rest) == 6
    assert rest[-1] == "  and 3 more have some of it"
    assert not any("worker 9" in line for line in rest)


def test_what_a_placement_group_has_set_aside() -> None:
    group = GroupFacts("g", ({"CPU": 2.0},), "PACK", name="mine", nodes=("a",), state="created")
    picture = Picture(nodes={"a": node()}, groups={"g": group})
    assert explain_wanted(picture, "a", Wanted("o", 1, 1, {"CPU": 1.0}))[-1] == (
        "  placement group mine has set aside some of it"
    )
    inside = Wanted("o", 1, 1, {"CPU": 1.0}, Strategy("group", group="g", bundle=0))
    assert explain_wanted(picture, "a", inside)[-1] == (
        "  placement group mine is there, and bundle 0 of it in use by others"
    )


def test_a_task_that_lies_with_a_worker_of_which_nothing_is_heard() -> None:
    task = Waiting("t", "f", "offered", 1, 2, "b.1.4", 9)
    assert explain_task(Picture(), owner(), task) == [
        "was sent to worker 4 on node b, of which nothing is known at the moment"
    ]


def test_a_task_of_a_borrowed_actor_is_told_from_its_creators() -> None:
    """Attempts of another caller have that one's index in the worker's slot."""
    from distpool.scheduler.messages import CALLER_SHIFT

    picture = Picture(nodes={"b": node("b", workers=(worker(4, running=2 << CALLER_SHIFT | 9, for_s=1.5),))})
    own = Waiting("t", "f", "offered", 1, 0, "b.1~2.4", 9)
    creators = Waiting("t", "f", "offered", 1, 0, "b.1.4", 9)
    assert explain_task(picture, owner(), own) == [
        "runs on worker 4 on node b (process 104), for 1.5 s so far"
    ]
    assert "another call runs there" in explain_task(picture, owner(), creators)[0]
