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
from distpool.scheduler.remote.here import here
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


def test_values_that_were_yielded_are_made_again_and_only_those_that_are_lost(log: str) -> None:
    refs = list(bodies.streams.remote(log, 6))
    assert [distpool.get(ref)[0] for ref in refs] == [0, 1, 2, 3, 4, 5]
    there = {index: refs[index].value for index in (0, 2, 4, 5)}
    lose(refs[1])
    lose(refs[3])
    assert distpool.get(refs[1])[-1] == 1
    assert distpool.get(refs[3])[-1] == 3, "it was made by the same run"
    assert noted(log) == ["0", "1", "2", "3", "4", "5", "0", "1", "2", "3"], (
        "which ends with the last of them"
    )
    assert all(refs[index].value is value for index, value in there.items()), "nothing else is put again"


def test_values_that_were_handed_out_together_are_made_again(log: str) -> None:
    ref = bodies.streams.options(num_returns="dynamic").remote(log, 3)
    refs = list(distpool.get(ref))
    lose(refs[1])
    assert distpool.get(bodies.first.remote(refs[1])) == 1.0
    assert [distpool.get(one)[0] for one in distpool.get(ref)] == [0.0, 1.0, 2.0]
    assert noted(log) == ["0", "1", "2", "0", "1"], "up to the one that was lost"


def test_a_yielded_value_that_nobody_has_is_not_made_again(log: str) -> None:
    refs = list(bodies.streams.remote(log, 4))
    lose(refs[0])
    lose(refs[3])
    del refs[3]
    gc.collect()
    assert distpool.get(refs[0])[0] == 0
    assert noted(log)[4:] == ["0"]


def test_what_was_made_of_a_yielded_value_is_made_again(log: str) -> None:
    refs = list(bodies.streams.remote(log, 3, bodies.make.remote(log, 10.0)))
    plus = bodies.plus.remote(log, refs[1], 100.0)
    assert distpool.get(plus)[0] == 111.0
    lose(plus)
    del refs
    gc.collect()
    assert distpool.get(plus)[0] == 111.0
    assert noted(log)[-4:] == ["make", "0", "1", "plus"]


def test_a_yielded_value_that_is_lost_while_others_are_made_again(log: str, tmp_path: Path) -> None:
    refs = list(bodies.streams_while_allowed.remote(log, str(tmp_path / "gate")))
    lose(refs[1])
    with pytest.raises(GetTimeoutError):
        distpool.get(refs[1], timeout=0.1)
    lose(refs[0])
    lose(refs[2])
    later = bodies.plus.remote(log, refs[2], 1.0)  # found lost here, and waits for its own turn
    with pytest.raises(GetTimeoutError):
        distpool.get(refs[0], timeout=0.1)
    (tmp_path / "gate").touch()
    assert [distpool.get(ref)[0] for ref in refs] == [0, 1, 2]
    assert distpool.get(later)[0] == 3.0
    assert noted(log) == ["streams", "streams", "streams", "plus"], "one run for both of them"


def test_a_generator_that_gives_less_or_fails_when_it_runs_again(log: str) -> None:
    refs = list(bodies.streams_less.remote(log))
    for index in (1, 4):
        lose(refs[index])
    assert distpool.get(refs[1])[0] == 1
    with pytest.raises(ObjectReconstructionFailedError, match="yielded less than the first time"):
        distpool.get(refs[4])
    lose(refs[3])
    with pytest.raises(ObjectReconstructionFailedError, match=r"streams_less, run again, failed: it raised"):
        distpool.get(refs[3])
    assert distpool.get(refs[2])[0] == 2


def test_yielded_values_are_made_again_as_often_as_the_call_may_be_repeated(log: str) -> None:
    refs = list(bodies.streams.options(max_retries=2).remote(log, 2))
    for _ in range(2):
        lose(refs[0])
        assert distpool.get(refs[0])[0] == 0
    lose(refs[0])
    with pytest.raises(ObjectReconstructionFailedError, match="was repeated as often as it may be"):
        distpool.get(refs[0])
    (once,) = bodies.streams.options(max_retries=0).remote(log, 1)
    lose(once)
    with pytest.raises(ObjectLostError, match="may not be repeated"):
        distpool.get(once)


@pytest.mark.parametrize("kind", ["Maker", "AsyncMaker"])
def test_what_a_method_has_yielded(log: str, kind: str) -> None:
    actor = getattr(bodies, kind).remote()
    method = actor.streams.options(num_returns="streaming", max_task_retries=1)
    refs = list(method.remote(log, 4))
    lose(refs[1])
    assert distpool.get(refs[1])[0] == 1
    assert noted(log) == ["0", "1", "2", "3", "0", "1"]


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


def test_what_was_let_go_of_is_made_again_for_each_that_is_made_of_it(log: str) -> None:
    """Nobody has the first any more, so it is gone whenever it has served: that is no loss of its own."""
    first = bodies.make.options(max_retries=1).remote(log, 1.0)
    made = [bodies.plus.remote(log, first, float(n)) for n in range(3)]
    distpool.get(made)
    del first
    gc.collect()
    for n, ref in enumerate(made):
        lose(ref)
        assert distpool.get(ref)[0] == 1.0 + n
    assert noted(log) == ["make", *["plus"] * 3, *["make", "plus"] * 3]


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
    lineage = here().lineage
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
    lineage = here().lineage
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
    lineage = here().lineage
    is_lost = lineage.is_lost
    monkeypatch.setattr(lineage, "is_lost", lambda value, *, here=False: not here and is_lost(value))
    lose(ref)
    first, pair = bodies.first.remote(ref), bodies.halves.remote(log, ref)
    assert distpool.get(first, timeout=20) == 4.0
    assert distpool.get(pair, timeout=20)[1][0] == -4.0
    assert noted(log) == ["make", "make", "halves"]


def test_a_call_that_fails_by_it_when_others_have_had_it_made_again_already(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = bodies.make.remote(log, 4.0)
    distpool.wait([ref])
    lineage = here().lineage
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
