"""What threads of a program ask their node's agent, and through it the head; and how each gets its answer.

::

    any thread:   put ──► Question, open ── say, in a step ──► agent ── (Asked, Answered) ── head
    leader:       heard ◄── the answer, which carries the question's number
                  fail, lose: the agent died, the session ended; nobody waits in vain

A question that comes before the link to the agent is said when that is up. A ``Question`` is a promise that runs no
code of anybody's, so it is settled within a step. Not here: how a thread waits (``Leading.wait``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from distpool.engines.protocol import Promise
from distpool.errors import ClusterError
from distpool.scheduler import messages
from distpool.scheduler.messages import encode


class Question(Promise):
    """One of them. ``value`` is for when it is ready; ``then`` is called at that moment, and must be quick."""

    __slots__ = ("answer", "message", "quick", "reason", "said", "settled", "then", "wakeups")

    def __init__(self, message: messages.Question) -> None:
        self.message = message
        self.settled = False
        self.wakeups: list[Any] | None = None
        self.quick = True
        self.said = False
        self.then: Callable[[Question], None] | None = None
        self.answer: messages.Answer | None = None
        self.reason = ""  # why there is no answer

    def settle(self) -> None:
        """There is an answer, or there will be none."""
        Promise.settle(self)
        if self.then is not None:
            self.then(self)

    def value(self) -> messages.Answer:
        """The answer. Raises ClusterError if there will be none."""
        if self.answer is None:
            raise ClusterError(self.reason)
        return self.answer


class Questions:
    """A part of ``OwnerShell``. ``say`` sends a frame to this node's agent, once there is a link to it."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self._up = False  # whether that agent can be reached
        self._numbers = itertools.count(1)
        self._open: dict[int, Question] = {}
        self._lost = ""  # why no question will ever be answered again

    def put(self, message: messages.Question, then: Callable[[Question], None] | None = None) -> Question:
        """On any thread: a question with a number of its own, to be said in the next step."""
        number = next(self._numbers)
        question = Question(msgspec.structs.replace(message, request=number))
        question.then = then
        self._open[number] = question
        if self._lost:  # looked at last: ``lose`` sets it first
            self._fail(number, self._lost)
        return question

    def forget(self, question: Question) -> None:
        """On any thread: nobody waits for it any more."""
        self._open.pop(question.message.request, None)

    # -------------------------------------------------------------------------------- in a step

    def say(self, question: Question) -> None:
        """Send it, if the agent can be reached; else ``linked`` does."""
        if self._up and not question.said and question.message.request in self._open:
            question.said = True
            self._say(encode(question.message))

    def linked(self) -> None:
        """The link to the agent is up."""
        self._up = True
        for question in list(self._open.values()):
            self.say(question)

    def heard(self, answer: messages.Answer) -> bool:
        """An answer has come, perhaps to a question that is forgotten. Returns whether somebody was asleep for it."""
        question = self._open.pop(answer.request, None)
        if question is None:
            return False
        question.answer = answer
        slept = question.wakeups is not None
        question.settle()
        return slept

    def fail(self, reason: str) -> None:
        """The agent that was asked is gone. What it was not asked yet, the next one will be."""
        self._up = False
        for number, question in list(self._open.items()):
            if question.said:
                self._fail(number, reason)

    def lose(self, reason: str) -> None:
        """No agent will be had any more."""
        self._lost = reason
        for number in list(self._open):
            self._fail(number, reason)

    def _fail(self, number: int, reason: str) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.reason = reason
            question.settle()
