"""The invariants of a NodeCore, asserted after every step by tests and the simulator; too slow for the real loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.resources import UNITS, Amounts, add

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore


def check_node(node: NodeCore) -> None:
    """Assert every invariant."""
    charged: Amounts = {}
    for name, lease in node.leases.items():
        assert lease.name == name
        assert lease.pool.leases[name] is lease
        assert lease.worker.lease is lease
        assert node.workers[lease.worker.number] is lease.worker, "a lease on a dead worker"
        assert (name in node.lending.owed) == (
            not lease.charged and not lease.blocked and not lease.worker.lingers
        )
        if lease.purse is node.free:
            add(charged, lease.need if lease.charged else devices.keeps(lease.need))
    for pots in node.groups.pots.values():
        for pot in pots.values():
            add(charged, pot.total)
    if (hold := node.holding.hold) is not None:
        add(charged, hold.have)
        assert ("hold", 0) in node.deadlines.at_s, "nothing bounds how long room is held"
    node.groups.check()
    for name, units in node.total.items():
        assert 0 <= node.free[name] == units - charged.get(name, 0), f"{name} miscounted"
    _check_devices(node)
    assert node.lending.count() <= node.lending.most()
    assert set(node.lending.owed) <= set(node.leases)
    for name, lease in node.lending.owed.items():
        paid_some_day = lease.pool.dedicated or ("owed", name) in node.deadlines.at_s
        assert paid_some_day, "nothing bounds how long a worker does without what it takes"
    _check_workers(node)
    _check_owners(node)
    _check_deadlines(node)
    node.surveys.check()


def _check_devices(node: NodeCore) -> None:
    """No device has more users than it is whole, until the last of them is reaped."""
    used: Amounts = {}
    for lease in node.leases.values():
        assert sum(lease.gpus.values()) == lease.need.get(devices.GPU, 0), "a lease lacks its devices"
        shares = [units for units in lease.gpus.values() if units < UNITS]
        assert len(shares) <= 1, "a lease has parts of several devices"
        add(used, lease.gpus)
    for name, units in used.items():
        assert units <= node.gpus[name], f"device {name} oversubscribed"
    kept = dict(node.free_gpus)
    for lease in node.leases.values():
        if lease.devices is node.free_gpus:
            assert lease.purse is node.free, "a lease has its devices from elsewhere"
            add(kept, lease.gpus)
    for pots in node.groups.pots.values():
        for pot in pots.values():
            add(kept, pot.gpus)
    assert kept == node.gpus, "devices miscounted"
    assert sum(node.gpus.values()) == node.total.get(devices.GPU, 0)


def _check_workers(node: NodeCore) -> None:
    slots = [worker.slot for worker in node.workers.values()] + node.processes.free_slots
    assert sorted(slots) == list(range(node.processes.slots_used)), "a slot leaked, or was given out twice"
    assert len(node.workers) == len(node.leases), "a worker without a lease"
    for number, worker in node.workers.items():
        assert worker.number == number
        assert worker.lease.worker is worker
        if not worker.doomed and not worker.lingers and (worker.lease.returned or not worker.greeted):
            assert ("worker", number) in node.deadlines.at_s, "nothing bounds the wait for a worker"


def _check_owners(node: NodeCore) -> None:
    count = 0
    for name, owner in node.owners.items():
        assert owner.name == name
        assert not (owner.lost and any(pool.count for pool in owner.pools.values()))
        assert not (owner.final and not owner.pools), "an owner that is over is remembered"
        assert owner.lost or not owner.untold
        for number, pool in owner.pools.items():
            assert pool.number == number
            assert pool.owner is owner
            assert pool.leases or not (pool.dropping or owner.lost), "a dropped pool without workers is kept"
            hungry = pool.number in node.hungry.get(name, {})
            assert hungry == (pool.missing > 0), "a pool is hungry exactly while it misses leases"
            count += len(pool.leases)
    assert count == len(node.leases)
    assert set(node.hungry) <= set(node.owners)
    assert all(node.hungry.values())


def _check_deadlines(node: NodeCore) -> None:
    for kind, which in node.deadlines.at_s:
        match kind, which:
            case "worker", int(number):
                assert not node.workers[number].doomed
            case "owner", str(name):
                assert node.owners[name].lost
                assert not node.owners[name].final
            case "pool" | "group", (str(name), int(pool)):
                assert pool in node.owners[name].pools
            case "reckoned", str(other):
                assert other in node.head.others, "what was sent to a node that is gone is counted still"
            case "survey", int(number):
                assert number in node.surveys.open
            case "owed", str():
                pass  # it may have been paid meanwhile
            case "hold", _:
                assert node.holding.hold is not None
            case "drain", _:
                assert node.draining.on
            case _:
                assert kind in ("heartbeat", "report")
