"""mpire's `WorkerPool`, whose methods are named as `multiprocessing.Pool`'s with arguments of their own."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from benchmarks.adapters import Function, NoSharing
from benchmarks.model import Adapter, Peer


class MpireAdapter(NoSharing):
    """Drives one `mpire.WorkerPool`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        # A kept-alive mpire worker learns that a call wants its results in order only together with a function
        # that is new to it; one that `apply_async` brought before would be called with (place, item). So an
        # ordered map gets the same function under another identity.
        self._ordered: dict[Function, Function] = {}

    def _in_order(self, function: Function) -> Function:
        return self._ordered.setdefault(function, functools.partial(function))

    def submit(self, function: Function, argument: Any) -> Any:
        return self._pool.apply_async(function, (argument,))

    def collect(self, handles: list[Any]) -> list[Any]:
        return [handle.get() for handle in handles]

    def call(self, function: Function, argument: Any) -> Any:
        return self._pool.apply(function, (argument,))

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        results: list[Any] = self._pool.map(self._in_order(function), items, chunk_size=chunksize)
        return results

    # mpire needs a length for its chunks unless it is given their size, which here is one.
    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._pool.imap(self._in_order(function), items, chunk_size=1))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._pool.imap_unordered(function, items, chunk_size=1))

    def close(self) -> None:
        self._pool.terminate()


def _open(module: ModuleType, workers: int) -> Adapter:
    # keep_alive: otherwise every map call would start its workers anew, which is not what is measured.
    return MpireAdapter(module.WorkerPool(n_jobs=workers, keep_alive=True))


PEER = Peer(name="mpire", title="mpire", family="mpire", module="mpire", open=_open, distribution="mpire")
