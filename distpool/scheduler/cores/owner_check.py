"""The invariants of an OwnerCore, asserted after every step by tests and the simulator; too slow for the real loop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from distpool.scheduler.cores.owner_leasing import is_borrowed
from distpool.scheduler.cores.tasks import HEAVY_BYTES, Lease, LeaseState, Pool

if TYPE_CHECKING:
    from distpool.scheduler.cores.owner import OwnerCore


def check_owner(owner: OwnerCore) -> None:
    """Assert every invariant."""
    in_queues: set[int] = set()
    for number, pool in owner.pools.items():
        assert pool.pool == number
        _check_queue(pool, in_queues)
        _check_pool(pool, owner.leases)
        if pool.live and not is_borrowed(pool):
            _check_levels(pool, owner.leasing.home)
        assert pool.resting == sum(task.pool == number for task in owner.outcomes.resting)
    assert len(owner.leases) == sum(len(pool.leases) for pool in owner.pools.values())
    assert owner.leasing.timed.keys() <= owner.leases.keys(), "a worker is looked at that is gone"
    assert not owner.leases.keys() & owner.leasing.unheard.keys(), "a worker counts whose end is known"
    for lease in owner.leases.values():
        _check_lease(lease, in_queues, owner.offers.next_attempt)
    for task in owner.outcomes.resting:
        assert id(task) not in in_queues, "a resting task is queued"
        assert task.lease is None
        assert not task.cancel
        assert task.payload is not None
        assert owner.pools[task.pool].live
    for pool in owner.pools.values():
        if pool.live and not pool.dedicated:
            for lease in pool.ranks.idle:
                assert owner.idling.rests(lease), "nothing bounds how long an idle worker is kept"
    for attempt, (_, name) in owner.outcomes.kill_at.items():
        assert name not in owner.leases or attempt in owner.leases[name].offered


def _check_queue(pool: Pool, in_queues: set[int]) -> None:
    assert pool.stale == sum(bool(task.cancel) for task in pool.queue), "stale tasks miscounted"
    for task in pool.queue:
        assert id(task) not in in_queues, "a task is queued twice"
        in_queues.add(id(task))
        assert task.lease is None
        assert task.cancel or task.payload is not None
    assert not pool.queue or pool.live


def _check_pool(pool: Pool, leases: dict[str, Lease]) -> None:
    offered = sum(len(lease.offered) for lease in pool.leases.values())
    assert pool.offered == offered, "offered miscounted"
    assert pool.staying == sum(lease.state <= LeaseState.READY for lease in pool.leases.values())
    works_off = [lease.state is LeaseState.RETIRING and not lease.returned for lease in pool.leases.values()]
    assert pool.working_off == sum(works_off)
    assert pool.ready == sum(lease.state is LeaseState.READY for lease in pool.leases.values())
    assert pool.recalling == sum(lease.recalling for lease in pool.leases.values())
    ranked = sum(lease.rank >= 0 for lease in pool.leases.values())
    assert ranked == sum(map(len, pool.ranks.by_rank)), "a lease is ranked that is gone, or twice"
    assert pool.wanted_in_all == sum(pool.wanted.values())
    assert not (pool.live and pool.pending and pool.ranks.idle), "an idle worker beside pending work"
    for name, lease in pool.leases.items():
        assert leases[name] is lease
        assert lease.pool is pool
        if lease.rank < 0:
            assert lease.state is not LeaseState.READY or (lease.stalled and (lease.offered or not pool.live))
        else:
            assert lease.state is LeaseState.READY
            assert lease.rank == len(lease.offered).bit_length(), "a lease is in a wrong rank"
            assert lease in pool.ranks.by_rank[lease.rank]


def _check_levels(pool: Pool, home: str) -> None:
    """Nodes count who works off what it has, so the levels do."""
    works_off = Counter(
        lease.node
        for lease in pool.leases.values()
        if lease.state is LeaseState.RETIRING and not lease.returned
    )
    for node, count in works_off.items():
        assert node == home or count <= pool.wanted.get(node, 0), "a node is to end who works off what it has"
    if pool.dedicated and home:
        more = pool.wanted_in_all - pool.size - pool.working_off
        assert more >= 0, "fewer workers are wanted than the pool is to have"
        # What was made smaller waits for workers elsewhere to be set up before they go.
        assert not more or not pool.wanted[home], "more workers are wanted than the pool is to have"


def _check_lease(lease: Lease, in_queues: set[int], next_attempt: int) -> None:
    heavy = 0
    for attempt, task in lease.offered.items():
        assert task.lease is lease
        assert task.attempt == attempt < next_attempt
        assert id(task) not in in_queues, "a task is pending and offered at once"
        heavy += task.size if task.size > HEAVY_BYTES else 0
    assert heavy == lease.heavy_bytes, "argument bytes miscounted"
    assert not lease.offered or lease.state is not LeaseState.SETTING_UP, "tasks before the set-up"
    assert lease.tasks_left >= -1
