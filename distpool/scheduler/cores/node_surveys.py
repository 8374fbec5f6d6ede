"""A node's part in a survey: the head's question goes to its owners and workers, and their answers back together.

::

    head ── Inquire ──► owners, workers, if those are asked ── Inquired ──► NodeAnswers ──► head

Who is dead is not waited for; who is stopped, or too busy for ``survey_s``, is named as missing. So is whose answer
would make the whole too big. A worker that starts or ends cannot be asked, and is named with that. What the node itself
knows goes along: its workers, who wants more of them, what is free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import Owner, WantedPool, Worker
from distpool.scheduler.cores.resources import to_floats
from distpool.scheduler.messages import Inquire, Inquired, NodeAnswers, Unasked, Wanted, WorkerFacts

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: Of a node's answers together.
ANSWERS_BYTES_MAX = 64 << 20
#: Pools that want workers and are told of.
WANTED_MAX = 1_000


@dataclass(slots=True)
class _Open:
    question: Inquire
    asked: frozenset[str]  # addresses
    waiting: dict[str, None]
    answers: list[bytes]
    missing: list[str]
    room_bytes: int


class NodeSurveys:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self.open: dict[int, _Open] = {}  # by the head's number
        self._now = 0.0  # when the latest began
        self._core = core

    def begin(self, message: Inquire, now: float) -> None:
        """Ask everybody who may answer."""
        core = self._core
        asked = []
        if message.owners:
            asked += [f"owner:{owner.name}" for owner in core.owners.values() if _is_asked_here(owner)]
        if message.workers:
            alive = [worker for worker in core.workers.values() if _can_answer(worker)]
            chosen = [worker for worker in alive if not message.only or worker.number in message.only]
            asked += [f"process:{worker.number}" for worker in chosen]
        self.open[message.number] = _Open(
            message, frozenset(asked), dict.fromkeys(asked), [], [], ANSWERS_BYTES_MAX
        )
        self._now = now
        core.deadlines.set(("survey", message.number), now + core.limits.survey_s)
        for address in asked:
            core.send(address, message)
        self._end_if_complete(message.number)

    def heard(self, who: str, message: Inquired) -> None:
        """An answer, perhaps to a question that is over."""
        asked = self.open.get(message.number)
        if asked is None or who not in asked.waiting:
            return
        del asked.waiting[who]
        if len(message.answer) > asked.room_bytes:
            asked.missing.append(who)
        elif message.answer:
            asked.room_bytes -= len(message.answer)
            asked.answers.append(message.answer)
        self._end_if_complete(message.number)

    def gone(self, who: str) -> None:
        """It will not answer any more."""
        for number, asked in list(self.open.items()):
            if who in asked.waiting:
                del asked.waiting[who]
                self._end_if_complete(number)

    def late(self, number: int) -> None:
        """Who has not answered by now does not count."""
        asked = self.open[number]
        asked.missing += asked.waiting
        asked.waiting.clear()
        self._end_if_complete(number)

    def _end_if_complete(self, number: int) -> None:
        asked = self.open[number]
        if asked.waiting:
            return
        core = self._core
        del self.open[number]
        core.deadlines.clear(("survey", number))
        whole = NodeAnswers(
            number,
            core.node,
            tuple(asked.answers),
            tuple(asked.missing),
            tuple(_facts(worker) for worker in core.workers.values() if worker.pid and not worker.doomed),
            asked.question.topic,
            wanted=tuple(self._wanted(pool) for pool in self._hungry()),
            free=to_floats(core.free),
            total=to_floats(core.total),
            about=asked.question.about,
            unasked=tuple(self._unasked(asked)) if asked.question.workers else (),
        )
        core.send("head", whole)

    def _unasked(self, asked: _Open) -> Iterator[Unasked]:
        only = asked.question.only
        for number, worker in self._core.workers.items():
            if f"process:{number}" not in asked.asked and (not only or number in only):
                yield Unasked(number, worker.pid, _why_not(worker))

    def _hungry(self) -> list[WantedPool]:
        pools = [pool for pools in self._core.hungry.values() for pool in pools.values()]
        return pools[:WANTED_MAX]

    def _wanted(self, pool: WantedPool) -> Wanted:
        return Wanted(
            pool.owner.name,
            pool.number,
            pool.missing,
            to_floats(pool.need),
            pool.strategy,
            max(0.0, pool.not_before_s - self._now),
            pool.failed_starts,
        )

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        for number, asked in self.open.items():
            assert asked.waiting, "a survey that is complete is not ended"
            assert ("survey", number) in self._core.deadlines.at_s, "nothing bounds the wait for a survey"
            for address in asked.waiting:
                kind, _, name = address.partition(":")
                if kind == "owner":
                    assert not self._core.owners[name].lost, "a survey waits for an owner that is gone"
                else:
                    assert int(name) in self._core.workers, "a survey waits for a worker that is gone"


def _is_asked_here(owner: Owner) -> bool:
    """Each owner is asked on one node only: its own, or its home."""
    return not owner.lost and (owner.guest or not owner.foreign)


def _facts(worker: Worker) -> WorkerFacts:
    lease = worker.lease
    return WorkerFacts(
        worker.number,
        worker.pid,
        lease.name,
        lease.pool.owner.name,
        worker.lingers,
        pool=lease.pool.number,
        need=to_floats(lease.need),
        blocked=lease.blocked,
        charged=lease.charged,
        greeted=worker.greeted,
    )


def _why_not(worker: Worker) -> str:
    """What it does that it could not be asked."""
    if worker.doomed:
        return "is being killed"
    if worker.lingers:
        return "is retired, and stays for calls of its own"
    if worker.lease.returned:
        return "is on its way out"
    if not worker.greeted:
        return "is starting"
    return "has started just now"


def _can_answer(worker: Worker) -> bool:
    """One that retires has let go of its agent, and its last words come with its end."""
    return worker.greeted and not (worker.doomed or worker.lingers or worker.lease.returned)
