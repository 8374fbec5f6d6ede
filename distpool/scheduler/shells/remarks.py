"""A worker's remarks: log records, warnings and, from where the program does not see it, print; on their way to it.

::

    task ── logger.info ──► call_handlers ──► frames ─┬─ before Results, by the main thread ─────────► data link
            warnings.warn ─► show_warning ──►  deque  └─ AFTER_S later, by the second (``control``) ─► either link
            print ─► log ─► ``Prints.look`` ─►  │  ▲
                       BUFFER_BYTES full: drop ┘  └ WINDOW_BYTES are with the program, unhandled: RemarksSeen

A task never waits here, and nothing of this runs in one that makes no remark. A program that configures logging in the
worker (in its initializer, or a module that it imports) keeps that: where the root logger has a handler, nothing is
sent; where only a logger below has one, that one handles the record here, and the program's own handles it no more. But
``logging.info`` and its like, and a bare ``basicConfig()``, have the program configured, if that has no handlers yet.

In a worker whose tasks have pools of their own, the remarks of those come in as this process's, and so go on upwards.
A process that a task forks has no link: there, remarks go where the standard library sends them.

What is printed waits in the log for room, so it is not dropped; see ``prints``.

Not here: what the program does with them (``reissue``).
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, TextIO

from distpool.scheduler.messages import Remarks, encode
from distpool.scheduler.shells.prints import FRAME_BYTES, Prints
from distpool.scheduler.shells.waker import Waker

__all__ = ["AFTER_S", "BUFFER_BYTES", "Outbox", "handle_rest", "is_delicate", "pass_on"]

#: Remarks of a long task are sent after this time.
AFTER_S = 0.05
#: While a task runs, so much may be with the program and not be handled yet; more waits here for its result, ...
WINDOW_BYTES = 2 << 20
#: ... up to so much, here and there, and then it is dropped, and counted.
BUFFER_BYTES = 16 << 20
#: One message of remarks holds about so much.
BATCH_BYTES = 128 << 10

_PLAIN = frozenset((str, int, float, bool, type(None)))
_plain_handlers = logging.Logger.callHandlers
_plain_config = logging.basicConfig
_plain_warning = warnings.showwarning
_formatter = logging.Formatter()
_CONFIGURE = pickle.dumps(("configure",), 5)


class Outbox:
    """What this worker's tasks have remarked and the program has not been sent."""

    def __init__(self) -> None:
        self.waiting = False  # whether there is anything; looked at before results are sent
        self.rung = False  # whether the second thread has been told
        self.bell = Waker()
        self.configured = False  # the program has been told that logging without handlers has begun
        self.prints: Prints | None = None  # what is printed, if the program is to be sent that
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._unseen_bytes = 0
        self._sent = 0  # messages
        self._astray = False  # the last went by another link than results do, which may overtake it
        self._counting = threading.Lock()
        #: Held from taking frames, and results, until they are on their way: so nothing overtakes what it came after.
        #: Whoever wants the lock of the data link too takes this one first, or only tries that one.
        self.sending = threading.Lock()

    def open(self, prints: Prints | None = None) -> None:
        """From now on, what the loggers of this process have no handlers for comes here, and so do its warnings."""
        global _open
        _open = outbox = self
        self.prints = prints

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            if logging.root.handlers:
                _plain_handlers(logger, record)
            else:
                handle_rest(logger, record, [])

        def show_warning(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if file is not None:
                _plain_warning(message, category, filename, lineno, file, line)
                return
            outbox.put(_warning_frame(message, category, filename, lineno, line))

        def basic_config(**settings: Any) -> None:
            if settings or logging.root.handlers:
                _plain_config(**settings)
            elif not outbox.configured:
                outbox.configured = True
                outbox.put(_CONFIGURE)

        logging.basicConfig = basic_config
        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]
        warnings.showwarning = show_warning
        os.register_at_fork(after_in_child=close)

    def put(self, frame: bytes) -> None:
        """Have the program sent this; behind what was printed before it."""
        prints = self.prints
        # Never waited for: a finalizer may warn while this very thread looks.
        if prints is not None and prints.has_grown and prints.lock.acquire(blocking=False):
            try:
                self._look(prints, WINDOW_BYTES, whole=False)
            finally:
                prints.lock.release()
        self._put(frame)

    def _put(self, frame: bytes) -> None:
        if self._bytes + len(frame) > BUFFER_BYTES:
            self._dropped += 1
        else:
            self._bytes += len(frame)
            self._frames.append(frame)
        self.waiting = True
        if not self.rung:
            self.rung = True
            self.bell.wake()

    @property
    def is_due(self) -> bool:
        """Whether anything is to be sent before results are."""
        return self.waiting or self._astray or (self.prints is not None and self.prints.has_grown)

    def send_by(
        self, send: Callable[[bytes], object], window_bytes: float = WINDOW_BYTES, *, aside: bool = False
    ) -> None:
        """Send what may be sent now, as messages for the owner, encoded. Only by who has ``sending``.

        What comes before a result, or at the end, is sent even if much is unhandled: with a larger window. ``aside``:
        by another link than that of results. The next that goes by theirs tells that there was one.
        """
        before = self._sent
        prints = self.prints
        if prints is not None:
            with prints.lock:
                self._look(prints, window_bytes, whole=window_bytes > WINDOW_BYTES)
        while (message := self._take(window_bytes)) is not None:
            send(message)
        if aside:
            self._astray = self._astray or self._sent > before
        elif self._astray:
            self._astray = False
            if self._sent == before:
                self._sent += 1
                send(encode(Remarks([], 0, self._sent)))
        if prints is not None and prints.more:
            self.waiting = True  # until the program has handled some

    def _look(self, prints: Prints, window_bytes: float, *, whole: bool) -> None:
        """Take in what was printed, as far as there is room for it. Only by who has its lock."""
        room_bytes = window_bytes - self._unseen_bytes - self._bytes
        if room_bytes < FRAME_BYTES:
            prints.more = prints.has_grown
            return
        for frame in prints.look(room_bytes, time.monotonic(), whole=whole, last=window_bytes == math.inf):
            self._put(frame)

    def _take(self, window_bytes: float) -> bytes | None:
        with self._counting:
            self.waiting = False  # before looking: what comes after it says so again
            frames: list[bytes] = []
            size = 0
            while self._frames and size < BATCH_BYTES:
                if self._unseen_bytes + size >= window_bytes:
                    break
                frame = self._frames.popleft()
                frames.append(frame)
                size += len(frame)
            dropped = 0
            if not self._frames:
                dropped, self._dropped = self._dropped, 0
                self._bytes = 0
            else:
                self._bytes -= size
                self.waiting = True
            if not frames and not dropped:
                return None
            self._unseen_bytes += size
        self._sent += 1
        return encode(Remarks(frames, dropped, self._sent))

    def seen(self, count_bytes: int) -> None:
        """The program has handled so many bytes of them."""
        with self._counting:
            self._unseen_bytes -= count_bytes
        if self.waiting and not self.rung:
            self.rung = True
            self.bell.wake()


def is_delicate(code: CodeType) -> bool:
    """Whether an interrupt must not be raised in what this code calls: what was read would not be sent."""
    return code is Outbox.put.__code__


_open: Outbox | None = None


def pass_on(frame: bytes) -> bool:
    """In a worker whose tasks have workers of their own: what those say is for the program. False in the program."""
    if _open is None:
        return False
    _open.put(frame)
    return True


def close() -> None:
    """Remarks of this process go where the standard library sends them."""
    global _open
    _open = None
    logging.Logger.callHandlers = _plain_handlers  # type: ignore[method-assign]
    logging.basicConfig = _plain_config
    if warnings.showwarning.__module__ == __name__:
        warnings.showwarning = _plain_warning


class _Unsent(logging.Handler):
    """Shows, as any handler does, what is wrong with a record that cannot be formatted."""


_handler = _Unsent()


def handle_rest(logger: logging.Logger, record: logging.LogRecord, handled: list[str]) -> None:
    """Have a record handled by the loggers not in ``handled``: here, and in the program if this is a worker."""
    handled = list(handled)
    link: logging.Logger | None = logger
    while link is not None:
        if link.name not in handled:
            for handler in link.handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)
            if not all(isinstance(handler, logging.NullHandler) for handler in link.handlers):
                handled.append(link.name)
        if not link.propagate and link.name in handled:
            return
        link = link.parent if link.propagate else None
    if _open is not None and logging.root.name not in handled:
        try:
            _open.put(_record_frame(record, handled))
        except Exception:
            _handler.handleError(record)


def _record_frame(record: logging.LogRecord, handled: list[str]) -> bytes:
    """The record as bytes that can be read in any case; what is unusual in it lies in bytes of its own."""
    attributes = dict(record.__dict__)
    args = attributes["args"]
    if type(attributes["msg"]) is not str or (args and not _is_plain(args)):
        attributes["msg"], attributes["args"] = record.getMessage(), None
    if attributes["exc_info"]:
        if not attributes["exc_text"]:
            attributes["exc_text"] = _formatter.formatException(attributes["exc_info"])
        attributes["exc_info"] = None
    odd: dict[str, bytes | str] = {}
    for name, value in attributes.items():
        if type(value) not in _PLAIN and name != "args":
            odd[name] = _odd(value)
    for name in odd:
        del attributes[name]
    return pickle.dumps(("record", attributes, odd, handled), 5)


def _is_plain(args: Any) -> bool:
    return type(args) is tuple and all(type(value) in _PLAIN for value in args)


def _odd(value: Any) -> bytes | str:
    """A value pickled; if that cannot be, its text."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        try:
            return repr(value)
        except Exception as error:
            return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _warning_frame(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None
) -> bytes:
    text = str(message)
    action = _action_for(text, category, filename, lineno)
    return pickle.dumps(
        ("warning", text, category.__name__, _odd(message), _odd(category), filename, lineno, line, action), 5
    )


def _action_for(text: str, category: type[Warning], filename: str, lineno: int) -> str:
    """Which action let this warning out: it tells whether the same of another worker is one too many."""
    module = next((name for name, one in list(sys.modules.items()) if _file_of(one) == filename), "__main__")
    for action, pattern, kind, place, number in warnings.filters:
        if (
            _matches(pattern, text)
            and issubclass(category, kind)
            and _matches(place, module)
            and number in (0, lineno)
        ):
            return action
    return warnings.defaultaction  # type: ignore[attr-defined,no-any-return]


def _file_of(module: Any) -> Any:
    """The file of a module, without waking one that is loaded lazily."""
    return (
        ModuleType.__getattribute__(module, "__dict__").get("__file__")
        if isinstance(module, ModuleType)
        else None
    )


def _matches(pattern: Any, text: str) -> bool:
    if pattern is None:
        return True
    return bool(pattern == text if isinstance(pattern, str) else pattern.match(text))
