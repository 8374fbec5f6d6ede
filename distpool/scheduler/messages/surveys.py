"""One who asks, and everybody who may answer: the one way by which a question goes through the cluster.

::

    asker ── Survey ──► its agent ── Asked ──► head ── Inquire ──► agents ── Inquire ──► owners, workers
          ◄─ Surveyed ──           ◄─ Answered ──    ◄─ NodeAnswers ──     ◄─ Inquired ──

A survey has a ``topic``; what is answered is opaque to agents and head (``insights`` says what it is made of). It may
go to one node only, to its agents alone, and to some workers only. An agent waits ``survey_s`` for its owners and
workers, the head twice that for agents. Whoever has not answered by then is left out, and named. How many surveys a
head holds, and how much a node answers, is bounded.
"""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message
from distpool.scheduler.messages.placing import Strategy


class Survey(Message, frozen=True):
    """What do those know of ``topic`` that are asked: the agents, and with ``owners`` and ``workers`` these too.

    ``node``: only this one; ``only``: of its workers, those with these numbers. ``about``: what exactly, as the topic
    has it.
    """

    request: int
    topic: str
    workers: bool = False
    owners: bool = True
    node: str = ""
    only: tuple[int, ...] = ()
    about: str = ""


class Inquire(Message, frozen=True):
    """The head's word to an agent, and that one's to its owners and workers. ``number`` is the head's."""

    number: int
    topic: str
    workers: bool = False
    owners: bool = True
    only: tuple[int, ...] = ()
    about: str = ""


class Inquired(Message, frozen=True):
    """An owner's answer, or a worker's."""

    number: int
    answer: bytes


class WorkerFacts(msgspec.Struct, frozen=True, array_like=True):
    """A living worker, and what its lease has taken of its node (``need``).

    ``charged`` is false while it has lent that: ``blocked``, its task waits for calls of its own. The agent's shell
    adds what the worker's slot shows as ``running``, and for how long, and what an actor has ``begun``.
    """

    worker: int
    pid: int
    lease: str
    owner: str
    lingers: bool = False
    running: int = 0
    begun: tuple[int, ...] = ()
    pool: int = 0
    need: dict[str, float] = {}
    blocked: bool = False
    charged: bool = True
    greeted: bool = True
    for_s: float = 0.0


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """A pool that wants more workers of this node than it has. ``wait_s``: none will be forked for so long."""

    owner: str
    pool: int
    missing: int
    need: dict[str, float]
    strategy: Strategy = Strategy()
    wait_s: float = 0.0
    failed_starts: int = 0


class Unasked(msgspec.Struct, frozen=True, array_like=True):
    """A worker that its agent knows and that could not be asked. ``pid``: 0, while it is being forked."""

    worker: int
    pid: int
    why: str


class NodeAnswers(Message, frozen=True):
    """What those on a node have answered; ``missing`` are those who have not. The shell adds its ``directory``.

    If workers were asked, each that there is has answered, is ``missing``, or is one of ``unasked``.
    ``own`` is what the agent itself has to say. ``free`` is what is free on the node, of ``total``.
    """

    number: int
    node: str
    answers: tuple[bytes, ...]
    missing: tuple[str, ...]
    workers: tuple[WorkerFacts, ...] = ()
    topic: str = ""
    directory: str = ""
    own: bytes = b""
    wanted: tuple[Wanted, ...] = ()
    free: dict[str, float] = {}
    total: dict[str, float] = {}
    about: str = ""
    unasked: tuple[Unasked, ...] = ()


class Surveyed(Message, frozen=True):
    """The whole of it; ``missing`` are nodes. ``refusal``: why nobody was asked."""

    request: int
    nodes: tuple[NodeAnswers, ...]
    missing: tuple[str, ...] = ()
    refusal: str = ""
