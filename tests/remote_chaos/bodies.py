"""What runs under the chaos: every result is a function of the arguments, whoever dies how often on the way to it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np

import distpool

#: Big enough to lie in the store.
FLOATS = 40_000


@distpool.remote(max_retries=-1)
def square(n: int) -> int:
    """The simplest call there is."""
    return n * n


@distpool.remote(max_retries=-1)
def tree(depth: int, width: int) -> int:
    """How many calls there are in a tree of nested ones, this one counted."""
    if depth == 0:
        return 1
    return 1 + sum(distpool.get([tree.remote(depth - 1, width) for _ in range(width)]))


@distpool.remote(max_retries=-1)
def add_up(*values: int) -> int:
    """References at the top level come as values."""
    return sum(values)


@distpool.remote(max_retries=-1)
def add_up_inner(refs: Sequence[distpool.ObjectRef]) -> int:
    """References inside of something stay references: their owner is asked."""
    return sum(distpool.get(list(refs)))


@distpool.remote(max_retries=-1)
def big(n: int) -> Any:
    """A result that lies in the store."""
    return np.full(FLOATS, float(n))


@distpool.remote(max_retries=-1)
def measure(array: Any, n: int) -> int:
    """Whether an array from the store is what it was, in one number."""
    assert array.shape == (FLOATS,)
    array += n  # nobody else's copy
    first, last = float(array[0]), float(array[-1])
    assert first == last
    return int(first)


@distpool.remote(max_retries=-1)
def makes_and_shares(n: int) -> int:
    """A worker's own object, and a pending reference of its own, in the hands of other workers."""
    own = distpool.put(np.full(FLOATS, float(n)))
    pending = square.remote(n)
    return sum(distpool.get([measure.remote(own, 1), add_up_inner.remote([pending])]))


@distpool.remote(max_restarts=-1, max_task_retries=-1)
class Scaler:
    """Restarts without end, and its calls are repeated without end."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def scaled(self, n: int) -> int:
        return self.factor * n

    def total(self, array: Any) -> int:
        return self.factor * int(array[0])


@distpool.remote(max_restarts=-1)
class Once:
    """Restarts, and none of its calls is ever repeated: each leaves a line when it runs."""

    def note(self, path: str, n: int) -> int:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{n}\n".encode())
        os.close(fd)
        return n


@distpool.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=4)
class Threaded:
    """Several calls at once."""

    def negated(self, n: int) -> int:
        return -n


@distpool.remote(max_restarts=-1, max_task_retries=-1)
class Loop:
    """An event loop."""

    async def doubled(self, n: int) -> int:
        return 2 * n


@distpool.remote(max_retries=-1)
def ask(actor: Any, n: int) -> int:
    """Another process calls the actor."""
    return int(distpool.get(actor.scaled.remote(n)))


@distpool.remote(max_retries=-1)
def ask_own(n: int) -> int:
    """An actor that a worker creates ends with it."""
    actor = Scaler.remote(3)
    return sum(distpool.get([actor.scaled.remote(n), actor.scaled.remote(1)]))


@distpool.remote(max_retries=0)
def asks_and_dies(actor: Any) -> None:
    """The actor's creator knows of this borrower by then."""
    distpool.get(actor.scaled.remote(1))
    os.kill(os.getpid(), signal.SIGKILL)


@distpool.remote(max_retries=0)
def waits_and_dies(refs: Sequence[distpool.ObjectRef]) -> None:
    """The owner knows by then that somebody waits here."""
    distpool.wait(list(refs), timeout=0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@distpool.remote
def when(path: str) -> int:
    """A value that is there when somebody says so."""
    while not os.path.exists(path):
        select.select([], [], [], 0.01)
    return 1
