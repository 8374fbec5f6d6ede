"""Keeping signal handlers that can raise out of the engine.

Python runs signal handlers on the main thread between any two bytecodes. One that raises (Ctrl-C's does) would leave
a core half-way between two states. So while the main thread drives the engine, each Python-level handler is
replaced by a recorder; what it recorded is delivered, in order, as soon as the main thread is out again.

A signal may also hit ``hold`` or ``release`` themselves. Then a recorder may stay in place: outside of a hold
it passes every signal on to the handler that it stands for, and the next hold or release puts that one back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_SIGNALS = sorted(signal.valid_signals())
_DEFAULTS = (signal.SIG_DFL, signal.SIG_IGN, None)


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
        self._originals: dict[int, Any] = {}  # what the installed recorders stand for
        self.recorded: list[tuple[int, FrameType | None]] = []

    def hold(self) -> None:
        """From here on no Python handler runs; a signal that arrives half-way through this may still raise."""
        self._holding = True
        originals, record = self._originals, self._record
        for number, handler in zip(_SIGNALS, map(signal.getsignal, _SIGNALS), strict=True):
            if handler not in _DEFAULTS and handler != record:
                originals[number] = handler
                signal.signal(number, record)

    def release(self) -> None:
        """Put the handlers back, then let them handle what came meanwhile; they may raise, as ever."""
        self._holding = False
        originals, record = self._originals, self._record
        while originals:
            number, handler = next(iter(originals.items()))
            if signal.getsignal(number) == record:
                signal.signal(number, handler)
            originals.pop(number, None)
        self._deliver()

    def _deliver(self) -> None:
        if self.recorded:
            number, frame = self.recorded.pop(0)
            handler = signal.getsignal(number)
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
