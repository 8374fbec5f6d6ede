"""The lock of a ledger: one process of the node, and one thread of it, at a time.

Between processes it is a POSIX record lock, which the kernel drops when its holder dies. (An ``flock`` would not do:
all processes of a session have inherited the same open file, and so the same lock.) Within a process it is a thread
lock.

While it is held no garbage collection runs, since a finalizer of the user's could come back here; and on the main
thread no signal handler, since one that raises would leave a change half-made.
"""

from __future__ import annotations

import fcntl
import gc
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from distpool.errors import StoreError
from distpool.scheduler.signals import DeferredSignals, on_main_thread
from distpool.scheduler.store.ledger import Ledger

#: A change takes microseconds. Whoever holds the lock for so long was stopped (SIGSTOP, a debugger).
WAIT_S = 30.0
_SPINS = 50
_SLEEP_S, _SLEEP_S_MAX = 5e-5, 2e-3


class LedgerLock:
    """``with lock:`` around every change of the ledger."""

    def __init__(self, fd: int, ledger: Ledger) -> None:
        self._fd = fd
        self._ledger = ledger
        self._threads = threading.Lock()
        self._collects = False

    def __enter__(self) -> None:
        self.hold_threads()
        try:
            self._lock_processes()
        except BaseException:
            self.release_threads()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._unlock_processes(error)
        finally:
            self.release_threads()

    def hold_threads(self) -> None:
        """Keep the other threads of this process away, and the garbage collector."""
        self._threads.acquire()
        self._collects = gc.isenabled()
        gc.disable()

    def release_threads(self) -> None:
        """Let them go on."""
        if self._collects:
            gc.enable()
        self._threads.release()

    @contextmanager
    def between_processes(self) -> Iterator[None]:
        """The lock between processes alone, for one who has held the threads."""
        self._lock_processes()
        error = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._unlock_processes(error)

    def _lock_processes(self) -> None:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._wait()
        try:
            self._ledger.begin()
        except BaseException:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
            raise

    def _unlock_processes(self, error: BaseException | None) -> None:
        if error is None or isinstance(error, (LookupError, StoreError)):  # nothing is half-done
            self._ledger.end()
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _wait(self) -> None:
        """Another process has it: look again soon, then less and less often."""
        until = time.monotonic() + WAIT_S
        spins, sleep_s = _SPINS, _SLEEP_S
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > until:
                    raise StoreError(
                        f"the object store is locked by process {self._holder()} for {WAIT_S:.0f} s: "
                        "it seems to be stopped; continue or kill it"
                    ) from None
            if spins:
                spins -= 1
                os.sched_yield()
            else:
                time.sleep(sleep_s)
                sleep_s = min(sleep_s * 2, _SLEEP_S_MAX)

    def _holder(self) -> int:
        """The pid of the process that has it, 0 if that cannot be told."""
        layout = "hhqqi4x"
        asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        pid: int = struct.unpack(layout, fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))[4]
        return pid


class Undisturbed:
    """``with undisturbed:`` no signal handler runs on the main thread until the end; there it does, and may raise."""

    def __init__(self) -> None:
        self._signals = DeferredSignals(_nothing)
        self._depth = 0

    def __enter__(self) -> None:
        if on_main_thread():
            self._depth += 1
            if self._depth == 1:
                self._signals.hold()

    def __exit__(self, *_: object) -> None:
        if on_main_thread():
            self._depth -= 1
            if self._depth == 0:
                self._signals.release()


def _nothing() -> None:
    """There is no poll to be ended."""
