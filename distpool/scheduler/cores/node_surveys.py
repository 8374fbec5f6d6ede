"""A node's part in a survey: the head's question goes to its owners and workers, and their answers back together.

::

    head ── Inquire ──► each owner, and each worker if those are asked too ── Inquired ──► NodeAnswers ──► head

Who is dead is not waited for; who is stopped, or too busy for ``survey_s``, is named as missing. So is whose answer
would make the whole too big.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import Worker
from distpool.scheduler.messages import Inquire, Inquired, NodeAnswers, WorkerFacts

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: Of a node's answers together.
ANSWERS_BYTES_MAX = 64 << 20


@dataclass(slots=True)
class _Open:
    topic: str
    waiting: dict[str, None]  # addresses
    answers: list[bytes]
    missing: list[str]
    room_bytes: int


class NodeSurveys:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self.open: dict[int, _Open] = {}  # by the head's number
        self._core = core

    def begin(self, message: Inquire, now: float) -> None:
        """Ask everybody who may answer."""
        core = self._core
        asked = [f"owner:{owner.name}" for owner in core.owners.values() if not (owner.lost or owner.foreign)]
        if message.workers:
            alive = [worker for worker in core.workers.values() if _can_answer(worker)]
            asked += [f"process:{worker.number}" for worker in alive]
        self.open[message.number] = _Open(message.topic, dict.fromkeys(asked), [], [], ANSWERS_BYTES_MAX)
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
        workers = tuple(
            WorkerFacts(
                worker.number, worker.pid, worker.lease.name, worker.lease.pool.owner.name, worker.lingers
            )
            for worker in core.workers.values()
            if worker.pid and not worker.doomed
        )
        answers, missing = tuple(asked.answers), tuple(asked.missing)
        core.send("head", NodeAnswers(number, core.node, answers, missing, workers, asked.topic))

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


def _can_answer(worker: Worker) -> bool:
    """One that retires has let go of its agent, and its last words come with its end."""
    return worker.greeted and not (worker.doomed or worker.lingers or worker.lease.returned)
