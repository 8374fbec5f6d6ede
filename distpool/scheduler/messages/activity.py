"""What the answers of a survey of topic "activity" are made of: how much was done, by function, and when.

::

    who answers     with
    owners          OwnerActivity: their pools, their calls by name and state, the latest that failed
    workers         WorkerActivity: by name what they have run, and as bars what they ran since this asker's last look
    agents          LeftActivity, of each worker that has ended since; and their MachineLoad (``own``)

Numbers only grow while their process lives: whoever asks takes differences, so askers do not disturb each other, and
an answer that is lost loses nothing but bars. Plain structs, bounded where they are made: nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from distpool.scheduler.messages.insights import MachineLoad, OwnerView


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """A part of an answer."""


class ActivityWanted(_Part, frozen=True):
    """The question (``about``, as JSON). ``asker`` is a name of its own; ``bars``: so many of a worker at most."""

    asker: str
    bars: int = 0


# ------------------------------------------------------------------------------------------------ workers


class Tally(_Part, frozen=True):
    """Calls of one name that have ended. ``buckets``: so many took less than 2**n microseconds, and half of it or more.

    Counts are whole unless more had ended than were remembered; then they are what the remembered ones stand for.
    """

    name: str
    done: float
    failed: float
    total_s: float
    buckets: dict[int, float]


class Bar(_Part, frozen=True):
    """One call, or several of one stretch of time that are too short to be told one by one.

    ``name`` is a place in the answer's ``names``, that of most of the time. Times are of the day. ``busy_s``: what of
    it was work; more than its length where calls ran side by side.
    """

    name: int
    start_s: float
    end_s: float
    busy_s: float
    calls: int
    failed: int


class WorkerActivity(_Part, frozen=True, tag="worker"):
    """``sampled``: it has ended more calls than it remembered, at least once; then ``tallies`` are estimates."""

    node: str
    worker: int
    pid: int
    is_actor: bool
    tallies: tuple[Tally, ...]
    names: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    sampled: bool = False


class LeftActivity(_Part, frozen=True, tag="left"):
    """Of a worker that has ended. ``did``: its ``WorkerActivity``, if it was ever asked; or ``ran``, its trace."""

    worker: int
    did: bytes = b""
    ran: bytes = b""


# ------------------------------------------------------------------------------------------------- owners


class CallStates(_Part, frozen=True):
    """An owner's calls of one name that have not ended: those that wait for arguments or their turn, that wait for a
    worker, and that lie with one. ``guessed``: not all were looked at, and the others are taken to be like them."""

    name: str
    waiting: int
    queued: int
    offered: int
    guessed: bool = False


class Mishap(_Part, frozen=True):
    """A call that has failed. ``number``: they count from 1 in their owner. ``node`` and ``worker``: where it ran, if
    it did. ``task`` is its id, "" for a pool's. ``kind`` as in Ray's state API."""

    number: int
    at_s: float
    name: str
    kind: str
    text: str
    node: str = ""
    worker: int = 0
    task: str = ""
    cut: bool = False  # ``text`` is its end only


class OwnerActivity(_Part, frozen=True, tag="owner"):
    """``failed``: how many calls have failed so far; ``mishaps``: the latest of those that this asker was not told."""

    view: OwnerView
    calls: tuple[CallStates, ...]
    failed: int
    mishaps: tuple[Mishap, ...]


Activity = OwnerActivity | WorkerActivity | LeftActivity

pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
unpack: Callable[[bytes], Activity] = msgspec.msgpack.Decoder(Activity).decode
unpack_worker: Callable[[bytes], WorkerActivity] = msgspec.msgpack.Decoder(WorkerActivity).decode


def wanted(about: str) -> ActivityWanted:
    """What is asked. Raises msgspec.DecodeError."""
    return msgspec.json.decode(about, type=ActivityWanted)


__all__ = [
    "Activity", "ActivityWanted", "Bar", "CallStates", "LeftActivity", "MachineLoad", "Mishap", "OwnerActivity",
    "Tally", "WorkerActivity", "pack", "unpack", "unpack_worker", "wanted",
]  # fmt: skip
