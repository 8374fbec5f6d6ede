"""The ready workers of a pool by how much lies with them, so that none has to be looked for among a thousand.

::

    rank    0      1      2      3      4  ...
    tasks   0      1     2-3    4-7    8-15

Ranks are powers of two: a worker changes its rank seldom, and whoever wants one of those with least or most is content
with a factor of two. What is idle, and what has just one task, is exact. Within a rank the one that came last stands
last. A hidden worker has no rank: nothing is to be had of it, and it is to be given nothing. Not here: who is offered
what (``owner_offers``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distpool.scheduler.cores.tasks import Lease


class LoadRanks:
    """Leases by the bit length of the number of their tasks, which is ``tasks_max`` at most."""

    __slots__ = ("by_rank", "idle", "single")

    def __init__(self, tasks_max: int) -> None:
        self.by_rank: list[dict[Lease, None]] = [{} for _ in range(max(2, tasks_max.bit_length() + 1))]
        self.idle = self.by_rank[0]
        self.single = self.by_rank[1]

    def rank(self, lease: Lease, *, hidden: bool = False) -> None:
        """Put a worker where it belongs; ``hidden``: nowhere, as it is not ready or not to be looked at."""
        if lease.rank >= 0:
            del self.by_rank[lease.rank][lease]
        lease.rank = -1 if hidden else len(lease.offered).bit_length()
        if not hidden:
            self.by_rank[lease.rank][lease] = None

    def update(self, lease: Lease) -> None:
        """What lies with this worker has changed; a hidden one stays hidden."""
        rank = len(lease.offered).bit_length()
        old = lease.rank
        if rank != old and old >= 0:
            by_rank = self.by_rank
            del by_rank[old][lease]
            by_rank[rank][lease] = None
            lease.rank = rank

    def fullest(self) -> dict[Lease, None]:
        """The highest rank that is not empty, if its workers have more than one task."""
        for leases in reversed(self.by_rank[2:]):
            if leases:
                return leases
        return {}
