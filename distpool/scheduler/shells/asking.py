"""One who only asks: a command's link to the agent of some node. It is no owner, has no session, and leaves nothing.

::

    Asker ── DEALER q:RANDOM ── unix socket, or port (CURVE; Knock first) ──► agent ── (Asked, Answered) ──► head
             FactsQuery, GroupQuery, Survey ──►                   ◄── FactsReport, GroupsReport, Surveyed

Each question has a time-out. What was not answered in time is dropped when it comes. Not here: what is asked
(``distpool.commands``), and how the cluster answers (``messages.surveys``).
"""

from __future__ import annotations

import itertools
import os
import time
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    FactsQuery,
    FactsReport,
    GroupQuery,
    GroupsReport,
    Survey,
    Surveyed,
    decode,
    encode,
)
from distpool.scheduler.shells import curve, knocking
from distpool.scheduler.shells.links import close_watched, watched_dealer

__all__ = ["ANSWER_S", "Asker"]

#: A head waits twice ``survey_s`` for its nodes; beyond that, the head itself does not answer.
ANSWER_S = 2 * DEFAULTS.survey_s + 3.0
#: So often who waits for an answer looks whether it still wants one.
LOOK_S = 0.2
Kind = TypeVar("Kind")


class Asker:
    """The link. ``address`` is "ipc://..." of an agent of this user's, or a cluster's "HOST:PORT" with its ``secret``.

    Raises:
        ValueError: that is no address, or no secret.
        ClusterError: nobody answers there, or it will not have us, and why.
    """

    def __init__(self, address: str, secret: str = "") -> None:
        self.lost = False  # nothing more can be asked
        self._given_up = False
        self._numbers = itertools.count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        try:
            keys = None
            if not address.startswith("ipc:"):
                address, keys = knocking.tcp_address(address), curve.derive(secret)
                knocking.knock(self._context, address, keys)
            self.place = address.partition("://")[2]
            identity = b"q:" + os.urandom(6).hex().encode()
            self._link, self._fate = watched_dealer(self._context, address, identity, keys)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        for socket in (self._link, self._fate):
            self._poller.register(socket, zmq.POLLIN)

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def give_up(self) -> None:
        """Whoever waits for an answer is to wait no more. Any thread; all else is one thread's at a time."""
        self._given_up = True

    def close(self) -> None:
        """Hang up."""
        close_watched(self._link, self._fate)
        self._context.destroy(linger=0)

    # ------------------------------------------------------------------------------------- questions

    def facts(self) -> FactsReport:
        """The nodes. Raises ClusterError, as all of these do: no answer in time, or the link is lost."""
        return self.ask(FactsQuery(), FactsReport)

    def groups(self) -> GroupsReport:
        """The placement groups."""
        return self.ask(GroupQuery(0), GroupsReport)

    def survey(self, topic: str, **more: Any) -> Surveyed:
        """What everybody knows who is asked: see ``Survey``. ClusterError also where the head refuses."""
        surveyed = self.ask(Survey(0, topic, **more), Surveyed)
        if surveyed.refusal:
            raise ClusterError(surveyed.refusal)
        return surveyed

    def ask(self, question: Any, kind: type[Kind], timeout_s: float = ANSWER_S) -> Kind:
        """Ask, and wait for the answer."""
        number = next(self._numbers)
        until_s = time.monotonic() + timeout_s
        try:
            self._link.send(encode(msgspec.structs.replace(question, request=number)), zmq.NOBLOCK)
        except zmq.Again:
            raise self._lose() from None
        while (left_s := until_s - time.monotonic()) > 0:
            if self._given_up:
                raise ClusterError(f"nobody waits any more for what {self.place} would answer")
            ready = dict(self._poller.poll(int(min(left_s, LOOK_S) * 1000) + 1))
            if self._link in ready:
                answer: Any = decode(self._link.recv())
                if getattr(answer, "request", 0) == number and isinstance(answer, kind):
                    return answer
            elif self._fate in ready:
                raise self._lose()
        raise ClusterError(
            f"{self.place} has not answered within {timeout_s:g} s: its agent is stopped or busy, or the head is away"
        )

    def _lose(self) -> ClusterError:
        self.lost = True
        return ClusterError(f"the link to {self.place} was lost: its node has ended, or the network is down")
