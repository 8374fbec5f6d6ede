"""Several calls of one actor at once: threads, coroutines, groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.scheduler.messages import ActorEnd, ActorTerms
from tests.actors import bodies
from tests.actors.bodies import Async, Threaded, call, notes
from tests.processes.scene import wait_until


def test_as_many_threads_as_calls_may_run(opened: Any) -> None:
    actor = opened(Threaded, "", 4)
    assert len({answer.get() for answer in [call(actor, "meet") for _ in range(4)]}) == 4
    many = [call(actor, "meet") for _ in range(40)]
    assert len({answer.get() for answer in many}) <= 4


def test_a_group_has_threads_of_its_own(opened: Any, tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    actor = opened(Threaded, str(tmp_path / "log"), terms=ActorTerms(1, groups={"io": 2}))
    held = [call(actor, "wait_for", go), *(call(actor, "wait_for", go, group="io") for _ in range(2))]
    waiting = call(actor, "add", group="io")
    wait_until(lambda: notes(actor_log(tmp_path)).count("waits") == 3, "all three run")
    assert not waiting.settled
    Path(go).touch()
    assert [answer.get() for answer in held] == [go] * 3
    assert waiting.get() == 1


def actor_log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def test_an_unknown_group_is_that_calls_error(opened: Any) -> None:
    for cls in (Threaded, Async):
        actor = opened(cls, terms=ActorTerms(2, cls is Async, {"io": 1}))
        answer = call(actor, "add", group="oi")
        assert answer.kind == "raised"
        assert "'oi'" in str(answer.failure.to_exception(Exception))  # type: ignore[union-attr]
        assert call(actor, "add").get() == 1


def test_one_thread_of_several_is_interrupted(opened: Any, tmp_path: Path) -> None:
    log = actor_log(tmp_path)
    actor = opened(Threaded, log)
    spinning = [call(actor, "spin") for _ in range(3)]
    wait_until(lambda: notes(log).count("spins") == 3, "they run")
    for left, answer in enumerate(spinning):
        actor.cancel_calls([answer.task])
        assert answer.kind == "cancelled"
        assert sum(not other.settled for other in spinning) == 2 - left
        assert call(actor, "add").get() == left + 1


def test_all_that_run_in_threads_pay_for_a_death(opened: Any, tmp_path: Path) -> None:
    log, go = actor_log(tmp_path), str(tmp_path / "go")
    actor = opened(Threaded, log, restarts=1)
    once = [call(actor, "wait_for", go) for _ in range(2)]
    again = [call(actor, "wait_for", go, retries=1)]
    wait_until(lambda: notes(log).count("waits") == 3, "they run")
    dead = call(actor, "note_and_die", "dying")
    after = call(actor, "add")
    assert [answer.kind for answer in [*once, dead]] == [ActorEnd.UNAVAILABLE] * 3
    Path(go).touch()
    assert again[0].get() == go
    assert after.kind in ("", ActorEnd.UNAVAILABLE)  # it may have had its turn, or not
    assert notes(log).count("waits") == 4


def test_exit_actor_in_a_thread_lets_the_others_finish(opened: Any, tmp_path: Path) -> None:
    log, go = actor_log(tmp_path), str(tmp_path / "go")
    actor = opened(Threaded, log)
    held = call(actor, "wait_for", go)
    wait_until(lambda: "waits" in notes(log), "it runs")
    leaving = call(actor, "leave", "exit_actor")
    Path(go).touch()
    assert held.get() == go
    assert leaving.kind == ActorEnd.EXITED


def test_a_thousand_coroutines_wait_at_once(opened: Any) -> None:
    actor = opened(Async)
    waiting = [call(actor, "wait") for _ in range(999)]
    wait_until(lambda: call(actor, "running").get() == 999, "all of them wait")
    assert call(actor, "wake").get() == 999
    assert {answer.get() for answer in waiting} == {"woken"}


def test_no_more_coroutines_run_than_may(opened: Any) -> None:
    actor = opened(Async, terms=ActorTerms(3, True, {"control": 2}))
    waiting = [call(actor, "wait") for _ in range(10)]
    wait_until(lambda: call(actor, "running", group="control").get() == 3, "three of them wait")
    assert call(actor, "wake", group="control").get() == 3
    assert [answer.get() for answer in waiting] == ["woken"] * 10


def test_a_coroutine_is_cancelled_whether_it_runs_or_waits(opened: Any) -> None:
    actor = opened(Async, terms=ActorTerms(2, True, {"control": 1}))
    answers = [call(actor, "wait") for _ in range(6)]
    wait_until(lambda: call(actor, "running", group="control").get() == 2, "two run")
    actor.cancel_calls([answer.task for answer in answers[1:5]])
    assert [answer.kind for answer in answers[1:5]] == ["cancelled"] * 4
    call(actor, "wake", group="control").get()
    assert answers[0].get() == answers[5].get() == "woken"


def test_coroutines_that_run_finish_before_the_actor_exits(opened: Any, tmp_path: Path) -> None:
    log = actor_log(tmp_path)
    actor = opened(Async, log)
    waiting = call(actor, "wait")
    wait_until(lambda: call(actor, "running").get() == 1, "it waits")
    woken, leaving = call(actor, "wake"), call(actor, "leave_later")
    assert leaving.kind == ActorEnd.EXITED
    assert waiting.get() == "woken"
    assert woken.get() == 1
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 1


@pytest.mark.parametrize(
    ("cls", "terms", "endless", "leave"),
    [
        (Async, None, ("wait",), ("leave_later",)),
        (Async, ActorTerms(2, True, {"one": 2}), ("wait",), ("leave_later",)),
        (Threaded, ActorTerms(3), ("wait_for", "/nothing/comes/there"), ("leave", "exit_actor")),
    ],
    ids=["coroutines", "groups", "threads"],
)
def test_an_actor_exits_in_time_whatever_else_it_runs(
    opened: Any,
    tmp_path: Path,
    cls: type[Any],
    terms: ActorTerms | None,
    endless: tuple[str, ...],
    leave: tuple[str, ...],
) -> None:
    log = actor_log(tmp_path)
    actor = opened(cls, log) if terms is None else opened(cls, log, terms=terms)
    running = call(actor, *endless)
    assert call(actor, "add").get() == 1
    leaving = call(actor, *leave)
    assert leaving.kind == ActorEnd.EXITED
    assert running.kind == ActorEnd.EXITED
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 1


def test_what_an_actor_left_running_is_cancelled_when_it_is_closed(opened: Any, tmp_path: Path) -> None:
    log = actor_log(tmp_path)
    actor = opened(Async, log)
    assert call(actor, "plus").get() == 1
    actor.close()
    assert actor.wait_gone(5.0)
    assert notes(log) == ["constructed", "background-ended", "exit-handler"]


GROUPED = ActorTerms(2, True, {"one": 2, "other": 1})


def test_a_coroutine_that_keeps_its_thread_keeps_its_own_group_waiting(opened: Any, tmp_path: Path) -> None:
    go, log = str(tmp_path / "go"), actor_log(tmp_path)
    actor = opened(Async, log, terms=GROUPED)
    keeps = call(actor, "keep_the_thread", go, group="one")
    wait_until(lambda: "keeps" in notes(log), "it runs")
    assert call(actor, "plus", group="other").get() == 1
    assert call(actor, "plus").get() == 2
    behind = call(actor, "plus", group="one")
    assert call(actor, "plus", group="other").get() == 3
    assert not behind.settled
    Path(go).touch()
    assert keeps.get() == go
    assert behind.get() == 4


@pytest.mark.parametrize("group", ["", "one"])
def test_what_spins_in_a_group_is_interrupted_and_the_group_goes_on(
    opened: Any, tmp_path: Path, group: str
) -> None:
    log = actor_log(tmp_path)
    actor = opened(Async, log, terms=GROUPED)
    spins = call(actor, "spin_without_end", group=group)
    wait_until(lambda: "spins" in notes(log), "it runs")
    actor.cancel_calls([spins.task])
    assert spins.kind == "cancelled"
    assert call(actor, "plus", group=group).get() == 1


def test_calls_of_groups_finish_before_the_actor_exits(opened: Any, tmp_path: Path) -> None:
    log = actor_log(tmp_path)
    actor = opened(Async, log, terms=GROUPED)
    waiting = call(actor, "wait", group="one")
    wait_until(lambda: call(actor, "running", group="other").get() == 1, "it waits")
    woken, leaving = call(actor, "wake", group="other"), call(actor, "leave_later", group="other")
    assert leaving.kind == ActorEnd.EXITED
    assert waiting.get() == "woken"
    assert woken.get() == 1
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 1


def test_what_groups_left_running_is_cancelled_when_the_actor_is_closed(opened: Any, tmp_path: Path) -> None:
    log = actor_log(tmp_path)
    actor = opened(Async, log, terms=GROUPED)  # its constructor leaves a task, ...
    for group in ("one", "other"):  # ... and so do calls
        call(actor, "begin_background", log, group=group).get()
    actor.close()
    assert actor.wait_gone(5.0)
    assert sorted(notes(log)) == ["background-ended"] * 3 + ["constructed", "exit-handler"]


def test_sys_exit_in_a_group_is_the_actors_death(opened: Any) -> None:
    actor = opened(Async, terms=GROUPED)
    leaving = call(actor, "leave_at_once", 3, group="one")
    assert leaving.kind != "done"
    assert actor.wait_gone(5.0)


def test_generators_in_a_group_send_their_values_as_they_come(engine: Any) -> None:
    handle = distpool.remote(concurrency_groups={"io": 2})(bodies.AsyncYielding).remote()
    numbers = handle.numbers.options(concurrency_group="io", _generator_backpressure_num_objects=2)
    both = [numbers.remote(50), numbers.remote(50)]
    assert [[distpool.get(ref) for ref in refs] for refs in both] == [list(range(50))] * 2


def test_generators_of_every_kind_send_their_values_as_they_come(engine: Any) -> None:
    """Through the front door, which puts the values together again."""
    for options in ({}, {"max_concurrency": 2}):
        handle = distpool.remote(bodies.Yielding).options(**options).remote()
        assert [distpool.get(ref) for ref in handle.numbers.remote(300)] == list(range(300))
    handle = distpool.remote(bodies.AsyncYielding).remote()
    assert [distpool.get(ref) for ref in handle.numbers.remote(300)] == list(range(300))
    bounded = handle.numbers.options(_generator_backpressure_num_objects=2).remote(50)
    assert [distpool.get(ref) for ref in bounded] == list(range(50))
    refs = list(handle.broken.remote())
    assert distpool.get(refs[:2]) == [1, 2]
    with pytest.raises(ValueError, match="after two"):
        distpool.get(refs[2])
    assert distpool.get(handle.plain.remote()) == 1
