"""Calls whose results lie in the store, each of which leaves a line when it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import distpool
from distpool.scheduler import client
from distpool.scheduler.serialize import stored

FLOATS = 40_000


def lose(ref: distpool.ObjectRef, but: distpool.ObjectRef | None = None) -> None:
    """Its data is gone from the store, whoever holds it; not what is also another's."""
    store = client.session().shell.store
    assert store is not None
    ids = set(stored.ids_of(ref.blob)) - set(() if but is None else stored.ids_of(but.blob))
    assert ids
    with store.lock:
        for number in ids:
            store.ledger.discard(number)


def note(path: str, what: str) -> None:
    with open(path, "a") as file:
        file.write(f"{what}\n")


def noted(path: Any) -> list[str]:
    """What has run, in order."""
    return Path(path).read_text().split() if Path(path).exists() else []


@distpool.remote
def make(path: str, n: float, floats: int = FLOATS) -> Any:
    note(path, "make")
    return np.full(floats, n)


@distpool.remote
def make_while_allowed(path: str, gate: str) -> Any:
    """Waits for a file, but for the first time."""
    note(path, "make_while_allowed")
    while len(noted(path)) > 1 and not Path(gate).exists():
        time.sleep(0.01)
    return np.full(FLOATS, 1.0)


@distpool.remote
def plus(path: str, array: Any, n: float) -> Any:
    note(path, "plus")
    return array + n


@distpool.remote(num_returns=2)
def halves(path: str, array: Any) -> Any:
    note(path, "halves")
    return array, -array


@distpool.remote(max_retries=0)
def make_once(path: str) -> Any:
    note(path, "make_once")
    return np.full(FLOATS, 1.0)


@distpool.remote
def fails_again(path: str) -> Any:
    note(path, "fails_again")
    if noted(path).count("fails_again") > 1:
        raise ValueError("not a second time")
    return np.full(FLOATS, 1.0)


@distpool.remote
def first_of(refs: list[distpool.ObjectRef]) -> float:
    """A borrower: the reference is not at the top level."""
    return float(distpool.get(refs[0])[0])


@distpool.remote
def first_of_when(refs: list[distpool.ObjectRef], ready: str, go: str) -> float:
    """A borrower that reads when it is told to."""
    Path(ready).touch()
    while not Path(go).exists():
        distpool.wait([distpool.put(0)], timeout=0.01)
    return float(distpool.get(refs[0])[0])


@distpool.remote
def first(array: Any) -> float:
    return float(array[0])


@distpool.remote(num_returns="streaming")
def streams(path: str, count: int, first: Any = 0.0) -> Any:
    """Notes each value before it yields it."""
    for index in range(count):
        note(path, str(index))
        yield np.full(FLOATS, float(index)) + first


@distpool.remote(num_returns="streaming")
def streams_less(path: str) -> Any:
    """Of five, three the second time, and then an error."""
    note(path, "streams_less")
    for index in range(3 if len(noted(path)) > 1 else 5):
        yield np.full(FLOATS, float(index))
    if len(noted(path)) > 2:
        raise ValueError("not a third time")


@distpool.remote(num_returns="streaming")
def streams_while_allowed(path: str, gate: str) -> Any:
    """Waits before its second value, but for the first time."""
    note(path, "streams")
    again = len(noted(path)) > 1
    for index in range(3):
        while again and index == 1 and not Path(gate).exists():
            time.sleep(0.01)
        yield np.full(FLOATS, float(index))


@distpool.remote(max_restarts=1)
class Maker:
    def streams(self, path: str, count: int) -> Any:
        for index in range(count):
            note(path, str(index))
            yield np.full(FLOATS, float(index))

    def make(self, path: str, n: float) -> Any:
        note(path, "make")
        return np.full(FLOATS, n)


@distpool.remote(max_restarts=1)
class AsyncMaker:
    async def streams(self, path: str, count: int) -> Any:
        for index in range(count):
            note(path, str(index))
            yield np.full(FLOATS, float(index))


@distpool.remote
def keeps(data: bytes) -> Any:
    """Its arguments are remembered as long as its result is there."""
    return np.zeros(FLOATS)


@distpool.remote
def loses_and_raises(path: str, array: Any) -> None:
    """Whatever becomes of its argument meanwhile."""
    note(path, "raises")
    store = stored.current()
    assert store is not None
    with store.lock:  # type: ignore[attr-defined]
        for facts in store.ledger.facts():  # type: ignore[attr-defined]
            store.ledger.discard(facts.id)  # type: ignore[attr-defined]
    raise ValueError("on its own account")
