"""Keeping signal handlers that can raise out of the engine.

Python runs signal handlers on the main thread between any two bytecodes. One that raises (Ctrl-C's does) would leave
a core half-way between two states. So while the main thread drives the engine, each Python-level handler is
replaced by a recorder; what it recorded is delivered, in order, as soon as the main thread is out again.

A signal may also hit ``hold`` or ``release`` themselves. Then a recorder may stay in place: outside of a hold
it passes every signal on to the handler that it stands for, and the next hold or release puts that one back.
"""

from __future__ import annotations

import _signal
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# The C functions: the module's own make an enum of everything, which takes longer than a round trip is worth.
_getsignal, _setsignal = _signal.getsignal, _signal.signal
_SIGNALS = sorted(map(int, signal.valid_signals()))


def on_main_thread() -> bool:
    """Whether this is the thread on which Python runs signal handlers."""
    return threading.get_ident() == threading.main_thread().ident


class DeferredSignals:
    """``try: hold() ... finally: release()`` around engine code on the main thread.

    ``wake`` is called when a signal was recorded, to end a poll that is under way.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._holding = False
        self._recorder = self._record
        self._seen: list[Any] = []  # the handlers at the last hold, ...
        self._python: list[tuple[int, Any]] = []  # ... and those of them that are Python functions
        self._originals: dict[int, Any] = {}  # what the installed recorders stand for
        self.recorded: list[tuple[int, FrameType | None]] = []

    def hold(self) -> None:
        """From here on no Python handler runs; a signal that arrives half-way through this may still raise."""
        self._holding = True
        handlers = list(map(_getsignal, _SIGNALS))
        if handlers != self._seen:
            pairs = zip(_SIGNALS, handlers, strict=True)
            self._python = [(n, h) for n, h in pairs if callable(h) and h is not self._recorder]
            self._seen = handlers
        originals, recorder = self._originals, self._recorder
        for number, handler in self._python:
            originals[number] = handler
            _setsignal(number, recorder)

    def release(self) -> None:
        """Put the handlers back, then let them handle what came meanwhile; they may raise, as ever."""
        self._holding = False
        originals, recorder = self._originals, self._recorder
        while originals:
            number, handler = next(iter(originals.items()))
            if _getsignal(number) is recorder:
                _setsignal(number, handler)
            originals.pop(number, None)
        if self.recorded:
            self._deliver()

    def abandon(self) -> None:
        """In a forked child: the thread that held the signals is not here, but its recorders are."""
        self.recorded.clear()
        if on_main_thread():
            self.release()

    def _deliver(self) -> None:
        if self.recorded:
            number, frame = self.recorded.pop(0)
            handler = _getsignal(number)
            try:
                if callable(handler):
                    handler(number, frame)
            finally:
                self._deliver()

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self._holding:
            self.recorded.append((number, frame))
            self._wake()
            return
        handler = self._originals.get(number)
        if callable(handler):
            handler(number, frame)
