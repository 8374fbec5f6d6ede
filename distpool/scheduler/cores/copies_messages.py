"""What ``Copies`` and its shell say to each other. None of it leaves the agent, so it is no part of the wire.

::

    shell ── Stores, ProcessGone, Copied, CopyFailed ──► Copies ── StartPull, Lend, Discard ──► shell
"""

from __future__ import annotations

from distpool.scheduler.messages import Message

__all__ = ["Copied", "CopyFailed", "Discard", "Lend", "Process", "ProcessGone", "StartPull", "Stores"]

#: A process of this node, by its number in the store, or a program that has its home here, by its name.
Process = int | str


class StartPull(Message, frozen=True):
    """To the shell: get a copy of this object."""

    number: int


class Lend(Message, frozen=True):
    """To the shell: the copy ``local`` is in transit to this process from now on."""

    local: int
    process: Process


class Discard(Message, frozen=True):
    """To the shell: nobody needs the copy ``local``."""

    local: int


class Copied(Message, frozen=True):
    """From the shell: the copy of ``number`` is ``local``."""

    number: int
    local: int


class CopyFailed(Message, frozen=True):
    """From the shell: there will be no copy. ``lost``: since the object is gone; else it may be had another time."""

    number: int
    reason: str
    lost: bool


class ProcessGone(Message, frozen=True):
    """From the shell: a process has ended."""

    process: Process


class Stores(Message, frozen=True):
    """From the shell: the stores of the cluster's other nodes, in full, and the node's own.

    Those that are ``leaving`` will soon be none.
    """

    numbers: tuple[int, ...]
    own: int
    leaving: tuple[int, ...] = ()
