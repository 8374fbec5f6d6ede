"""Data that has left the store is made again by the calls that made it; or an error says why not."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distpool
from distpool.exceptions import GetTimeoutError, ObjectLostError, ObjectReconstructionFailedError
from distpool.scheduler import client
from distpool.scheduler.remote import submitting
from tests.processes.scene import wait_until
from tests.remote_lost import bodies
from tests.remote_lost.bodies import lose, noted

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.timeout(60)]


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def test_a_lost_result_is_made_again(log: str) -> None:
    ref = bodies.make.remote(log, 3.0)
    assert distpool.get(ref)[0] == 3.0
    lose(ref)
    assert distpool.get(ref)[-1] == 3.0
    assert distpool.get([ref, ref])[0][0] == 3.0
    assert noted(log) == ["make", "make"]


def test_time_is_up_while_it_is_made_again(log: str, tmp_path: Path) -> None:
    ref = bodies.make_while_allowed.remote(log, str(tmp_path / "gate"))
    assert distpool.get(ref)[0] == 1.0
    lose(ref)
    for refs in (ref, [ref]):
        with pytest.raises(GetTimeoutError, match="is not made again yet"):
            distpool.get(refs, timeout=0.1)
    (tmp_path / "gate").touch()
    assert distpool.get(ref, timeout=30)[0] == 1.0
    assert noted(log) == ["make_while_allowed"] * 2


def test_so_are_the_arguments_that_it_needs_whether_or_not_somebody_still_has_them(log: str) -> None:
    first = bodies.make.remote(log, 1.0)
    second = bodies.plus.remote(log, first, 2.0)
    third = bodies.plus.remote(log, second, 4.0)
    assert distpool.get(third)[0] == 7.0
    lose(first)
    lose(third)
    del second  # and its data with it
    gc.collect()
    assert distpool.get(third)[0] == 7.0
    assert noted(log) == ["make", "plus", "plus", "make", "plus", "plus"]
    assert distpool.get(first)[0] == 1.0
    assert len(noted(log)) == 6, "it was made for the others already"


def test_a_lost_argument_is_made_again_before_a_call(log: str) -> None:
    ref = bodies.make.remote(log, 5.0)
    distpool.wait([ref])
    lose(ref)
    assert distpool.get([bodies.first.remote(ref), bodies.first.remote(ref)]) == [5.0, 5.0]
    assert noted(log) == ["make", "make"], "once, for both"


def test_one_of_several_results(log: str) -> None:
    made = bodies.make.remote(log, 2.0)
    left, right = bodies.halves.remote(log, made)
    assert distpool.get(right)[0] == -2.0
    lose(right)
    assert distpool.get(right)[0] == -2.0
    assert distpool.get(left)[0] == 2.0
    assert noted(log) == ["make", "halves", "halves"]


def test_of_an_array_in_the_arguments(log: str) -> None:
    ref = bodies.plus.remote(log, np.full(bodies.FLOATS, 1.0), 1.0)
    small = bodies.plus.remote(log, np.full(5_000, 1.0), np.full(bodies.FLOATS, 1.0)[0])
    assert distpool.get(ref)[0] == 2.0
    lose(ref)
    assert distpool.get(ref)[0] == 2.0
    assert distpool.get(small)[0] == 2.0


def test_a_borrower_asks_the_owner(log: str, tmp_path: Path) -> None:
    """Both where the data is gone when the reference comes, and where it goes while the borrower has it."""
    ref = bodies.make.remote(log, 6.0)
    distpool.wait([ref])
    ready, go = tmp_path / "ready", tmp_path / "go"
    later = bodies.first_of_when.remote([ref], str(ready), str(go))
    wait_until(ready.exists, "the borrower has it")
    lose(ref)
    go.touch()
    assert distpool.get(later, timeout=20) == 6.0
    assert noted(log) == ["make", "make"]
    lose(ref)
    assert distpool.get(bodies.first_of.remote([ref]), timeout=20) == 6.0
    assert noted(log) == ["make"] * 3


def test_a_method_of_an_actor_if_it_may_be_repeated(log: str) -> None:
    actor = bodies.Maker.remote()
    ref = actor.make.options(max_task_retries=1).remote(log, 1.0)
    once = actor.make.remote(log, 2.0)
    distpool.get([ref, once])
    lose(ref)
    assert distpool.get(ref)[0] == 1.0
    lose(once)
    with pytest.raises(ObjectLostError, match=r"Maker\.make, may not be repeated"):
        distpool.get(once)
    assert noted(log) == ["make"] * 3


def test_only_so_often(log: str) -> None:
    ref = bodies.make.options(max_retries=2).remote(log, 3.0)
    for _ in range(2):
        distpool.get(ref)
        lose(ref)
    distpool.get(ref)
    lose(ref)
    with pytest.raises(ObjectReconstructionFailedError, match=r"make.* was repeated as often as it may be"):
        distpool.get(ref)
    with pytest.raises(ObjectReconstructionFailedError):  # and it stays so, for calls too
        distpool.get(bodies.first.remote(ref))
    assert noted(log) == ["make"] * 3


def test_what_cannot_be_made_again_says_why(log: str) -> None:
    put = distpool.put(np.full(bodies.FLOATS, 1.0))
    lose(put)
    with pytest.raises(ObjectLostError, match="durable=True"):
        distpool.get(put)
    once = bodies.make_once.remote(log)
    distpool.get(once)
    lose(once)
    with pytest.raises(ObjectLostError, match="make_once, may not be repeated"):
        distpool.get(once)
    fails = bodies.fails_again.remote(log)
    distpool.get(fails)
    lose(fails)
    with pytest.raises(ObjectReconstructionFailedError, match="fails_again"):
        distpool.get(fails)


def test_a_put_argument_that_is_gone(log: str) -> None:
    put = distpool.put(np.full(bodies.FLOATS, 1.0))
    ref = bodies.plus.remote(log, put, 1.0)
    distpool.get(ref)
    del put
    gc.collect()
    lose(ref)
    with pytest.raises(ObjectReconstructionFailedError, match="was put, and nobody has a reference"):
        distpool.get(ref)


def test_what_is_remembered_is_bounded(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage = submitting.here().lineage
    gc.collect()
    before = lineage.size_bytes
    argument = b"x" * 100_000
    limits: Any = client.session().core.limits
    import msgspec

    monkeypatch.setattr(
        client.session().core, "limits", msgspec.structs.replace(limits, lineage_bytes_max=before + 250_000)
    )
    refs = [bodies.plus.remote(log, np.full(bodies.FLOATS, 1.0), np.frombuffer(argument, np.uint8)[0] * 0.0)]
    distpool.get(refs)
    refs = [bodies.keeps.remote(argument) for _ in range(4)]
    distpool.get(refs)
    lose(refs[0])
    lose(refs[3])
    with pytest.raises(ObjectReconstructionFailedError, match="was forgotten"):
        distpool.get(refs[0])
    assert distpool.get(refs[3])[0] == 0.0
    assert lineage.size_bytes <= before + 250_000
    refs.clear()
    gc.collect()
    distpool.get(bodies.make.remote(log, 1.0))
    assert lineage.size_bytes <= before + 5_000, "it goes with the values"


def test_small_results_are_not_remembered() -> None:
    lineage = submitting.here().lineage
    gc.collect()
    before = lineage.size_bytes
    refs = [bodies.first.remote(np.full(10, 1.0)) for _ in range(50)]
    assert distpool.get(refs) == [1.0] * 50
    assert lineage.size_bytes <= before
    assert all(ref.task is None for ref in refs)


def test_an_argument_that_is_lost_on_the_way_to_its_call(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could see it when the call was offered; so its worker does."""
    ref = bodies.make.remote(log, 4.0)
    distpool.wait([ref])
    lineage = submitting.here().lineage
    is_lost, looks = lineage.is_lost, iter([False, False])
    monkeypatch.setattr(lineage, "is_lost", lambda value, **_: next(looks, True) and is_lost(value))
    lose(ref)
    first, pair = bodies.first.remote(ref), bodies.halves.remote(log, ref)
    assert next(looks, None) is None, "both were offered with it"
    assert distpool.get(first, timeout=20) == 4.0
    assert distpool.get(pair, timeout=20)[1][0] == -4.0
    assert noted(log) == ["make", "make", "halves"]


def test_a_call_that_fails_by_it_when_others_have_had_it_made_again_already(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = bodies.make.remote(log, 4.0)
    distpool.wait([ref])
    lineage = submitting.here().lineage
    is_lost, looks = lineage.is_lost, iter([False])
    failed, held_back = lineage.failed, threading.Event()
    failures: list[tuple[Any, Any]] = []

    def hold_back(task: Any, failure: Any) -> bool:
        failures.append((task, failure))
        held_back.set()
        return True

    monkeypatch.setattr(lineage, "is_lost", lambda value, **_: next(looks, True) and is_lost(value))
    monkeypatch.setattr(lineage, "failed", hold_back)
    lose(ref)
    first = bodies.first.remote(ref)
    assert held_back.wait(20)
    assert distpool.get(ref)[0] == 4.0
    assert failed(*failures[0]), "what it was sent is not what there is now"
    assert distpool.get(first, timeout=20) == 4.0
    assert noted(log) == ["make", "make"]


def test_a_call_that_raises_beside_a_lost_argument_is_not_repeated(log: str) -> None:
    ref = bodies.make.remote(log, 4.0)
    call = bodies.loses_and_raises.remote(log, ref)
    with pytest.raises(ValueError, match="on its own account"):
        distpool.get(call)
    assert noted(log).count("raises") == 1
