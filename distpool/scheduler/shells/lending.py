"""Descriptors for workers: lets an initializer take what multiprocessing only hands to children of its own.

A standard Queue, Pipe, Lock or Value refuses to be pickled unless a child is being started just now, and asks whatever
starts it to pass its descriptors on. ``as_if_spawning`` says so for a moment, and passes them on by a socket::

    owner   as_if_spawning ─► pickle(Queue) ─► Lender.lend(fd) ─► LentDescriptor ─┐ in the worker's set-up
    worker  unpickle ─► LentDescriptor.detach ─► connects, is given a descriptor ◄─┘

The standard library's own way (``resource_sharer``) gives each descriptor once; but here one pickle serves all workers
of a pool, and those that replace them. Under the start method "fork" a standard Lock has no name by which
another process could find it, and goes on to refuse.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, context, process, reduction
from typing import Any


class LentDescriptor:
    """What stands in a pickle for a descriptor. ``detach`` is what multiprocessing's rebuilders call."""

    def __init__(self, address: str, key: int) -> None:
        self._address = address
        self._key = key

    def detach(self) -> int:
        """A descriptor of this process for the same file.

        Raises:
            OSError: the lender is gone, or on another machine.
        """
        with connection.Client(self._address, authkey=process.current_process().authkey) as link:
            link.send(self._key)
            if not link.recv():
                raise OSError("the pool that this descriptor was lent to is gone")
            return reduction.recv_handle(link)


class _Held:
    """A descriptor, open for as long as somebody holds this."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.dup(descriptor)

    def __del__(self, close: Any = os.close) -> None:
        close(self.descriptor)


class Lender:
    """Lends descriptors to whoever knows this process's authentication key, by a thread that the first one starts."""

    def __init__(self) -> None:
        self._keys = itertools.count(1)
        self._held: dict[int, _Held] = {}
        self._listener: connection.Listener | None = None
        self._lock = threading.Lock()

    def lend(self, descriptor: int, borrower: Any) -> LentDescriptor:
        """Lend a copy of ``descriptor`` for as long as the object ``borrower`` lives."""
        with self._lock:
            if self._listener is None:
                self._listener = connection.Listener(authkey=process.current_process().authkey, backlog=128)
                threading.Thread(
                    target=self._serve, args=(self._listener,), daemon=True, name="distpool-lender"
                ).start()
            key = next(self._keys)
            self._held[key] = _Held(descriptor)
            weakref.finalize(borrower, self._held.pop, key, None).atexit = False
            return LentDescriptor(self._listener.address, key)

    def after_fork(self) -> None:
        """In a forked child: what was lent is the parent's affair."""
        listener, self._listener = self._listener, None
        self._held = {}
        self._lock = threading.Lock()
        if listener is not None:
            listener.close()  # this process's copy of it; the name stays

    def _serve(self, listener: connection.Listener) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            try:
                with listener.accept() as link:
                    held = self._held.get(link.recv())
                    link.send(held is not None)
                    if held is not None:
                        reduction.send_handle(link, held.descriptor, None)
            except (OSError, EOFError, context.AuthenticationError):
                continue  # that borrower died, or was none


class _Start:
    """Stands for the ``Popen`` of a child that is being started."""

    def __init__(self, borrower: Any) -> None:
        self._borrower = borrower

    def duplicate_for_child(self, descriptor: int) -> int:
        """The number that ``DupFd`` will be asked for."""
        return descriptor

    def DupFd(self, descriptor: int) -> LentDescriptor:
        """The descriptor as it will be pickled."""
        return LENDER.lend(descriptor, self._borrower)


@contextmanager
def as_if_spawning(borrower: Any) -> Iterator[None]:
    """While in it, this thread can pickle what multiprocessing hands to children only.

    Descriptors are lent for as long as the object ``borrower`` lives.
    """
    before = context.get_spawning_popen()
    context.set_spawning_popen(_Start(borrower))  # type: ignore[arg-type]
    try:
        yield
    finally:
        context.set_spawning_popen(before)


LENDER = Lender()
os.register_at_fork(after_in_child=LENDER.after_fork)
