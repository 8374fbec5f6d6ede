"""What workers remark, in the program as if its own code had: log records go to its handlers, warnings to stderr, and
so does what they print where the program does not see it (``show``).

::

    OwnerShell ── Remarks ──► put ──► deque ──► a thread, while there are any ──► logging.getLogger(name).handle
     (leader)                  │                              │                   warnings.showwarning, Show
         ▲     Behind(number) ◄┘ in the line of deliveries    │
         ├───────────────────── on_progress ──────────────────┤
     worker ◄── RemarksSeen ◄── on_seen, every SEEN_BYTES ────┘

Handlers are the program's code and may take long: so they have a thread of their own, and neither the engine nor a task
waits for it. What it has not handled is bounded by what each worker may have under way (``remarks.WINDOW_BYTES``).
A result is delivered when the remarks that came before it have been handled, unless a handler is stuck. A worker's
messages come by two links: one that comes too early waits here for those before it, and so does what follows it.

Of warnings, the program's own filters have been applied in the worker; what is left to do here is that many workers
say it no more often than one process would.
"""

from __future__ import annotations

import logging
import pickle
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distpool.scheduler.messages import Printed, Remarks
from distpool.scheduler.shells.remarks import handle_rest
from distpool.scheduler.shells.show import Show

__all__ = ["Behind", "Reissue"]

#: A worker is told that so much of its remarks has been handled.
SEEN_BYTES = 128 << 10
#: A result waits for the remarks before it no longer than this, if none is handled meanwhile.
STUCK_S = 1.0
#: The thread goes when there was nothing for this long.
IDLE_S = 0.5
#: So many warnings are remembered as shown.
SHOWN_MAX = 10_000

_logger = logging.getLogger("distpool")


@dataclass(slots=True)
class Behind:
    """Stands in a line of deliveries: what comes after it waits until so many messages of remarks are handled."""

    number: int


class Reissue:
    """The remarks of one owner's workers.

    ``on_seen(lease, bytes)`` is called on its thread, and so is ``on_progress()`` while ``awaited`` is set.
    """

    def __init__(
        self, on_seen: Callable[[str, int], None], on_progress: Callable[[], None], show: Show
    ) -> None:
        self.pending = 0  # messages that have not been handled
        self.awaited = False  # somebody wants to hear when some are
        self.asking = 0  # handlers that wait for results, and so for deliveries
        self._on_seen = on_seen
        self._on_progress = on_progress
        self._inbox: deque[tuple[str, Remarks | None]] = deque()  # None: the worker is gone
        self._unseen: dict[str, int] = {}
        self._expected: dict[str, int] = {}  # by lease, the number of the next message
        self._early: dict[str, dict[int, Remarks]] = {}  # those that have overtaken others
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._handled = 0
        self._moved_s = 0.0  # when one was handled last, or came when there were none
        self._shown: set[Any] = set()
        self._show = show

    def put_last(self, lease: str, printed: Sequence[Printed]) -> int:
        """A worker has ended, and its agent has told what it has printed last. Else as ``put``."""
        frames = [pickle.dumps(("ended", part.stream, part.end, part.data), 5) for part in printed]
        return self.put(lease, Remarks(frames))

    def put(self, lease: str, remarks: Remarks) -> int:
        """A worker's message has come; on the leading thread. Returns how many there have been."""
        with self._changed:
            if not self.pending:
                self._moved_s = time.monotonic()
            self._line_up(lease, remarks)
            self.pending += 1
            number = self._handled + self.pending
            self._wake()
        return number

    def _wake(self) -> None:
        """Have the thread look, under the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="distpool-remarks", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter ends: ``drain`` will do it
                self._thread = None
        self._changed.notify_all()

    def _line_up(self, lease: str, remarks: Remarks) -> None:
        """Each worker's messages in their order."""
        if not remarks.number:
            self._let_in(lease)
            self._inbox.append((lease, remarks))
            return
        expected = self._expected.get(lease, 1)
        if remarks.number != expected:
            self._early.setdefault(lease, {})[remarks.number] = remarks
            return
        early = self._early.get(lease, {})
        following: Remarks | None = remarks
        while following is not None:
            self._inbox.append((lease, following))
            expected += 1
            following = early.pop(expected, None)
        self._expected[lease] = expected
        if not early:
            self._early.pop(lease, None)

    def _let_in(self, lease: str) -> None:
        """Nothing more comes of this worker: what waits for the others has waited long enough."""
        for _, remarks in sorted(self._early.pop(lease, {}).items()):
            self._inbox.append((lease, remarks))

    @property
    def stuck_s(self) -> float:
        """When nobody waits any longer for what is being handled, by the monotonic clock, unless there is progress."""
        return self._moved_s + STUCK_S

    def is_past(self, number: int) -> bool:
        """Whether so many messages have been handled, or need not be waited for. Any thread."""
        return self.asking > 0 or self._is_handled(number)

    def _is_handled(self, number: int) -> bool:
        return self._handled >= number or self._thread is None or time.monotonic() >= self.stuck_s

    def is_handler(self) -> bool:
        """Whether it is a handler, on the thread of handlers, that asks."""
        return threading.current_thread() is self._thread

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """A handler waits for a result: that cannot wait for the handler. Others have to look after themselves."""
        self.asking += 1
        self._on_progress()
        try:
            yield
        finally:
            self.asking -= 1

    def wait_handled(self) -> None:
        """Wait until what has come is handled; not for a handler that is stuck, and not in a handler."""
        if self.is_handler():
            return
        with self._changed:
            number = self._handled + self.pending
            while not self._is_handled(number):
                self._changed.wait(max(0.0, self.stuck_s - time.monotonic()))

    def drain(self) -> None:
        """The session ends: handle what is left."""
        self.wait_handled()
        with self._changed:
            for lease in list(self._early):
                self._let_in(lease)
            idle = self._thread is None
        while idle and self._inbox:
            self._handle(*self._inbox.popleft())

    def _run(self) -> None:
        while True:
            with self._changed:
                until_s = time.monotonic() + IDLE_S
                while not self._inbox:
                    left_s = until_s - time.monotonic()
                    if left_s <= 0:
                        self._thread = None
                        return
                    self._changed.wait(left_s)
                lease, remarks = self._inbox.popleft()
            self._handle(lease, remarks)

    def _handle(self, lease: str, remarks: Remarks | None) -> None:
        if remarks is None:
            self._unseen.pop(lease, None)
            return
        for frame in remarks.frames:
            try:
                self._reissue(lease, frame)
            except (
                BaseException
            ):  # a handler's own: shown as that of a thread, and the next record is handled
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        if remarks.dropped:
            _logger.warning(
                "%d log records of worker %s were dropped: it makes them faster than this program's handlers take them",
                remarks.dropped,
                lease,
            )
        with self._changed:
            self.pending -= 1
            self._handled += 1
            self._moved_s = time.monotonic()
            seen = self._unseen.pop(lease, 0) + sum(map(len, remarks.frames))
            if seen < SEEN_BYTES:
                self._unseen[lease] = seen
            self._changed.notify_all()
        if self.awaited:
            self._on_progress()
        if seen >= SEEN_BYTES:
            self._on_seen(lease, seen)

    def forget(self, lease: str) -> None:
        """The worker is gone; what has come of it is handled first."""
        with self._changed:
            self._let_in(lease)
            self._expected.pop(lease, None)
            if self.pending:
                self._inbox.append((lease, None))
                self._wake()
            else:
                self._unseen.pop(lease, None)

    def _reissue(self, lease: str, frame: bytes) -> None:
        kind, *rest = pickle.loads(frame)
        match kind:
            case "record":
                _handle_record(*rest)
            case "configure":
                logging.basicConfig()
            case "warning":
                self._show_warning(*rest)
            case "prints":
                self._show.prints(lease, *rest)
            case "withheld":
                self._show.withheld(lease, *rest)
            case "ended":
                self._show.ended(lease, *rest)
            case _:
                raise AssertionError(f"a worker does not remark {kind}")

    def _show_warning(
        self,
        text: str,
        name: str,
        message: bytes | str,
        category: bytes | str,
        filename: str,
        lineno: int,
        line: str | None,
        action: str,
    ) -> None:
        key = {
            "default": (text, name, filename, lineno),
            "module": (text, name, filename),
            "once": (text, name),
        }.get(action)
        if key is not None:
            if key in self._shown:
                return
            if len(self._shown) < SHOWN_MAX:
                self._shown.add(key)
        kind = _loaded(category)
        if not (isinstance(kind, type) and issubclass(kind, Warning)):
            kind = type(name, (Warning,), {})
        warning = _loaded(message)
        if not isinstance(warning, Warning):
            warning = kind(text)
        shown = warnings.WarningMessage(warning, kind, filename, lineno, line=line)
        warnings._showwarnmsg(shown)  # type: ignore[attr-defined]


def _handle_record(attributes: dict[str, Any], odd: dict[str, bytes | str], handled: list[str]) -> None:
    for name, value in odd.items():
        attributes[name] = _loaded(value)
    record = logging.makeLogRecord(attributes)
    logger = logging.getLogger(record.name)
    if not logger.isEnabledFor(record.levelno):
        return
    if not handled:
        logger.handle(record)
    elif not logger.disabled and (passed := logger.filter(record)):
        handle_rest(logger, passed if isinstance(passed, logging.LogRecord) else record, handled)


def _loaded(value: bytes | str) -> Any:
    """What ``remarks._odd`` made; if it cannot be made again, a text that says so."""
    if isinstance(value, str):
        return value
    try:
        return pickle.loads(value)
    except Exception as error:
        return f"<could not be unpickled: {type(error).__name__}: {error}>"
