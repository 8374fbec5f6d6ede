"""What the autoscaler needs of whoever has machines: ``NodeProvider``.

::

    HeadCore ── StartNode(name, type) ──► provider process ── start(type, name) ──► a machine, or a process on this one
        ▲                                     │ a thread for each call                    │
        │ ◄── NodeStarted, NodeRefused ───────┘                                           │
        └◄────────────── NodeHello ── an agent that joins as ``name`` ◄───────────────────┘

**Who calls it.** One process, ``distpool.providers.process``, a child of the head's, has one provider and nothing
else. It calls it from several threads: calls about *different* names may run at the same time, those about one name
never do (and ``nodes`` may be called beside any of them). The head never waits for it.

**When it hangs.** Each call has a limit (``start``: the time within which a node must have joined; else ``CALL_S``).
Whoever is over it costs the provider's process its life: that is killed (SIGKILL), started again with a new provider,
and asked for its ``nodes()``. So whatever must outlive a provider lies with the machines, or on disk.

**When the head dies**, its provider's process ends at once, in the middle of whatever it does. The next head knows
from its journal which names it has asked for, and asks for those again that have neither joined nor are in
``nodes()``. Hence the one thing that all rests on: **both calls are idempotent by name**. ``start`` of a name that is
there, or is on its way, does nothing; ``stop`` of one that is not there does nothing.

**What is named.** Names are the autoscaler's, new for each node that it asks for, of letters, digits, "-" and "_".
The agent that a provider starts joins with ``distpool start --address ADDRESS --name NAME --secret-file FILE``, the
type's ``resources`` and ``labels``, or the same by ``scheduler.shells.joining.JoiningAgent``.

**Stopping** is a node's own business first: when ``stop`` is called it has been drained and has left, or it has never
joined, or it has been lost. ``stop`` is what remains: see that it is gone, and let go of the machine.

A provider is made by ``Class(options, cluster)``: ``options`` are the keys under ``provider:`` but for ``type``.
Not here: when and how many (``scheduler.cores.autoscaling``), which machines there are, and YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from distpool.errors import ClusterError
from distpool.scheduler.messages import NodeType

__all__ = ["CALL_S", "ClusterAccess", "NodeProvider", "NodeType", "ProviderError"]

#: How long ``stop`` and ``nodes`` may take, in seconds.
CALL_S = 60.0


class ProviderError(ClusterError):
    """It cannot do what it was asked for: cause and remedy, in one line for ``distpool status``."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How a node joins: where the head is ("HOST:PORT"), and the secret, which no command line may show."""

    address: str
    secret: str


class NodeProvider(Protocol):
    """Starts and stops nodes, and knows which there are.

    Any exception is a failure of that one call: its text is kept, and it is tried again after a pause that grows.
    """

    def start(self, node_type: NodeType, name: str) -> None:
        """Have a node of this type come up and join as ``name``; return once it is on its way, or has joined.

        ``node_type.name``, ``.resources`` ({"CPU": 4.0}) and ``.labels`` say what it is to have. Nothing is done if
        there is one of that name. Raises ProviderError: there is no machine for it, nobody answers there, ...
        """
        ...

    def stop(self, name: str) -> None:
        """See that the node is gone, and let go of what it had; it is not there, or none of ours: nothing is done.

        Return when that is so. Raises ProviderError: it could not be reached, ...
        """
        ...

    def nodes(self) -> Mapping[str, str]:
        """The names of this cluster's nodes that are there, or on their way, with the names of their types.

        Also those that another process has started by this provider. Raises ProviderError: it cannot be known now.
        """
        ...

    def close(self) -> None:
        """The end, when there is time for one: let go of connections. The nodes stay."""
        ...
