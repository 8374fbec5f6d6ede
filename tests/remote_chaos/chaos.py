"""Chaos: processes are killed at random while calls of every kind are in flight; then every result is looked at.

::

    Killer (a thread) ── SIGKILL, every few hundred ms ──► any worker: of tasks, of actors, of nested calls
    Chaos ── keep N calls in flight, of a random kind ──► expected value beside each reference
          ── finish: get them all, compare, let go, and look what is left

Results are right if each is what its arguments make it. What may fail is only what was never to be repeated: calls of
an actor without ``max_task_retries``, and those ran once at most.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distpool
from distpool import exceptions
from distpool.scheduler import client
from distpool.scheduler.shells import processes
from tests.processes.harness import parent_of
from tests.remote_chaos import bodies


def workers() -> list[int]:
    """The pids of all workers of this process's session: we have an agent, which has a nursery, which has them."""
    me = os.getpid()
    return [pid for pid in processes.descendants(me) if _parent(_parent(_parent(pid))) == me]


def _parent(pid: int) -> int:
    try:
        return parent_of(pid) if pid else 0
    except OSError:
        return 0  # it has ended meanwhile


class Killer:
    """Kills a random worker every ``mean_s`` or so, for as long as the ``with`` block lasts."""

    def __init__(self, chance: random.Random, mean_s: float) -> None:
        self.kills = 0
        self._chance = chance
        self._mean_s = mean_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def _run(self) -> None:
        while not self._stop.wait(self._chance.uniform(0.5, 1.5) * self._mean_s):
            if pids := workers():
                try:
                    os.kill(self._chance.choice(pids), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass(eq=False)
class Chaos:
    """The calls, what is expected of them, and the actors and objects that they share."""

    chance: random.Random
    folder: Path
    in_flight: int
    expected: dict[distpool.ObjectRef, tuple[int, str]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaler: Any = bodies.Scaler.remote(7)
        self.once: Any = bodies.Once.remote()
        self.threaded: Any = bodies.Threaded.remote()
        self.loop: Any = bodies.Loop.remote()
        self.array = distpool.put(bodies.np.full(bodies.FLOATS, 5.0))
        self.notes = str(self.folder / "notes")
        self.noted = 0  # calls of the actor that repeats nothing
        self.lost = 0  # those of them that failed
        self.kinds: list[tuple[int, str, Callable[[int], tuple[distpool.ObjectRef, int]]]] = [
            (60, "square", lambda n: (bodies.square.remote(n), n * n)),
            (1, "tree", lambda n: (bodies.tree.remote(2, 2), 7)),
            (10, "chain", self._chain),
            (4, "nested references", self._nested),
            (4, "big result", lambda n: (bodies.measure.remote(bodies.big.remote(n), 1), n + 1)),
            (6, "put", lambda n: (bodies.measure.remote(self.array, n), n + 5)),
            (1, "worker's own objects", lambda n: (bodies.makes_and_shares.remote(n), n + 1 + n * n)),
            (10, "actor", lambda n: (self.scaler.scaled.remote(n), 7 * n)),
            (3, "actor, big argument", lambda n: (self.scaler.total.remote(bodies.big.remote(n)), 7 * n)),
            (6, "actor called by others", lambda n: (bodies.ask.remote(self.scaler, n), 7 * n)),
            (1, "actor of a worker", lambda n: (bodies.ask_own.remote(n), 3 * n + 3)),
            (5, "threaded actor", lambda n: (self.threaded.negated.remote(n), -n)),
            (5, "asyncio actor", lambda n: (self.loop.doubled.remote(n), 2 * n)),
            (3, "actor, at most once", self._note),
        ]

    def _chain(self, n: int) -> tuple[distpool.ObjectRef, int]:
        first, second = bodies.square.remote(n), bodies.square.remote(n + 1)
        return bodies.add_up.remote(first, second, 1), n * n + (n + 1) * (n + 1) + 1

    def _nested(self, n: int) -> tuple[distpool.ObjectRef, int]:
        refs = [bodies.square.remote(n), bodies.add_up.remote(n, 1)]
        return bodies.add_up_inner.remote(refs), n * n + n + 1

    def _note(self, n: int) -> tuple[distpool.ObjectRef, int]:
        self.noted += 1
        return self.once.note.remote(self.notes, self.noted), self.noted

    def top_up(self) -> None:
        """Have as many calls in flight as there are to be."""
        weights = [weight for weight, _, _ in self.kinds]
        missing = self.in_flight - len(self.expected)
        for _, name, make in self.chance.choices(self.kinds, weights, k=max(0, missing)):
            ref, value = make(self.chance.randrange(1000))
            self.expected[ref] = value, name

    def collect(self, count: int, timeout_s: float) -> None:
        """Look at ``count`` results, as they come. AssertionError if they do not come in time."""
        refs = list(self.expected)
        ready, rest = distpool.wait(refs, num_returns=min(count, len(refs)), timeout=timeout_s)
        if len(ready) < min(count, len(refs)):
            missing = Counter(self.expected[ref][1] for ref in rest)
            raise AssertionError(f"{len(rest)} calls do not end: {missing.most_common()}")
        for ref in ready:
            self._judge(ref, *self.expected.pop(ref))

    def _judge(self, ref: distpool.ObjectRef, value: int, name: str) -> None:
        self.done[name] += 1
        try:
            got = distpool.get(ref)
        except exceptions.ActorUnavailableError:
            if name == "actor, at most once":
                self.lost += 1
                return
            raise
        if got != value:
            self.wrong.append(f"{name}: {got!r} instead of {value!r}")

    def run(self, for_s: float, answer_s: float) -> None:
        """Keep it going for so long, then wait for the rest."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            self.top_up()
            self.collect(max(1, self.in_flight // 10), answer_s)

    def finish(self, answer_s: float) -> None:
        """Every result is to come, and to be right."""
        while self.expected:
            self.collect(max(1, len(self.expected) // 4), answer_s)
        assert not self.wrong, self.wrong[:10]
        noted = Counter(map(int, Path(self.notes).read_text().split())) if self.noted else Counter[int]()
        again = {n: times for n, times in noted.items() if times > 1}
        assert not again, f"calls that were to run at most once: {again}"
        assert len(noted) >= self.noted - self.lost, "every one that has a result has run"


def left_over() -> dict[str, Any]:
    """What of references, calls and objects is still there, by what it is; nothing if all is well."""
    session = client.session()
    remote, store = session.remote, session.shell.store
    following = remote.following
    left: dict[str, Any] = {
        "calls that wait": len(remote.waiting),
        "values that others wait for": len(following._serving._waiting),
        "references to be subscribed to": len(following._asked) + len(following._new),
        "promises of safety": len(following._safes) + len(following._handed),
        "values that came early": len(following._early),
        "open actors": [p.pool for p in session.core.pools.values() if p.actor is not None],
        "tasks": sum(p.pending + p.offered for p in session.core.pools.values()),
    }
    if store is not None:
        store.drain()
        with store.lock:
            left["objects"] = [
                f"{facts.label}: {facts.extent.bytes} bytes, {facts.holds}"
                for facts in store.ledger.facts()
                if facts.label != "small arguments"
            ]
    return {name: what for name, what in left.items() if what}
