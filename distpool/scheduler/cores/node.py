"""NodeCore: which worker processes a machine has, whom they serve, and what becomes of them.

It is an agent's decisions. It never sees a task: owners talk to leased workers directly, so its messages grow with
leases and deaths. It forks and kills nothing itself: Fork and Signal go to the nursery, deaths come back.

::

    owner ── WantLeases (a level) ──► hungry pools ── _grant ──► Fork(Attach) ──► worker dials its owner
               ▲                          ▲                                           │
               │                          └── the level still stands ◄── Exited ◄─────┘ retires or dies
               └── WorkerDied, PoolDropped, LeaseElsewhere, LeaseRefused, NodeLost

A level is compared with the leases that count, after every message; whatever is missing is granted when its
resources are free: local first, then where ``place`` points, else it waits in turn. Turns go round the owners, first
in first out within each; what an earlier one waits for is reserved, so that nobody starves. A worker serves one lease
and exits: no state leaks from one job to another. The records are in ``node_records``, amounts in ``resources``, what
is said to the head in ``node_head``, what is set aside for placement groups in ``node_groups``, the invariants in
``node_check``.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.node_draining import Draining
from distpool.scheduler.cores.node_groups import NodeGroups
from distpool.scheduler.cores.node_head import HeadLink, Key
from distpool.scheduler.cores.node_memory import NodeMemory
from distpool.scheduler.cores.node_pressure import Pressure
from distpool.scheduler.cores.node_records import Lease, Owner, WantedPool, Worker
from distpool.scheduler.cores.node_surveys import NodeSurveys
from distpool.scheduler.cores.place import Placed, home_is_best, may_be, place, refusal
from distpool.scheduler.cores.resources import (
    UNITS,
    Amounts,
    add,
    fits,
    how_often,
    subtract,
    to_floats,
    to_units,
    without,
)
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    DRIVER,
    NODES,
    UNSCHEDULABLE,
    AgentWelcome,
    Answered,
    Attach,
    Blocked,
    Death,
    Drain,
    DropPool,
    Exited,
    FactsQuery,
    Fork,
    Forked,
    GroupNews,
    GroupQuery,
    HeadQuestion,
    Inquire,
    Inquired,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeySwap,
    KillWorker,
    LeaseElsewhere,
    LeaseRefused,
    Lingers,
    LinkLost,
    MakeGroup,
    MemoryLow,
    Message,
    NodeFacts,
    NodeLost,
    OwnerBye,
    OwnerHello,
    PoolDropped,
    Pressed,
    Reclaim,
    Release,
    RemoveGroup,
    Reserve,
    ReturnLease,
    Signal,
    Strategy,
    Survey,
    WakeAt,
    WantLeases,
    WorkerDied,
    WorkerHello,
)

SIGKILL = 9

Output = list[tuple[str, Message]]


class NodeCore:
    """The state machine of one node's agent.

    ``total`` is what the node has, ``gpus`` the names of its devices, ``address`` where other machines dial its agent.
    ``incarnation`` must be greater each time a node of the same name starts again. The first Tick makes the node
    introduce itself to its head. ``store`` is the number of its object store in the cluster; 0: the head has yet to
    give it one; None: it has none. ``has_port``: owners may come by one, and reach each other by gates.
    """

    def __init__(
        self,
        node: str,
        host: str,
        pid: int,
        address: str,
        total: Mapping[str, float],
        limits: Limits,
        labels: Mapping[str, str] = {},
        incarnation: int = 1,
        gpus: Sequence[str] = (),
        store: int | None = None,
        has_port: bool = False,
    ) -> None:
        self.node, self.host, self.pid, self.address = node, host, pid, address
        self.limits = limits
        self.labels = dict(labels)
        self._has_port = has_port
        self.total: Amounts = to_units(total)
        self.free: Amounts = dict(self.total)
        self.gpus = devices.all_of(self.total, gpus)
        self.free_gpus: Amounts = dict(self.gpus)
        self.owners: dict[str, Owner] = {}
        self.workers: dict[int, Worker] = {}
        self.leases: dict[str, Lease] = {}
        self.hungry: dict[str, dict[int, WantedPool]] = {}  # whose turn comes first -> pools that miss leases
        self.owed: dict[str, Lease] = {}  # no longer blocked, and not charged again yet
        self.free_slots: list[int] = []  # a heap: low slots first keep the mapping's touched pages few
        self.slots_used = 0  # slots below this were given out at least once
        self.deadlines: Deadlines[Key] = Deadlines()
        self.workers_made = 0
        self._out: Output = []
        self.me = NodeFacts(
            node, address, to_floats(self.total), {}, self.labels, host
        )  # but for what is free
        self.groups = NodeGroups(self)
        self.pressure = Pressure(self.send)
        self.memory = NodeMemory(self)
        self.draining = Draining(self)
        self.surveys = NodeSurveys(self)
        self.head = HeadLink(
            self._facts,
            self.groups.bundles,
            self._queued,
            self.free,
            incarnation,
            store,
            limits,
            self.deadlines,
            self.send,
        )

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        kind, _, name = sender.partition(":")
        match kind:
            case "owner":
                self._from_owner(name, message, now)
            case "asker":
                assert isinstance(message, FactsQuery | GroupQuery | Survey), (
                    "it may look, and change nothing"
                )
                self.head.ask_for(name, message)
            case "process":
                self._from_process(int(name), message)
            case "nursery":
                self._from_nursery(message, now)
            case "head":
                self._from_head(message, now)
            case "timer":
                self._tick(now)
            case "memory":
                assert isinstance(message, MemoryLow)
                self.memory.low(message)
            case "shell":
                assert isinstance(message, Drain)
                self.draining.begin(now)
            case _:
                raise AssertionError(f"a node has no dealings with {sender}")
        self._grant(now)
        self.pressure.tell(self.hungry, self.owners.values())
        self.head.tell_changes(now)
        if (at_s := self.deadlines.wake()) is not None:
            self.send("timer", WakeAt(at_s))
        out, self._out = self._out, []
        return out

    @property
    def incarnation(self) -> int:
        """Which of the starts of a node of this name it is; the head may give it another number before it joins."""
        return self.head.incarnation

    def send(self, address: str, message: Message) -> None:
        """To be said when this step is done."""
        self._out.append((address, message))

    # ------------------------------------------------------------------------- what owners say

    def _from_owner(self, name: str, message: Message, now: float) -> None:
        if isinstance(message, OwnerHello):
            self._hello(name, message)
            return
        owner = self.owners.get(name)
        if owner is None or owner.lost:
            return  # the last words of one that is gone
        match message:
            case WantLeases():
                self._want(owner, message, now)
            case ReturnLease(lease=lease):
                if (mine := self._lease_of(owner, lease)) is not None:
                    self._give_back(mine, now)
            case KillWorker(lease=lease, reason=reason):
                if (mine := self._lease_of(owner, lease)) is not None:
                    self.kill(mine.worker, reason)
            case DropPool(pool=number, kill=kill):
                self._drop(owner, number, kill, now)
            case Blocked(lease=lease, blocked=blocked):
                if lease in self.leases:  # said by the task's own owner, or by the worker that runs it
                    self._block(self.leases[lease], blocked, now)
            case (
                FactsQuery() | KeyPut() | KeyGet() | KeyDelete() | KeySwap() | KeyList()
                | MakeGroup() | RemoveGroup() | GroupQuery() | Survey()
            ):  # fmt: skip
                self._ask_head(owner, message)
            case Inquired():
                self.surveys.heard(f"owner:{name}", message)
            case Lingers():
                self._linger(owner)
            case OwnerBye():
                self._end_owner(owner, final=True)
            case LinkLost():
                self._end_owner(owner, final=False)
                self.deadlines.set(("owner", name), now + self.limits.lost_owner_s)
            case _:
                raise AssertionError(f"an owner does not say {message}")

    def _ask_head(self, owner: Owner, question: HeadQuestion) -> None:
        """Pass a question on. What the head keeps in somebody's name goes with that owner: see ``_end_owner``."""
        self.head.ask(owner.name, question)
        claimants = []
        if isinstance(question, KeyPut | KeyDelete | KeySwap | MakeGroup | GroupQuery):
            claimants.append(owner.name)
        if isinstance(question, KeyPut) and question.owner:
            claimants.append(question.owner)
        for claimant in dict.fromkeys(claimants):
            self.head.claimants.add(claimant)
            known = self.owners.get(claimant)
            if known is None or known.lost:
                self.head.owner_gone(claimant)  # it has ended before this was said

    def _lease_of(self, owner: Owner, name: str) -> Lease | None:
        lease = self.leases.get(name)
        return lease if lease is not None and lease.pool.owner is owner else None

    def worker_of(self, owner: str, lease: str) -> int | None:
        """The number of the worker that serves this lease of this owner's, for who wants to look at its slot."""
        known = self.owners.get(owner)
        mine = None if known is None else self._lease_of(known, lease)
        return None if mine is None else mine.worker.number

    def _hello(self, name: str, hello: OwnerHello) -> None:
        owner = self.owners.get(name)
        if owner is not None and hello.incarnation <= owner.incarnation:
            return  # a late word of an earlier link
        worker = hello.worker if hello.node == self.node else 0
        if worker and worker not in self.workers:
            return  # the last word of a worker that is dead already
        self.send(f"owner:{name}", self._welcome())
        if owner is None:
            foreign = hello.node not in ("", self.node)
            owner = Owner(
                name,
                hello.incarnation,
                hello.pid,
                hello.address,
                worker,
                foreign,
                store=hello.store,
                guest=hello.guest,
            )
            self.owners[name] = owner
        else:
            owner.incarnation, owner.address = hello.incarnation, hello.address
            owner.lost = owner.final = False
            owner.pressed, self.pressure.news = Pressed(False), True
            self.deadlines.clear(("owner", name))
        self._square_up(owner, set(hello.held))
        self.draining.tell(owner)

    def _welcome(self) -> AgentWelcome:
        total = to_floats(self.total)
        return AgentWelcome(self.node, self.pid, self.host, total.get("CPU", 0.0), total, self._has_port)

    def _square_up(self, owner: Owner, held: set[str]) -> None:
        """An owner is back: end what it does not count on, and tell what it counts on in vain."""
        told = set()
        for died in owner.untold:
            if died.lease in held:
                self.send(f"owner:{owner.name}", died)
                told.add(died.lease)
        owner.untold = []
        for pool in list(owner.pools.values()):
            pool.count = 0  # it says its levels again
            for lease in pool.leases.values():
                if lease.name not in held or lease.worker.doomed:
                    lease.returned = True
                    self.kill(lease.worker, "its owner does not count on it any more")
            self._look(pool)
        for name in sorted(held - told - self.leases.keys()):
            if name.rpartition(".")[0].rpartition(".")[0] == self.node:
                death = Death(0, self.host, 0, 0, reason="its node does not know it any more")
                self.send(f"owner:{owner.name}", WorkerDied(name, 0, death, 0, certain=False))

    def _want(self, owner: Owner, want: WantLeases, now: float) -> None:
        pool = owner.pools.get(want.pool)
        if pool is None:
            pool = owner.pools[want.pool] = WantedPool(owner, want.pool)
        try:
            pool.need = to_units(want.resources)
        except ValueError as error:
            self.refuse(pool, str(error))
            return
        more = want.count > pool.count
        if pool.elsewhere and want.elsewhere < pool.followed + pool.elsewhere:
            pool.last = pool.before  # the owner's level had changed meanwhile, and nobody has gone there
        pool.followed = want.elsewhere
        if more and want.spilled:
            self.draining.tell(owner)
        pool.count, pool.dedicated, pool.resources = want.count, want.dedicated, want.resources
        pool.spilled, pool.elsewhere, pool.dropping, pool.asked_s = want.spilled, 0, False, now
        pool.strategy, pool.once = want.strategy, want.once
        if more and pool.strategy.kind == "group":
            self.groups.wants_more(pool, now)
        if want.count > self.limits.workers_max:
            most = self.limits.workers_max
            self.refuse(
                pool, f"{want.count} workers were asked for, and a node runs at most {most}; ask for fewer"
            )
            return
        self._look(pool)

    def _drop(self, owner: Owner, number: int, kill: bool, now: float) -> None:
        pool = owner.pools.get(number)
        if pool is None:
            self.send(f"owner:{owner.name}", PoolDropped(number))
            return
        pool.dropping, pool.count = True, 0
        self._look(pool)
        for lease in list(pool.leases.values()):
            if kill:
                self.kill(lease.worker, "its pool was terminated")
            elif lease.worker.greeted:
                self._give_back(lease, now)
            else:
                self.kill(lease.worker, "its pool was closed before it had started")
        self._settle(pool)

    def _settle(self, pool: WantedPool) -> None:
        """Forget a pool that is not wanted any more and has no leases left; say so if that was asked."""
        owner = pool.owner
        if pool.leases or pool.count or not (pool.dropping or owner.lost):
            return
        if owner.pools.pop(pool.number, None) is not None and pool.dropping and not owner.lost:
            self.send(f"owner:{owner.name}", PoolDropped(pool.number))
        self._look(pool)
        self.deadlines.clear(("pool", pool.key))
        self.deadlines.clear(("group", pool.key))

    def _end_owner(self, owner: Owner, *, final: bool) -> None:
        """Kill all that an owner has. One whose link was lost may come back and ask what became of its leases."""
        owner.lost, owner.final = True, final
        self.head.owner_gone(owner.name)
        self.surveys.gone(f"owner:{owner.name}")
        if final:
            owner.untold = []
            self.deadlines.clear(("owner", owner.name))
        for pool in list(owner.pools.values()):
            pool.count = 0
            self._look(pool)
            for lease in pool.leases.values():
                self.kill(lease.worker, "its owner is gone")
            self._settle(pool)
        self._forget_if_over(owner)

    def _forget_if_over(self, owner: Owner) -> None:
        if owner.final and not owner.pools:
            self.owners.pop(owner.name, None)

    # ------------------------------------------------------------------------------- granting

    def _look(self, pool: WantedPool) -> None:
        """Put a pool among the hungry if it misses leases, or take it off."""
        name = pool.owner.name
        if pool.missing > 0 and not pool.owner.lost:
            self.hungry.setdefault(name, {}).setdefault(pool.number, pool)
        elif name in self.hungry:
            self.hungry[name].pop(pool.number, None)
            if not self.hungry[name]:
                del self.hungry[name]

    def _grant(self, now: float) -> None:
        while (self.hungry or self.owed) and self._grant_round(now):
            pass

    def _grant_round(self, now: float) -> bool:
        """One lease at most for each owner in turn. Returns whether another round may do more."""
        reserved = self._charge_owed()
        granted = False
        names = list(self.hungry)
        if len(names) > 1:  # what others wait for comes first, the deepest before all: so few wait at a time
            names.sort(key=self._awaited, reverse=True)
        for name in names:
            first = True
            for pool in list(self.hungry.get(name, {}).values()):
                if pool.not_before_s > now:
                    continue
                if self._grant_one(pool, reserved, now):
                    granted = True
                    if first and name in self.hungry:
                        self.hungry[name] = self.hungry.pop(name)  # to the end of the line
                    break
                first = False
        return granted

    def _charge_owed(self) -> Amounts:
        """Tasks that wait no more take their resources again, before anybody else. Returns what they still wait for."""
        reserved: Amounts = {}
        charged = False
        for lease in list(self.owed.values()):
            in_group = lease.purse is not self.free
            need = devices.lends(lease.need)
            if fits(need, lease.purse if in_group else without(self.free, reserved)):
                subtract(lease.purse, need)
                lease.charged = charged = True
                del self.owed[lease.name]
            elif not in_group:
                add(reserved, need)
        if charged:
            self._lend_more()
        return reserved

    def _grant_one(self, pool: WantedPool, reserved: Amounts, now: float) -> bool:
        if pool.strategy.kind == "group":
            return self.groups.grant(pool, now)
        if pool.spilled and self.draining.on:
            return False  # its owner has been told, and looks elsewhere
        if pool.strategy.kind == "spread" and pool.elsewhere:
            return False  # one turn after the other: the owner moves that one first
        if self._is_for_all(pool) and (other := self._roomier()) is not None:
            sent = self.point_to(pool, *other)
            pool.sent[other[0].node] = pool.sent.get(other[0].node, 0) + sent
            return True
        placed = self._place(pool, reserved)
        if placed is None:
            if not self._may_come_again(pool):
                self._refuse_in_time(pool, now)
            return False
        if placed.node.node != self.node:
            room = how_often(pool.need, to_units(placed.node.available)) if placed.now else None
            count = self.point_to(pool, placed.node, 1 if pool.strategy.kind == "spread" else room)
            taken = {name: units * count for name, units in pool.need.items()}
            self.head.reckon(placed.node, taken, now)
            return placed.now
        if fits(pool.need, without(self.free, reserved)) and self.start_lease(
            pool, self.free, self.free_gpus, now
        ):
            return True
        if (chain := self._exhausted_chain(pool.owner)) is not None:
            self.refuse(pool, chain)
        else:
            add(reserved, pool.need if self._has_devices(pool, reserved) else devices.keeps(pool.need))
        return False

    @staticmethod
    def _is_for_all(pool: WantedPool) -> bool:
        """Whether a pool's workers are to be spread over the nodes by their CPUs, though each asks for none."""
        alone = pool.count <= 1  # as an actor's worker, which is best where it is
        return pool.dedicated and not (alone or pool.spilled or pool.need) and pool.strategy == Strategy()

    def _roomier(self) -> tuple[NodeFacts, int] | None:
        """A node with CPUs for so many workers that ask for none, once each CPU here has one.

        No View tells of such workers, as they take nothing; what pools of this node's owners have there is counted.
        """
        if not self.head.takers():
            return None
        here = sum(lease.pool.dedicated and not lease.need for lease in self.leases.values())
        if here < self._cpus():
            return None
        one = {"CPU": UNITS}
        sent = Counter[str]()
        for owner in self.owners.values():
            for pool in owner.pools.values():
                if not pool.dropping:
                    sent.update(pool.sent)
        rooms = [
            ((how_often(one, to_units(node.available)) or 0) - sent[node.node], node)
            for node in self.head.takers()
        ]
        room, node = max(rooms, key=lambda pair: (pair[0], pair[1].node))
        return (node, room) if room > 0 else None

    def _has_devices(self, pool: WantedPool, reserved: Amounts) -> bool:
        """Whether its devices are there.

        Who waits for one keeps nothing else from others: a task may have it until its children have run, who need that
        other.
        """
        gpus = devices.keeps(pool.need)
        return devices.pick(gpus, self.free_gpus) is not None and fits(gpus, without(self.free, reserved))

    def _place(self, pool: WantedPool, reserved: Amounts) -> Placed | None:
        """Where the pool's next lease should be: here if that is as good as anywhere, or where it is better to wait."""
        if self.draining.on:
            placed = place(pool.need, pool.strategy, self.head.takers(), self.node, pool.last)
            if placed is not None:
                return placed  # else it is needed here, by what still runs
        able = fits(pool.need, self.total) and may_be(pool.strategy, self.me)
        if pool.spilled:
            return Placed(self.me, True) if able else None
        free = without(self.free, reserved)
        if devices.pick(pool.need, self.free_gpus) is None:
            free = {**free, devices.GPU: 0}  # enough in all, perhaps, but not of one device
        has_slot = bool(self.free_slots) or self.slots_used < self.limits.workers_max
        if able and has_slot and fits(pool.need, free) and home_is_best(pool.strategy, self.me):
            return Placed(self.me, True)
        here = [msgspec.structs.replace(self.me, available=to_floats(free))] if has_slot else []
        placed = place(pool.need, pool.strategy, [*here, *self.head.takers()], self.node, pool.last)
        if able and not has_slot and (placed is None or not placed.now):
            return Placed(self.me, False)
        return placed

    def start_lease(self, pool: WantedPool, purse: Amounts, free_gpus: Amounts, now: float) -> bool:
        """Fork a worker for the pool at the cost of ``purse``; False if there is no slot or no device for another."""
        gpus = devices.pick(pool.need, free_gpus)
        if gpus is None:
            return False
        if self.free_slots:
            slot = heapq.heappop(self.free_slots)
        elif self.slots_used < self.limits.workers_max:
            slot = self.slots_used
            self.slots_used += 1
        else:
            return False
        self.workers_made = number = self.workers_made + 1
        worker = Worker(number, slot)
        name = f"{self.node}.{self.incarnation}.{number}"
        lease = Lease(name, pool, worker, pool.need, purse, gpus, free_gpus)
        self.workers[number], worker.lease = worker, lease
        self.leases[lease.name] = pool.leases[lease.name] = lease
        subtract(purse, lease.need)
        subtract(free_gpus, gpus)
        pool.last = self.node
        self.pressure.news |= not pool.dedicated
        self.deadlines.set(("worker", number), now + self.limits.worker_start_s)
        owner = pool.owner
        process = owner.worker or DRIVER
        if owner.foreign:
            process = NODES | owner.store if owner.store and self.head.store else 0
        mine = tuple(name for name in self.gpus if name in gpus) if self.gpus else None
        attach = Attach(lease.name, pool.number, owner.name, owner.address, pool.dedicated, process, mine)
        self.send("nursery", Fork(number, slot, attach))
        self._look(pool)
        return True

    def _may_come_again(self, pool: WantedPool) -> bool:
        """Whether a node that drains could have it: when that has gone, or is back, it will be decided."""
        return any(
            node.draining and fits(pool.need, to_units(node.total)) and may_be(pool.strategy, node)
            for node in self.head.others.values()
        )

    def _refuse_in_time(self, pool: WantedPool, now: float) -> None:
        """What no node can ever have is refused, but not before the head has told us who there is."""
        patience_s = pool.asked_s + self.limits.node_silent_s
        if not pool.spilled and not self.head.version and now < patience_s:
            self.deadlines.set(("pool", pool.key), patience_s)
            return
        nodes = [self.me, *self.head.others.values()]
        self.refuse(pool, refusal(pool.resources, pool.strategy, nodes))

    def point_to(self, pool: WantedPool, node: NodeFacts, room: int | None) -> int:
        """Ask the owner to want up to ``room`` (None: all) of the missing leases of another node. Returns how many."""
        count = pool.missing if room is None else min(pool.missing, room)
        wanted = pool.count - pool.elsewhere
        pool.elsewhere += count
        pool.before, pool.last = pool.last, node.node
        pool.owner.pointed.add(node.node)
        self._look(pool)
        self.send(
            f"owner:{pool.owner.name}", LeaseElsewhere(pool.number, count, node.node, node.address, wanted)
        )
        return count

    def _tell_lost(self, node: str) -> None:
        """The head has lost another node: whoever was sent there must not wait for what runs there."""
        for owner in self.owners.values():
            for pool in owner.pools.values():
                pool.sent.pop(node, None)
            if node in owner.pointed:
                owner.pointed.discard(node)
                if not owner.lost:
                    self.send(f"owner:{owner.name}", NodeLost(node, "it left, or was silent for too long"))

    def refuse(self, pool: WantedPool, reason: str, kind: str = UNSCHEDULABLE) -> None:
        """The pool's owner will never get leases here, nor by way of here."""
        pool.count = 0
        self._look(pool)
        self.send(f"owner:{pool.owner.name}", LeaseRefused(pool.number, reason, kind))

    # ------------------------------------------------------------------------ what the head says

    def _from_head(self, message: Message, now: float) -> None:
        if isinstance(message, Answered):
            self.head.answered(message)
            return
        if isinstance(message, Inquire):
            self.surveys.begin(message, now)
            return
        if isinstance(message, Reserve | Release | GroupNews):
            self.groups.hear(message, now)
            return
        known = self.head.registered
        for lost in self.head.hear(message, now):
            self._tell_lost(lost)
        if self.head.registered and not known:
            self.groups.watch_again()

    # --------------------------------------------------------------------- leases end or pause

    def _give_back(self, lease: Lease, now: float) -> None:
        """The owner is done with a lease and has told its worker to retire; the level may ask for another at once."""
        if lease.returned:
            return
        lease.returned = True
        if not lease.worker.doomed and not lease.worker.lingers:
            self.deadlines.set(("worker", lease.worker.number), now + self.limits.retire_grace_s)
        self._look(lease.pool)

    def _end_lease(self, lease: Lease) -> None:
        pool = lease.pool
        del self.leases[lease.name], pool.leases[lease.name]
        self.owed.pop(lease.name, None)
        add(lease.purse, lease.need if lease.charged else devices.keeps(lease.need))
        add(lease.devices, lease.gpus)
        if not lease.charged:
            self._lend_more()
        self._look(pool)
        self._settle(pool)
        self._forget_if_over(pool.owner)

    def _block(self, lease: Lease, blocked: bool, now: float) -> None:
        """A task that waits for its own children lends its resources, so that they can run; not without bound.

        It keeps its GPUs, as its data stays in their memory. When it goes on it takes back what is free, or does
        without for as long as a turn.
        """
        need = devices.lends(lease.need)
        if lease.blocked == blocked or lease.worker.lingers:
            return
        lease.blocked = blocked
        if blocked and lease.charged and need and self.lending() < self.lending_max():
            lease.charged = False
            add(lease.purse, need)
        elif blocked:
            self.owed.pop(lease.name, None)
        elif not lease.charged:
            self._owe(lease, now)

    def _owe(self, lease: Lease, now: float) -> None:
        self.owed[lease.name] = lease
        if not lease.pool.dedicated:
            self.deadlines.set(("owed", lease.name), now + self.limits.turn_s)

    def _linger(self, owner: Owner) -> None:
        """A retired worker stays for the sake of what it has called; what it had taken, but for GPUs, is free."""
        worker = self.workers.get(owner.worker)
        if worker is None or worker.lingers or worker.doomed:
            return
        worker.lingers = True
        self.deadlines.clear(("worker", worker.number))
        lease = worker.lease
        self.owed.pop(lease.name, None)
        if lease.charged:
            lease.charged = False
            add(lease.purse, devices.lends(lease.need))

    def lending(self) -> int:
        """How many leases do without their resources: blocked, or waiting to get them back."""
        return sum(not lease.charged and not lease.worker.lingers for lease in self.leases.values())

    def lending_max(self) -> int:
        """How many leases may be lent at once."""
        return self.limits.nested_workers_per_cpu_max * max(1, self._cpus())

    def _cpus(self) -> int:
        return int(to_floats(self.total).get("CPU", 0.0))

    def _exhausted_chain(self, owner: Owner) -> str | None:
        """Why an owner that is itself a blocked worker gets no workers; None if it only has to wait its turn."""
        lease = self._lease_under(owner)
        full = self.slots_used >= self.limits.workers_max and not self.free_slots
        if lease is None or not (full or (lease.blocked and lease.charged and devices.lends(lease.need))):
            return None
        if any(self._runs(other) for other in self.leases.values()):
            return None  # when that is done, there is room
        links = [owner.name]
        while lease is not None:
            owner = lease.pool.owner
            links.append(f"{owner.name} (lease {lease.name}, pid {lease.worker.pid})")
            lease = self._lease_under(owner)
        most = self.limits.workers_max if full else self.lending_max()
        chain = " <- ".join(links)
        return f"tasks wait for tasks that they started, {most} workers at once on this node, and no more may: {chain}"

    @staticmethod
    def _runs(lease: Lease) -> bool:
        """Whether what it has taken of the node may come back by itself."""
        return lease.charged and not lease.blocked and bool(devices.lends(lease.need))

    def _awaited(self, name: str) -> int:
        """How many tasks wait, one for the other, for what this owner wants to run."""
        owner, depth = self.owners[name], 0
        while (lease := self._lease_under(owner)) is not None and lease.blocked:
            owner, depth = lease.pool.owner, depth + 1
        return depth

    def _lend_more(self) -> None:
        """One that was lent is so no more: another, which had to wait with what it has, may lend it now."""
        for lease in self.leases.values():
            need = devices.lends(lease.need)
            if lease.blocked and lease.charged and need and self.lending() < self.lending_max():
                lease.charged = False
                add(lease.purse, need)

    def _lease_under(self, owner: Owner) -> Lease | None:
        """The lease whose worker this owner is, if it is one."""
        worker = self.workers.get(owner.worker)
        return worker.lease if worker is not None else None

    # ------------------------------------------------------------------------- processes' lives

    def kill(self, worker: Worker, reason: str) -> None:
        """SIGKILL, once; its death will be told as ``reason``."""
        if worker.doomed:
            return
        worker.doomed, worker.reason = True, reason
        self.deadlines.clear(("worker", worker.number))
        self.send("nursery", Signal(worker.number, SIGKILL))

    def _from_process(self, number: int, message: Message) -> None:
        worker = self.workers.get(number)
        if worker is None:
            return  # reaped meanwhile
        match message:
            case WorkerHello(pid=pid):
                worker.greeted, worker.pid = True, pid
                worker.lease.pool.failed_starts = 0
                if not worker.lease.returned:
                    self.deadlines.clear(("worker", number))
            case Inquired():
                self.surveys.heard(f"process:{number}", message)
            case LinkLost():
                pass  # it is told next to nothing over that link; if it died, the nursery says so
            case _:
                raise AssertionError(f"a worker does not say {message}")

    def _from_nursery(self, message: Message, now: float) -> None:
        match message:
            case Forked(worker=number, pid=pid):
                if number in self.workers:
                    self.workers[number].pid = pid
            case Exited():
                self._exited(message, now)
            case _:
                raise AssertionError(f"a nursery does not say {message}")

    def _exited(self, exited: Exited, now: float) -> None:
        worker = self.workers.pop(exited.worker, None)
        if worker is None:
            return  # said twice: by a nursery and, on its death, by the agent's shell
        heapq.heappush(self.free_slots, worker.slot)
        self.surveys.gone(f"process:{worker.number}")
        self.deadlines.clear(("worker", worker.number))
        for owner in [owner for owner in self.owners.values() if owner.worker == worker.number]:
            self._end_owner(owner, final=True)
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
            lease.name, lease.pool.number, death, exited.running, exited.answers, True, exited.begun
        )
        if not owner.lost:
            self.send(f"owner:{owner.name}", died)
        elif not owner.final:
            owner.untold.append(died)

    def _back_off(self, pool: WantedPool, now: float) -> None:
        """Workers that die at birth are not forked again in a tight loop."""
        pool.failed_starts += 1
        surplus = pool.failed_starts - self.limits.start_failures_max
        if surplus >= 0:
            delay_s = min(
                self.limits.start_backoff_s * 2 ** min(surplus, 30), self.limits.start_backoff_s_max
            )
            pool.not_before_s = now + delay_s
            self.deadlines.set(("pool", pool.key), pool.not_before_s)

    # ------------------------------------------------------------------------------------ time

    def _tick(self, now: float) -> None:
        if not self.head.introduced:
            self.head.introduce(now)
        for kind, which in self.deadlines.due(now):
            match kind, which:
                case "worker", int(number):
                    self._late(self.workers[number])
                case "owner", str(name):
                    self._end_owner(self.owners[name], final=True)
                case "heartbeat" | "report", _:
                    self.head.beat(now)
                case "survey", int(number):
                    self.surveys.late(number)
                case "drain", _:
                    self.draining.tell_all(now)
                case "reckoned", str(node):
                    self.head.reckoned(node)
                case "owed", str(name):
                    if (lease := self.owed.get(name)) is not None:
                        self.send(f"owner:{lease.pool.owner.name}", Reclaim(name))
                        self._owe(lease, now)
                case _:
                    pass  # "pool": its turn to be granted, which follows every message

    def _queued(self) -> int:
        """Leases that are wanted here and not granted."""
        return sum(pool.missing for pools in self.hungry.values() for pool in pools.values())

    def _late(self, worker: Worker) -> None:
        if worker.lease.returned:
            self.kill(worker, f"it did not exit within {self.limits.retire_grace_s:g} s of being retired")
        else:
            self.kill(worker, f"it did not start within {self.limits.worker_start_s:g} s")

    def _facts(self) -> NodeFacts:
        return msgspec.structs.replace(
            self.me, available=to_floats(self.free), store=self.head.store, draining=self.draining.on
        )

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        from distpool.scheduler.cores.node_check import check_node

        check_node(self)
