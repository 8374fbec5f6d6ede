"""What a node tells a head that starts and stops nodes by demand: which leases it owes, and whether it is idle.

::

    hungry pools ──► wants: shape, count ─┐
    leases, owners, bundles ──► idle ─────┴─► NodeReport ──► head (``autoscaling``)
    head ── LeaveIfIdle ──► still idle? ──► Draining, without a limit of time

That nobody needs an object of this node's, and no program has its way by here, the shell knows and adds. Pools that
must be on one node, or in a placement group, wait for no new node. Not here: when this is said (``node_head``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import WantedPool
from distpool.scheduler.cores.place import satisfies
from distpool.scheduler.cores.resources import fits, to_floats, to_units
from distpool.scheduler.messages import LabelTerm, Want

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: So many shapes are told at most, those of most leases.
WANTS_MAX = 64


class NodeScaling:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core

    def tell(self) -> tuple[tuple[Want, ...], bool]:
        """What is wanted here and not granted, by shapes; whether the node is idle."""
        return (self._wants() if self._core.hungry else ()), self.is_idle

    def _wants(self) -> tuple[Want, ...]:
        counts = Counter[tuple[tuple[tuple[str, int], ...], tuple[LabelTerm, ...]]]()
        for pools in self._core.hungry.values():
            for pool in pools.values():
                if not _is_bound(pool):
                    counts[tuple(sorted(pool.need.items())), pool.strategy.labels] += pool.missing
        return tuple(
            Want(to_floats(dict(need)), count, labels)
            for (need, labels), count in counts.most_common(WANTS_MAX)
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here or is set aside here, no job either, and no program has this node as its own."""
        core = self._core
        at_home = any(not (owner.foreign or owner.worker or owner.lost) for owner in core.owners.values())
        return not (core.leases or core.hungry or core.groups.pots or core.jobs.running or at_home)

    def may_be_started(self, pool: WantedPool) -> bool:
        """Whether there is a type of node that could have what no node has."""
        return not _is_bound(pool) and any(
            fits(pool.need, to_units(node_type.resources))
            and satisfies(node_type.labels, pool.strategy.labels)
            for node_type in self._core.head.types
            if node_type.max_nodes > 0
        )

    def leave(self, now: float) -> None:
        """The head says that it is not needed any more: that may have changed meanwhile, and then it hears so."""
        if self.is_idle:
            self._core.draining.begin(now)
        else:
            self._core.head.beat(now)


def _is_bound(pool: WantedPool) -> bool:
    return pool.strategy.kind == "group" or (pool.strategy.kind == "node" and not pool.strategy.soft)
