"""Which node this process belongs to: one string, the same in every process of a node, different on another.

A node is where processes see each other: its agent's store, its shared locks, its ``/proc``. What lies in memory of one
node is out of reach on another, so whatever names such a thing says on which node it is, and whoever unpickles it
compares that with ``current_node()``::

    a process without DISTPOOL_NODE in its environment: the machine's own id, which each works out for itself
    an agent with another name ── DISTPOOL_NODE ──► nursery ──► workers ──► whatever these start

So a driver, the workers of its embedded agent and their spawned children agree without a word passing between them,
before any session exists as well as after. An agent that joins somebody else's session is given a name (``belong_to``),
and its processes know that one, even where both agents run on one machine. The id is the name by which the head knows
the node. A worker takes its program's environment, but for this variable.

Not here: which nodes there are (``cores.head``), what they have (``cores.node``).
"""

from __future__ import annotations

import hashlib
import os
import socket

#: What names the node of a process that an agent with a name of its own has started, however indirectly.
VARIABLE = "DISTPOOL_NODE"
#: Longer ones would not leave room for the rest of a lease's name in a routing id, nor in a log's line.
NAME_BYTES_MAX = 100

_settled = ""


def current_node() -> str:
    """The id of the node that this process belongs to: never empty, and the same for the whole life of the process.

    Costs a global's look-up after the first call. Safe in any process, with or without a session.
    """
    global _settled
    if not _settled:
        _settled = os.environ.get(VARIABLE) or _machine()
    return _settled


def belong_to(node: str) -> None:
    """Be of this node from now on, with all processes that are started from here; for an agent, before it forks."""
    global _settled
    if node != current_node():
        os.environ[VARIABLE] = _settled = node


def refuse_bad_name(node: str) -> None:
    """Raises ValueError for a name that cannot be a node's: it is part of addresses, of lines and of an environment."""
    if not node or len(node.encode()) > NAME_BYTES_MAX or not all(c.isalnum() or c in "-_." for c in node):
        raise ValueError(
            f"{node!r} cannot be the name of a node: take 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'"
        )


def _machine() -> str:
    """This machine's id. Its boot and its space of pids are part of it: two containers cannot see each other."""
    host = "".join(c if c.isalnum() or c in "-_." else "-" for c in socket.gethostname())[:60] or "node"
    facts = [_text("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    if not any(facts):
        return host  # no Linux: a host name is what tells machines apart there
    return f"{host}-{hashlib.blake2b(repr(facts).encode(), digest_size=4).hexdigest()}"


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
