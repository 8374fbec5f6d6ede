"""How a node that is to go lets its work go first.

::

    Drain (the shell: a SIGTERM) ──► NodeReport(draining) ──► head ──► View: nobody places anything there
                                 └─► NodeDrains ──► owners: workers retire when they have done what they hold, and
                                                            what was wanted here is wanted by way of their home,
                                                            which hears NodeDrains from them: the head may be away
                                     agents of other nodes: what they need of our store they copy now (``copies``)
    nothing runs here any more, no other node needs what lies here ──► the shell says NodeBye and leaves;
                                                                        it does so too when ``drain_s`` are over

It is said again until nothing is left: an owner may come, or a worker be set up, meanwhile. What is wanted of this
node first is pointed to others, if there is one that can have it. What was sent here gets nothing, not of a placement
group's bundle either: those move when the node has gone. Actors stay to the end, and are lost with the node, as is what
runs for longer than the limit: neither is counted against anything. Not here: when to leave (the shell).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import Owner
from distpool.scheduler.messages import NodeDrains

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: How often owners are told.
TELL_S = 0.5


class Draining:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self.on = False
        self._core = core

    def begin(self, now: float) -> None:
        """Take nothing new from now on."""
        if not self.on:
            self.on = True
            self._core.head.beat(now)
            self.tell_all(now)

    def tell_all(self, now: float) -> None:
        """Tell every owner, and again in a moment."""
        for owner in self._core.owners.values():
            self.tell(owner)
        self._core.deadlines.set(("drain", 0), now + TELL_S)

    def tell(self, owner: Owner) -> None:
        """Tell one, if that is so."""
        if self.on and not owner.lost:
            self._core.send(f"owner:{owner.name}", NodeDrains(self._core.node))
