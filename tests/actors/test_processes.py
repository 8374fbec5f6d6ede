"""Actors of real processes that die of real signals."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distpool.scheduler.messages import ActorEnd, ActorRestarts, ActorUp
from tests.actors.bodies import Async, Plain, Threaded, call, notes
from tests.processes.scene import wait_until

KINDS = pytest.mark.parametrize("cls", [Plain, Threaded, Async])


@KINDS
def test_calls_run_in_their_order_on_one_instance(opened: Any, cls: type[Any]) -> None:
    actor = opened(cls)
    answers = [call(actor, "add") for _ in range(3000)]
    values = [answer.get() for answer in answers]
    if cls is Threaded:  # they begin in their order, and end as they like
        assert sorted(values) == list(range(1, 3001))
    else:
        assert values == list(range(1, 3001))


@KINDS
def test_what_a_method_raises_is_its_callers(opened: Any, cls: type[Any]) -> None:
    actor = opened(cls)
    with pytest.raises(KeyError, match="of mine"):
        call(actor, "fail").get()
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        call(actor, "missing").get()
    assert call(actor, "add").get() == 1


@KINDS
def test_any_value_goes_there_and_back(opened: Any, cls: type[Any]) -> None:
    actor = opened(cls)
    for value in (None, [1, {"a": b"b"}], bytearray(1 << 20), "x" * 100_000):
        assert call(actor, "echo", value).get() == value
    assert call(actor, "local_class").get().value == 7


@KINDS
@pytest.mark.parametrize("way", ["signal", "sys.exit", "os._exit"])
def test_a_death_uses_up_a_restart(opened: Any, tmp_path: Path, cls: type[Any], way: str) -> None:
    log = str(tmp_path / "log")
    actor = opened(cls, log, restarts=1)
    first = call(actor, "pid").get()
    call(actor, "add", 10).get()
    dead = call(actor, "note_and_die", "dying") if way == "signal" else call(actor, "leave", way)
    assert dead.kind == ActorEnd.UNAVAILABLE
    death = dead.failure.death  # type: ignore[union-attr]
    assert death is not None
    assert death.exit_code == (-9 if way == "signal" else 3)
    assert call(actor, "add").get() == 1, "the constructor has run again"
    assert call(actor, "pid").get() not in (0, first)
    assert notes(log).count("constructed") == 2
    assert notes(log).count("exit-handler") == (way == "sys.exit")
    assert [type(event) for event in opened.events] == [ActorUp, ActorRestarts, ActorUp]
    assert call(actor, "note_and_die", "dying").kind == ActorEnd.DIED
    assert call(actor, "add").kind == ActorEnd.DIED


@KINDS
def test_exit_actor_ends_it_with_its_exit_handlers(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    log = str(tmp_path / "log")
    actor = opened(cls, log, restarts=5)
    assert call(actor, "add").get() == 1
    assert call(actor, "leave", "exit_actor").kind == ActorEnd.EXITED
    assert call(actor, "add").kind == ActorEnd.EXITED
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 1
    assert notes(log).count("constructed") == 1


def test_sys_exit_says_what_it_was_told(opened: Any) -> None:
    actor = opened(Plain, restarts=0)
    dead = call(actor, "leave", "sys.exit")
    assert dead.kind == ActorEnd.DIED
    assert "exited with status 3" in str(dead.failure.to_exception(Exception))  # type: ignore[union-attr]


@KINDS
def test_calls_that_have_not_begun_survive_a_death(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    log = str(tmp_path / "log")
    terms = {"terms": _one(cls)}
    actor = opened(cls, log, restarts=1, **terms)
    answers = [call(actor, "note", 0), call(actor, "note_and_die", 1)]
    answers += [call(actor, "note", number) for number in range(2, 200)]
    assert answers[1].kind == ActorEnd.UNAVAILABLE
    assert [answer.get() for answer in answers[2:]] == list(range(2, 200))
    ran = [word for word in notes(log) if word.isdigit()]
    assert ran == [str(number) for number in range(200)], "in order, and each once"


def _one(cls: type[Any]) -> Any:
    """One call at a time, run in each of the three ways."""
    from distpool.scheduler.messages import ActorTerms

    return {
        Plain: ActorTerms(),
        Threaded: ActorTerms(1, groups={"other": 1}),
        Async: ActorTerms(1, loop=True),
    }[cls]


@KINDS
@pytest.mark.parametrize("retries", [0, -1])
def test_what_at_most_once_and_at_least_once_promise(
    opened: Any, tmp_path: Path, cls: type[Any], retries: int
) -> None:
    """Kills at any moment: each call runs once at most, or as often as it takes."""
    log = str(tmp_path / "log")
    actor = opened(cls, log, restarts=-1)
    answers = []
    for burst in range(8):
        pid = call(actor, "pid", retries=-1).get()
        answers += [call(actor, "note", f"{burst}.{n}", retries=retries) for n in range(300)]
        wait_until(
            lambda word=f"{burst}.0", first=answers[-300]: word in notes(log) or first.settled, "it runs"
        )
        os.kill(pid, signal.SIGKILL)
    outcomes = [answer.kind for answer in answers]
    times = Counter(word for word in notes(log) if "." in word)
    if retries:
        assert set(outcomes) == {""}
        assert len(times) == len(answers)
    else:
        assert set(outcomes) <= {"", ActorEnd.UNAVAILABLE}
        assert set(times.values()) == {1}
        done = {answer.value for answer in answers if not answer.failure}
        assert done <= times.keys()


def test_a_constructor_that_raises_is_told_to_every_call(opened: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    actor = opened(Plain, log, "raise", restarts=3)
    answers = [call(actor, "add"), call(actor, "add")]
    for answer in answers:
        assert answer.kind == ActorEnd.CONSTRUCTOR
        with pytest.raises(ValueError, match="in the constructor"):
            answer.get()
    assert notes(log).count("constructed") == 1


def test_a_constructor_that_dies_uses_up_the_restarts(opened: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    actor = opened(Plain, log, "kill", restarts=2)
    assert call(actor, "add", retries=-1).kind == ActorEnd.DIED
    assert notes(log).count("constructed") == 3


@KINDS
def test_kill(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    log = str(tmp_path / "log")
    actor = opened(cls, log, restarts=1)
    first = call(actor, "pid").get()
    actor.kill(restart=True)
    wait_until(lambda: actor.pid not in (0, first), "it has started again")
    assert call(actor, "add", retries=1).get() == 1
    running = call(actor, "spin")
    wait_until(lambda: "spins" in notes(log), "it runs")
    actor.kill()
    assert running.kind == ActorEnd.KILLED
    assert call(actor, "add").kind == ActorEnd.KILLED
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 0


@KINDS
def test_close_finishes_what_was_called_and_runs_exit_handlers(
    opened: Any, tmp_path: Path, cls: type[Any]
) -> None:
    log = str(tmp_path / "log")
    actor = opened(cls, log)
    answers = [call(actor, "add") for _ in range(100)]
    actor.close()
    assert sorted(answer.get() for answer in answers) == list(range(1, 101))
    assert actor.wait_gone(5.0)
    assert notes(log).count("exit-handler") == 1


@KINDS
def test_cancel_interrupts_and_spares_the_actor(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    log = str(tmp_path / "log")
    actor = opened(cls, log, terms=_one(cls))
    pid = call(actor, "pid").get()
    running, waiting, kept = call(actor, "spin"), call(actor, "note", "waiting"), call(actor, "pid")
    wait_until(lambda: "spins" in notes(log), "it runs")
    actor.cancel_calls([waiting.task], running=False)
    assert waiting.kind == "cancelled"
    actor.cancel_calls([running.task])
    assert running.kind == "cancelled"
    assert kept.get() == pid
    assert "waiting" not in notes(log)


@KINDS
def test_an_interrupt_that_hits_a_finalizer_comes_again(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    log = tmp_path / "log"
    actor = opened(cls, str(log), terms=_one(cls))
    running, after = call(actor, "spin_after_a_finalizer"), call(actor, "add")
    wait_until(log.exists, "it runs")
    actor.cancel_calls([running.task])
    assert running.kind == "cancelled"
    assert after.get() == 1


def test_cancel_before_it_has_arrived(opened: Any) -> None:
    """The word of the cancel comes by another link, and may overtake the call: nothing hangs, whichever is first."""
    actor = opened(Plain)
    for _ in range(300):
        answer = call(actor, "add")
        actor.cancel_calls([answer.task])
        assert answer.kind in ("", "cancelled")
    assert call(actor, "add").get() <= 301


@KINDS
def test_an_answer_is_not_held_back_behind_a_long_call(opened: Any, tmp_path: Path, cls: type[Any]) -> None:
    go = tmp_path / "go"
    actor = opened(cls, str(tmp_path / "log"))
    short, long = call(actor, "add"), call(actor, "wait_for", str(go))
    assert short.get() == 1
    assert not long.settled
    go.touch()
    assert long.get() == str(go)


def test_resources_come_back_with_the_actor(opened: Any) -> None:
    from distpool.cpus import cpu_count

    for _ in range(3):
        actor = opened(Plain, resources={"CPU": float(cpu_count())})
        assert call(actor, "add").get() == 1
        actor.kill()
        assert actor.wait_gone(5.0)


def test_what_no_node_has(opened: Any) -> None:
    actor = opened(Plain, resources={"unobtainium": 1.0})
    answer = call(actor, "add")
    assert answer.kind == ActorEnd.REFUSED
    assert "unobtainium" in answer.failure.reason  # type: ignore[union-attr]


def test_the_class_is_loaded_after_the_set_up(opened: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    actor = opened(Plain, log, setup=(_note_setup, (log,)))
    assert call(actor, "add").get() == 1
    assert notes(log) == ["set-up", "constructed"]


def _note_setup(path: str) -> None:
    from tests.actors.bodies import note

    note(path, "set-up")
