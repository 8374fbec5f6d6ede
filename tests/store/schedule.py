"""Processes as threads, of which exactly one runs at a time; at each ``pause`` chance says which goes on.

::

    strand A ── pause ──► who is runnable? ── chance ──► B goes on
                             │ its process was killed: Killed is raised in it
                             └ nobody: the world hangs, which is a Violation

A strand is a thread of a simulated process. It is real Python on a real stack, so that the real code of the store can
be stopped and killed wherever it lets others in. All chance is ``rng``; so a seed is a story.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import Violation

from .crashing import Killed

STEPS_MAX = 60_000


class Process:
    """What can be killed. ``number`` is its own in the store."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.alive = True


class Strand:
    """One thread of a process."""

    def __init__(self, process: Process, body: Callable[[], None]) -> None:
        self.process = process
        self.body = body
        self.turn = threading.Lock()
        self.turn.acquire()
        self.until: Callable[[], bool] | None = None
        self.what = "starts"


class Schedule:
    """Runs strands until all are over, or something is wrong."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.steps = 0
        self.violation: Violation | None = None
        self._strands: list[Strand] = []
        self._threads: list[threading.Thread] = []
        self._running: Strand | None = None
        self._over = threading.Event()

    def start(self, process: Process, body: Callable[[], None]) -> None:
        strand = Strand(process, body)
        thread = threading.Thread(target=self._run, args=(strand,), daemon=True)
        self._strands.append(strand)
        self._threads.append(thread)
        thread.start()

    def run(self) -> None:
        """Until every strand is over. Raises the first Violation."""
        self._pass_on()
        self._over.wait()
        for thread in self._threads:
            thread.join()
        if self.violation is not None:
            raise self.violation

    def pause(self, what: str, until: Callable[[], bool] | None = None) -> None:
        """Let others go on, at least until ``until()`` holds. To be called by the strand that runs."""
        me = self._running
        assert me is not None
        self._check_alive(me)
        me.until, me.what = until, what
        self.steps += 1
        if self.steps > STEPS_MAX:
            self._fail(Violation("everything_ends", f"more than {STEPS_MAX} steps: {self._story()}"))
        chosen = self._choose()
        if chosen is not me:
            self._running = chosen
            chosen.turn.release()
            me.turn.acquire()
        me.until = None
        self._check_alive(me)

    def _check_alive(self, strand: Strand) -> None:
        if self.violation is not None or not strand.process.alive:
            raise Killed

    def _choose(self) -> Strand:
        strands = self._strands
        if self.violation is None:
            runnable = [s for s in strands if s.until is None or not s.process.alive or s.until()]
            if runnable:
                return self.rng.choice(runnable)
            self._fail(Violation("everything_ends", f"nobody can go on: {self._story()}"))
        return strands[0]

    def _fail(self, violation: Violation) -> None:
        if self.violation is None:
            self.violation = violation

    def _story(self) -> str:
        return ", ".join([f"{strand.process.name}: {strand.what}" for strand in self._strands])

    def _pass_on(self) -> None:
        if self._strands:
            self._running = self._choose()
            self._running.turn.release()
        else:
            self._over.set()

    def _run(self, strand: Strand) -> None:
        strand.turn.acquire()
        try:
            self._check_alive(strand)
            strand.body()
        except Killed:
            pass
        except Violation as violation:
            self._fail(violation)
        except BaseException as error:
            surprise = Violation("no_surprises", f"{strand.process.name}: {type(error).__name__}: {error}")
            surprise.__cause__ = error
            self._fail(surprise)
        strand.body = _nothing
        self._strands.remove(strand)
        self._pass_on()


def _nothing(*_: Any) -> None:
    """What a strand that is over has still to do."""
