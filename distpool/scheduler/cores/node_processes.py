"""The worker processes of a node: each is forked for one lease, and ends with it.

::

    start ── Fork ──► forked ── WorkerHello ──► greeted ── give_back: its owner has told it to retire ──┐
      │ takes a slot,    │ late: it hangs          │ kill, for a reason that its owner is told          ├─► Exited
      │ resources,       └──────── SIGKILL ────────┴──── SIGKILL ────────────────────────────────────── ┘      │
      │ devices                                                                                              │
      └─────────────────────── given back ◄──────────────── the owner hears who has died, and of what ◄──────┘

A part of ``NodeCore``. Slots, resources and devices are a worker's until it is reaped, whatever its lease is by then
(but see ``node_lending``). Not here: which pool is to have a worker (``node_granting``).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import msgspec

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node_records import Lease, WantedPool, Worker
from distpool.scheduler.cores.resources import Amounts, add, subtract
from distpool.scheduler.messages import (
    DRIVER,
    NODES,
    Attach,
    Death,
    Exited,
    Fork,
    Forked,
    Inquired,
    LinkLost,
    Message,
    Signal,
    WorkerDied,
    WorkerHello,
)

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

SIGKILL = 9


class Processes:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self.free_slots: list[int] = []  # a heap: low slots first keep the mapping's touched pages few
        self.slots_used = 0  # slots below this were given out at least once
        self._made = 0

    # ------------------------------------------------------------------------------------- births

    @property
    def has_slot(self) -> bool:
        """Whether there may be another worker."""
        return bool(self.free_slots) or self.slots_used < self._core.limits.workers_max

    def start(self, pool: WantedPool, purse: Amounts, free_gpus: Amounts, now: float) -> bool:
        """Fork a worker for the pool at the cost of ``purse``; False if there is no slot or no device for another."""
        gpus = devices.pick(pool.need, free_gpus)
        if gpus is None or not self.has_slot:
            return False
        core = self._core
        self._made = number = self._made + 1
        worker = Worker(number, self._take_slot())
        name = f"{core.node}.{core.incarnation}.{number}"
        lease = Lease(name, pool, worker, pool.need, purse, gpus, free_gpus)
        core.workers[number], worker.lease = worker, lease
        core.leases[name] = pool.leases[name] = lease
        subtract(purse, lease.need)
        subtract(free_gpus, gpus)
        pool.last = core.node
        core.pressure.news |= not pool.dedicated
        core.deadlines.set(("worker", number), now + core.limits.worker_start_s)
        core.send("nursery", Fork(number, worker.slot, self._attach(lease)))
        core.granting.look(pool)
        return True

    def _take_slot(self) -> int:
        if self.free_slots:
            return heapq.heappop(self.free_slots)
        self.slots_used += 1
        return self.slots_used - 1

    def _attach(self, lease: Lease) -> Attach:
        """Whom the worker is to serve."""
        core, pool, owner = self._core, lease.pool, lease.pool.owner
        process = owner.worker or DRIVER
        if owner.foreign:
            process = NODES | owner.store if owner.store and core.head.store else 0
        mine = tuple(name for name in core.gpus if name in lease.gpus) if core.gpus else None
        return Attach(lease.name, pool.number, owner.name, owner.address, pool.dedicated, process, mine)

    # ------------------------------------------------------------------------- what processes say

    def from_process(self, number: int, message: Message) -> None:
        """A worker's second thread speaks."""
        core = self._core
        worker = core.workers.get(number)
        if worker is None:
            return  # reaped meanwhile
        match message:
            case WorkerHello(pid=pid):
                worker.greeted, worker.pid = True, pid
                worker.lease.pool.failed_starts = 0
                if not worker.lease.returned:
                    core.deadlines.clear(("worker", number))
            case Inquired():
                core.surveys.heard(f"process:{number}", message)
            case LinkLost():
                pass  # it is told next to nothing over that link; if it died, the nursery says so
            case _:
                raise AssertionError(f"a worker does not say {message}")

    def from_nursery(self, message: Message, now: float) -> None:
        """The nursery tells of births and deaths."""
        match message:
            case Forked(worker=number, pid=pid):
                if number in self._core.workers:
                    self._core.workers[number].pid = pid
            case Exited():
                self._exited(message, now)
            case _:
                raise AssertionError(f"a nursery does not say {message}")

    # -------------------------------------------------------------------------------------- ends

    def give_back(self, lease: Lease, now: float) -> None:
        """The owner is done with a lease and has told its worker to retire; the level may ask for another at once."""
        if lease.returned:
            return
        core = self._core
        lease.returned = True
        if not lease.worker.doomed and not lease.worker.lingers:
            core.deadlines.set(("worker", lease.worker.number), now + core.limits.retire_grace_s)
        core.granting.look(lease.pool)

    def kill(self, worker: Worker, reason: str) -> None:
        """SIGKILL, once; its death will be told as ``reason``."""
        if worker.doomed:
            return
        worker.doomed, worker.reason = True, reason
        self._core.deadlines.clear(("worker", worker.number))
        self._core.send("nursery", Signal(worker.number, SIGKILL))

    def late(self, worker: Worker) -> None:
        """It has not started, or not ended, in time."""
        limits = self._core.limits
        if worker.lease.returned:
            self.kill(worker, f"it did not exit within {limits.retire_grace_s:g} s of being retired")
        else:
            self.kill(worker, f"it did not start within {limits.worker_start_s:g} s")

    def _exited(self, exited: Exited, now: float) -> None:
        core = self._core
        worker = core.workers.pop(exited.worker, None)
        if worker is None:
            return  # said twice: by a nursery and, on its death, by the agent's shell
        heapq.heappush(self.free_slots, worker.slot)
        core.surveys.gone(f"process:{worker.number}")
        core.deadlines.clear(("worker", worker.number))
        for owner in [owner for owner in core.owners.values() if owner.worker == worker.number]:
            core.owner_links.end(owner, final=True)
        lease, death = worker.lease, exited.death
        if worker.reason and death.signal == SIGKILL and not death.reason:
            death = msgspec.structs.replace(death, reason=worker.reason, kind=worker.kind)
        self._tell_death(lease, death, exited)
        if not worker.greeted and not lease.returned:
            self._back_off(lease.pool, now)
        self._end_lease(lease)

    def _tell_death(self, lease: Lease, death: Death, exited: Exited) -> None:
        """Clean exits too: the owner tells its user, and counts."""
        owner = lease.pool.owner
        died = WorkerDied(
            lease.name, lease.pool.number, death, exited.running, exited.answers, True, exited.begun,
            exited.printed,
        )  # fmt: skip
        if not owner.lost:
            self._core.send(f"owner:{owner.name}", died)
        elif not owner.final:
            owner.untold.append(died)

    def _back_off(self, pool: WantedPool, now: float) -> None:
        """Workers that die at birth are not forked again in a tight loop."""
        limits = self._core.limits
        pool.failed_starts += 1
        surplus = pool.failed_starts - limits.start_failures_max
        if surplus >= 0:
            delay_s = min(limits.start_backoff_s * 2 ** min(surplus, 30), limits.start_backoff_s_max)
            pool.not_before_s = now + delay_s
            self._core.deadlines.set(("pool", pool.key), pool.not_before_s)

    def _end_lease(self, lease: Lease) -> None:
        core, pool = self._core, lease.pool
        del core.leases[lease.name], pool.leases[lease.name]
        core.lending.owed.pop(lease.name, None)
        add(lease.purse, lease.need if lease.charged else devices.keeps(lease.need))
        add(lease.devices, lease.gpus)
        if not lease.charged:
            core.lending.lend_more()
        core.granting.look(pool)
        core.owner_links.settle(pool)
        core.owner_links.forget_if_over(pool.owner)
