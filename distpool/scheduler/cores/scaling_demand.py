"""What the nodes of a cluster must have room for. A part of the head's autoscaling.

::

    NodeReport(wants) ──► by node ───────┐
    placement groups that miss places ───┴─► ``waiting``:   room for it must be *free*
    RequestResources ──► by program ───────► ``requested``: nodes must *have* room for it, whatever runs there

All of it is a level: a node's latest word counts until the node is gone, a program's latest request until the program
is. Requests are journaled, as nobody says them again to a later head. Not here: what there is room for (``packing``),
and how long a demand must have lasted (``autoscaling``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from distpool.scheduler.cores.packing import Demand
from distpool.scheduler.cores.resources import to_units
from distpool.scheduler.messages import Record, Want

__all__ = ["REQUESTS", "ScalingDemand"]

#: The table of the journal for what programs have requested.
REQUESTS = "scaled_request"

Claimant = tuple[str, str]  # node, owner
Bundles = tuple[dict[str, float], ...]


class ScalingDemand:
    """A part of ``Autoscaling``. ``groups`` gives what placement groups miss."""

    def __init__(self, groups: Callable[[], Iterable[Demand]], record: Callable[[Record], None]) -> None:
        self._wants: dict[str, tuple[Want, ...]] = {}  # node -> what it cannot grant
        self._requests: dict[Claimant, Bundles] = {}
        self._groups, self._record = groups, record

    def restore(self, record: Record) -> None:
        """Take in a request of which a former head knew."""
        assert record.value is not None
        node, owner, bundles = msgspec.msgpack.decode(record.value, type=tuple[str, str, Bundles])
        self._requests[node, owner] = bundles

    # -------------------------------------------------------------------------------- who wants what

    def reported(self, node: str, wants: tuple[Want, ...]) -> bool:
        """What a node cannot grant; whether that has changed."""
        if wants == self._wants.get(node, ()):
            return False
        self._wants[node] = wants
        return True

    def request(self, node: str, owner: str, bundles: Bundles) -> None:
        """A program's latest request counts, until it ends."""
        if bundles:
            self._requests[node, owner] = bundles
            value = msgspec.msgpack.encode((node, owner, bundles))
            self._record(Record(REQUESTS, f"{node}/{owner}", value))
        else:
            self.owner_gone(node, owner)

    def owner_gone(self, node: str, owner: str) -> None:
        """It requests nothing any more."""
        if self._requests.pop((node, owner), None) is not None:
            self._record(Record(REQUESTS, f"{node}/{owner}", None))

    def owners_gone(self, node: str, but: frozenset[str]) -> None:
        """All owners of a node are gone, but for these."""
        for claimant in list(self._requests):
            if claimant[0] == node and claimant[1] not in but:
                self.owner_gone(*claimant)

    def node_gone(self, node: str) -> None:
        """A node has left, or was lost, and so are the programs there."""
        self._wants.pop(node, None)
        self.owners_gone(node, frozenset())

    # ------------------------------------------------------------------------------------- in all

    def waiting(self) -> list[Demand]:
        """What waits for room."""
        return [
            *(Demand(to_units(w.need), w.count, w.labels) for wants in self._wants.values() for w in wants),
            *self._groups(),
        ]

    def requested(self) -> list[Demand]:
        """What there is to be room for in all."""
        return [Demand(to_units(bundle), 1) for bundles in self._requests.values() for bundle in bundles]

    def check(self, nodes: Collection[str]) -> None:
        """Assert the invariant: ``nodes`` are there."""
        assert self._wants.keys() <= set(nodes), "a demand has outlived its node"
