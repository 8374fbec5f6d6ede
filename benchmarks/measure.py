"""The far end of one measurement: a fresh process that opens one peer, runs one row, answers one JSON line.

::

    lane.py --- stdin: {"peer", "row", "count", "workers", "reply_fd"} --->  this process
    lane.py <-- reply_fd: {"values"} | {"failure"} | {"not_offered"} ------  (then closes the peer and leaves)

It imports as little as it can before the peer: its own memory and start-up time are part of what rows see.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from benchmarks import bodies, network, peers, proc, rows
from benchmarks.model import Adapter, NotOffered, Peer

_WARM_TASKS = 50


class PeerSession:
    """The `Session` that a row's measurement gets: it opens the peer and remembers it for closing."""

    def __init__(self, peer: Peer, module: ModuleType, workers: int, count: int) -> None:
        self._peer = peer
        self._module = module
        self._adapter: Adapter | None = None
        self._others: list[Adapter] = []
        self.workers = workers
        self.count = count

    def open(self) -> Adapter:
        assert self._adapter is None, "a session has one main opening; see `another`"
        self._adapter = self._open()
        return self._adapter

    @contextlib.contextmanager
    def another(
        self, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> Iterator[Adapter]:
        options = {"initializer": initializer, "initargs": initargs} if initializer else {}
        if options and not self._peer.initializers:
            raise NotOffered("it has no initializer")
        adapter = self._open(**options)
        self._others.append(adapter)  # for `close`, should the measurement fail
        yield adapter
        self._others.remove(adapter)
        adapter.close()

    def _open(self, **options: Any) -> Adapter:
        if self._peer.open is None:
            raise NotOffered("it is no library that could be opened")
        return self._peer.open(self._module, self.workers, **options)

    def open_warm(self) -> Adapter:
        adapter = self.open()
        handles = [adapter.submit(bodies.null_task, number) for number in range(_WARM_TASKS)]
        if adapter.collect(handles) != list(range(_WARM_TASKS)):
            raise AssertionError(f"{self._peer.title} gave wrong results while warming up")
        return adapter

    def close(self) -> None:
        for adapter in (*self._others, self._adapter):
            if adapter is not None:
                adapter.close()


def load(peer: Peer) -> ModuleType:
    """Import the peer's library with its environment set, inside an own network where it needs one."""
    os.environ.update(peer.environment)
    if peer.isolated:
        network.raise_loopback()
    return importlib.import_module(peer.module)


def main() -> int:
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    os.set_inheritable(request["reply_fd"], False)
    proc.become_subreaper()
    answer: dict[str, Any]
    session: PeerSession | None = None
    try:
        peer = peers.discover()[request["peer"]]
        row = rows.discover()[request["row"]]
        session = PeerSession(peer, load(peer), request["workers"], request["count"])
        answer = {"values": dict(row.instead.get(peer.name, row.measure)(session))}
    except NotOffered as reason:
        answer = {"not_offered": str(reason)}
    except Exception as error:  # whatever a library raises is what its cell shows
        answer = {"failure": f"{type(error).__name__}: {error}"}
    os.write(request["reply_fd"], json.dumps(answer).encode() + b"\n")
    if session is not None:
        with contextlib.suppress(Exception):  # the numbers are out; the lane ends whatever does not close
            session.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
