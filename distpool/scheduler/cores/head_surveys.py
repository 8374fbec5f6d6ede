"""The head's part in a survey: a question that one has who asks, and everybody may answer.

::

    Asked(Survey) ──► Inquire to each node, or to one ──► NodeAnswers ──► all there, or late ──► Answered(Surveyed)

A node that is lost meanwhile, or has not answered in twice the time that it gives its own, is named as missing. So is
whose answer would make the whole too big. What is asked and answered is none of the head's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Answered, Inquire, Message, NodeAnswers, Survey, Surveyed

#: Surveys at a time: more than these are refused.
OPEN_MAX = 64
#: Of all answers to one.
ANSWERS_BYTES_MAX = 256 << 20


@dataclass(slots=True)
class _Open:
    asker: str  # the address of its agent
    owner: str
    request: int
    waiting: dict[str, None]  # nodes
    answers: list[NodeAnswers]
    missing: list[str]
    room_bytes: int


class Surveys:
    """A part of ``HeadCore``: it shares the core's deadlines and its way to send."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines[tuple[str, str]], send: Callable[[str, Message], None]
    ) -> None:
        self.open: dict[str, _Open] = {}  # by number, as text: a deadline's key is made of texts
        self._made = 0
        self._limits = limits
        self._deadlines = deadlines
        self._send = send

    def begin(self, asker: str, owner: str, survey: Survey, nodes: Iterable[str], now: float) -> None:
        """Ask every node, or the one that is meant."""
        chosen = dict.fromkeys(nodes)
        if survey.node and survey.node not in chosen:
            there = ", ".join(chosen)
            self._refuse(asker, owner, survey, f"there is no node {survey.node}; there are: {there}")
            return
        if len(self.open) >= OPEN_MAX:
            self._refuse(asker, owner, survey, f"{OPEN_MAX} surveys are under way; ask again in a moment")
            return
        if survey.node:
            chosen = {survey.node: None}
        self._made += 1
        number = str(self._made)
        asked = _Open(asker, owner, survey.request, chosen, [], [], ANSWERS_BYTES_MAX)
        self.open[number] = asked
        self._deadlines.set(("survey", number), now + 2 * self._limits.survey_s)
        question = Inquire(self._made, survey.topic, survey.workers, survey.owners, survey.only, survey.about)
        for node in asked.waiting:
            self._send(f"agent:{node}", question)

    def _refuse(self, asker: str, owner: str, survey: Survey, reason: str) -> None:
        self._send(asker, Answered(owner, Surveyed(survey.request, (), (), reason)))

    def heard(self, node: str, message: NodeAnswers) -> None:
        """A node has answered."""
        asked = self.open.get(str(message.number))
        if asked is not None and node in asked.waiting:
            del asked.waiting[node]
            weight = sum(map(len, message.answers)) + len(message.own)
            if weight > asked.room_bytes:
                asked.missing.append(node)
            else:
                asked.room_bytes -= weight
                asked.answers.append(message)
            self._end_if_complete(str(message.number))

    def node_gone(self, node: str) -> None:
        """A node has left, or was lost; with it, what was asked from there."""
        for number, asked in list(self.open.items()):
            if asked.asker == f"agent:{node}":
                del self.open[number]
                self._deadlines.clear(("survey", number))
            elif node in asked.waiting:
                del asked.waiting[node]
                asked.missing.append(node)
                self._end_if_complete(number)

    def late(self, number: str) -> None:
        """Who has not answered by now does not count."""
        asked = self.open[number]
        asked.missing += asked.waiting
        asked.waiting.clear()
        self._end_if_complete(number)

    def _end_if_complete(self, number: str) -> None:
        asked = self.open[number]
        if not asked.waiting:
            del self.open[number]
            self._deadlines.clear(("survey", number))
            whole = Surveyed(asked.request, tuple(asked.answers), tuple(asked.missing))
            self._send(asked.asker, Answered(asked.owner, whole))

    def check(self, nodes: Iterable[str]) -> None:
        """Assert every invariant; for tests and the simulator."""
        for number, asked in self.open.items():
            assert asked.waiting.keys() <= set(nodes), "a survey waits for a node that is gone"
            assert asked.waiting, "a survey that is complete is not ended"
            assert ("survey", number) in self._deadlines.at_s, "nothing bounds the wait for a survey"
