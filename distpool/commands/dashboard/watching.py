"""Who looks: a thread that asks the cluster again and again; and a link for what is asked when somebody looks at it.

::

    Watch (thread) ── look, every ``interval_s`` ──► Chronicle ── snapshot ──► ``published`` ──► pages that wait
    Desk ── actors, objects, logs, stacks, metrics ──► the same cluster, by a link of its own; answers kept for a moment

It asks as often as the cluster can answer without noticing: some workers every second, a thousand every few. With no
page open it asks every ``UNWATCHED_S``, so that rates and history have no gaps. A link that is lost is dialled again; a
program that has ended, or a head that is away, is said on the page, and what was known stays there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from distpool.commands.dashboard.chronicle import Chronicle
from distpool.commands.dashboard.overview import Snapshot, snapshot
from distpool.commands.looking import asker_name, look
from distpool.errors import ClusterError
from distpool.scheduler.messages import Surveyed
from distpool.scheduler.shells.asking import Asker

__all__ = ["Desk", "Watch"]

LOOK_S = 1.0
UNWATCHED_S = 5.0
#: A look costs each worker, and its agent, some tenths of a millisecond: so many of them are asked a second.
WORKERS_PER_S = 250
#: Where answers take long, as everybody is busy, so many times that long lies between the looks.
TIMES_TAKEN = 2.0
INTERVAL_S_MAX = 30.0
#: Bars of one worker for each second between looks; the first look goes back for minutes.
BARS_PER_S = 12
BARS_FIRST, BARS_MIN, BARS_MAX = 200, 12, 200
#: All bars of one look, by all workers.
BARS_IN_ALL_MAX = 4_000
REDIAL_S = 2.0
#: How long the thread has to end; a link that is being dialled takes longest.
FAREWELL_S = 15.0
#: How long an answer that was asked for by a page serves others.
KEPT_S = 2.0

Dial = Callable[[], Asker]
Answer = TypeVar("Answer")


class Watch(threading.Thread):
    """See the module. ``on_news`` is called, on this thread, with each new snapshot; ``lock`` guards the chronicle."""

    def __init__(self, dial: Dial) -> None:
        super().__init__(name="distpool-dashboard", daemon=True)
        self.chronicle = Chronicle()
        self.lock = threading.Lock()
        self.published: Snapshot | None = None
        self.on_news: Callable[[Snapshot], None] = lambda _snapshot: None
        self.trouble = ""
        self._dial = dial
        self._asker: Asker | None = None
        self._name = asker_name()
        self._wake = threading.Event()
        self._watched = False
        self._ended = False
        self._asked_s = float("-inf")
        self._interval_s = LOOK_S

    # ------------------------------------------------------------------------------- other threads

    def watched(self, count: int) -> None:
        """So many pages are open."""
        began = count > 0 and not self._watched
        self._watched = count > 0
        if began:
            self._wake.set()

    def asked(self) -> None:
        """Somebody wants to know something now: what we know ought to be of now, too, for a while."""
        self._asked_s = time.monotonic()
        if self._asked_s - self.chronicle.at_s > self._interval_s:
            self._wake.set()

    def stop(self) -> None:
        """Look no more; returns when the link is closed, as the end of the process would wait for it."""
        self._ended = True
        self._wake.set()
        if not self.is_alive():
            self._hang_up()
            return
        if (asker := self._asker) is not None:
            asker.give_up()
        self.join(FAREWELL_S)

    # ----------------------------------------------------------------------------------- this one

    def look_once(self) -> None:
        """Raises ClusterError, ValueError; then ``trouble`` says why, too."""
        try:
            if self._asker is None:
                self._asker = self._dial()
            seen = look(self._asker, self._name, self._bars())
        except (ClusterError, ValueError, OSError) as error:
            self.trouble = str(error)
            self._hang_up()
            raise
        self.trouble = ""
        with self.lock:
            self.chronicle.take(seen)
        wanted_s = max(TIMES_TAKEN * seen.took_s, len(self.chronicle.workers) / WORKERS_PER_S)
        self._interval_s = min(INTERVAL_S_MAX, max(LOOK_S, wanted_s))
        self._publish()

    def _bars(self) -> int:
        if not self.chronicle.looks:
            return BARS_FIRST
        passed_s = time.monotonic() - self.chronicle.at_s
        bars = min(BARS_MAX, max(BARS_MIN, int(BARS_PER_S * passed_s)))
        return max(2, min(bars, BARS_IN_ALL_MAX // max(1, len(self.chronicle.workers))))

    def _publish(self) -> None:
        with self.lock:
            self.published = snapshot(self.chronicle, self.trouble, self._interval_s)
        self.on_news(self.published)

    def run(self) -> None:
        """Until stopped."""
        while not self._ended:
            wait_s = 0.0
            try:
                self.look_once()
            except (ClusterError, ValueError, OSError):
                wait_s = REDIAL_S
                self._publish()
            else:
                wait_s = max(0.0, self._pause_s() - (time.monotonic() - self.chronicle.at_s))
            self._wait(wait_s)
        self._hang_up()

    def _pause_s(self) -> float:
        wanted = self._watched or time.monotonic() - self._asked_s < UNWATCHED_S
        return max(self._interval_s, LOOK_S if wanted else UNWATCHED_S)

    def _wait(self, seconds: float) -> None:
        if self._wake.wait(seconds):
            self._wake.clear()
            time.sleep(0.05)  # a page that comes and goes all the time does not make us ask all the time

    def _hang_up(self) -> None:
        if self._asker is not None:
            self._asker.close()
            self._asker = None


class Desk:
    """Asks for what somebody wants to see now. Any thread; one question at a time, each with a bound."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._lock = threading.Lock()
        self._asker: Asker | None = None
        self._kept: dict[Any, tuple[float, Any]] = {}

    def survey(self, topic: str, *, kept_s: float = KEPT_S, **more: Any) -> Surveyed:
        """As ``Asker.survey``; the same question gets the same answer for ``kept_s``. Raises ClusterError."""
        key = topic, *sorted(more.items())
        return self._ask(key, kept_s, lambda asker: asker.survey(topic, **more))

    def ask(self, question: Any, kind: type[Answer], kept_s: float = KEPT_S) -> Answer:
        """As ``Asker.ask``."""
        key = msgspec.json.encode(question)
        return self._ask(key, kept_s, lambda asker: asker.ask(question, kind))

    def _ask(self, key: Any, kept_s: float, ask: Callable[[Asker], Answer]) -> Answer:
        with self._lock:
            now_s = time.monotonic()
            for old in [old for old, (at_s, _) in self._kept.items() if at_s < now_s - KEPT_S]:
                del self._kept[old]
            if key in self._kept and kept_s:
                found: Answer = self._kept[key][1]
                return found
            if self._asker is None:
                self._asker = self._dial()
            try:
                answer = ask(self._asker)
            except ClusterError:
                if self._asker.lost:
                    self.close_link()
                raise
            if kept_s:
                self._kept[key] = time.monotonic(), answer
            return answer

    def stop(self) -> None:
        """Ask no more."""
        if (asker := self._asker) is not None:
            asker.give_up()
        with self._lock:
            self.close_link()

    def close_link(self) -> None:
        """Hang up; the next question dials again."""
        if self._asker is not None:
            self._asker.close()
            self._asker = None
