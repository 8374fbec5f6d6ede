"""A node: the agent's shell around NodeCore, the nursery, the slots and mailboxes of its workers; and the head's shell.

The nursery is the machine's: it answers the agent in order, reaps after a moment, and kills everything when its
agent dies.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.messages import (
    Death,
    Drain,
    Exited,
    Fork,
    Forked,
    KillWorker,
    LeaseElsewhere,
    LookAt,
    NodeBye,
    NodeLost,
    Record,
    Seen,
    Signal,
    Tick,
    View,
    WantLeases,
)

from .loop import Violation
from .shell import Shell
from .worker import Worker

if TYPE_CHECKING:
    from .world import World

#: So often within so long may an owner be pointed to a node that is to go, with one pool.
POINTED_MAX = 10
POINTED_S = 1.0


class AgentShell(Shell):
    """Drives a NodeCore."""

    core: NodeCore

    def __init__(self, world: World, machine: Machine) -> None:
        core = NodeCore(
            machine.name, machine.name, machine.next_pid(), f"sim://{machine.name}", machine.total, world.limits,
            incarnation=machine.incarnation,
        )  # fmt: skip
        super().__init__(world, f"agent:{machine.name}", machine.name, core)
        self.host = machine
        self.missing: dict[
            tuple[str, int], int
        ] = {}  # (owner, pool) -> leases that may still be pointed elsewhere
        self.pointed: dict[tuple[str, int, str], deque[float]] = {}  # (owner, pool, node) -> when, lately

    def dispatch(self, address: str, message: Any) -> None:
        if isinstance(message, LeaseElsewhere):
            self._pointed(address, message)
        if isinstance(message, NodeLost):
            self.world.keys.tells_lost(self, message.node)
        if address == "nursery":
            self.trace_local(self.name, "nursery", message)
            self.host.nursery_hears(message)
        elif address == "jobs":
            self.trace_local(self.name, "jobs", message)
            self.world.submitted.do(self, message)
        elif address.startswith("asker:"):
            self.trace_local(self.name, address, message)
            self.world.submitted.answered(message)
        elif address == "head":
            if "head" not in self.links:
                self._dial_head()
            self.world.network.send(self, "head", message)
        else:
            self.world.network.send(self, address, message)

    def _pointed(self, owner: str, message: LeaseElsewhere) -> None:
        """Of the level that an owner has said, no lease is pointed elsewhere twice."""
        left = self.missing[owner, message.pool] - message.count
        if left < 0:
            raise Violation(
                "pointed_once", f"{self.name} points {-left} leases too many elsewhere: {message!r}"
            )
        self.missing[owner, message.pool] = left
        self._points_in_vain(owner, message)

    def _points_in_vain(self, owner: str, message: LeaseElsewhere) -> None:
        """An owner may be sent to a node that is to go, for want of news; not to and fro as fast as it can."""
        now, other = self.world.loop.now, self.world.machines[message.node].agent
        if other is None or not other.core.draining.on:
            return
        times = self.pointed.setdefault((owner, message.pool, message.node), deque(maxlen=POINTED_MAX))
        if len(times) == POINTED_MAX and now < times[0] + POINTED_S:
            raise Violation(
                "nobody_goes_to_and_fro",
                f"{self.name} points {POINTED_MAX} times in {POINTED_S} s elsewhere, such as {message!r}",
            )
        times.append(now)

    def _dial_head(self) -> None:
        head = self.world.head
        if head is not None and head.alive and self.world.network.reachable(self, head):
            self.world.network.connect(self, "head", head, self.name)

    def hear(self, sender: str, message: Any) -> None:
        if sender in ("nursery", "jobs") or sender.startswith("asker:"):
            self.trace_local(sender, self.name, message)
        if isinstance(message, LookAt) or (isinstance(message, KillWorker) and message.only):
            seen = self._seen(sender, message.lease)
            if isinstance(message, LookAt):
                if seen is not None and self.alive:
                    self.world.network.send(self, sender, seen)
                return
            if seen is not None and seen.running != message.only:
                return
        if isinstance(message, WantLeases):
            self.missing[sender, message.pool] = message.count
        super().hear(sender, message)

    def _seen(self, owner: str, lease: str) -> Seen | None:
        """What the slot of this lease's worker shows."""
        number = self.core.worker_of(owner.partition(":")[2], lease)
        if number is None:
            return None
        worker = self.host.workers.get(number)
        if worker is None or not worker.slot_running:
            return Seen(lease, 0, 0.0)
        return Seen(lease, worker.slot_running, self.world.loop.now - worker.began_s)


class HeadShell(Shell):
    """Drives a HeadCore."""

    core: HeadCore

    def __init__(self, world: World) -> None:
        super().__init__(world, "head", "head", HeadCore(world.limits))
        self.shown: set[str] = set()  # the nodes in the last View
        self.core.restore(world.journal.load(), self.now)
        self.hear("timer", Tick())

    def dispatch(self, address: str, message: Any) -> None:
        if isinstance(message, Record):
            self.world.journal.keep([message])
            self.world.keys.kept(message.table)
            self.world.submitted.kept(message.table)
            return
        if isinstance(message, View):
            self.shown = {facts.node for facts in message.nodes}
        self.world.network.send(self, address, message)

    def hear(self, sender: str, message: Any) -> None:
        """Who comes and who goes is shown to all at once: work for a node that nobody knows of would be refused."""
        before = {name: node.incarnation for name, node in self.core.nodes.items()}
        super().hear(sender, message)
        for name, incarnation in before.items():
            known = self.core.nodes.get(name)
            if known is None or known.incarnation != incarnation:
                self.world.keys.node_lost(name)
        here = [node for node in self.core.nodes.values() if not node.awaited]
        if here and self.shown != set(self.core.nodes):
            raise Violation(
                "views_are_whole", f"the head knows {sorted(self.core.nodes)}, and showed {self.shown}"
            )


class Machine:
    """One computer of the cluster: it outlives its agent."""

    def __init__(self, world: World, name: str, total: dict[str, float]) -> None:
        self.world = world
        self.name = name
        self.total = total
        self.incarnation = 0
        self.agent: AgentShell | None = None
        self.workers: dict[int, Worker] = {}  # alive or not reaped
        self.slots: dict[int, int] = {}  # slot -> worker
        self.slowness = 1.0
        self.nursery_due_s = 0.0
        self.pids_given = 0
        self.forks = 0
        self.has_left = False  # in an orderly way, at least once

    def pace(self, slowness: float) -> None:
        """All takes so many times as long from now on; of what is under way, what is left of it."""
        for worker in self.workers.values():
            worker.stretch(slowness / self.slowness)
        self.slowness = slowness

    def next_pid(self) -> int:
        """Pids come round again soon (a small pid space), but never while one is in use."""
        if self.world.network.fixed_order:
            self.pids_given += 1
            return 100 + self.pids_given
        rng = self.world.loop.rng
        used = {worker.pid for worker in self.workers.values()}
        while True:
            pid = rng.randint(2, 400)
            if pid not in used:
                return pid

    def boot(self) -> None:
        """Start an agent; a start after a crash is a new incarnation."""
        if self.agent is not None:
            return
        self.incarnation += 1
        self.agent = AgentShell(self.world, self)
        self.agent.hear("timer", Tick())

    def drain(self) -> None:
        """The agent is told to go: it does so when nothing runs there any more, or when its time is up."""
        agent = self.agent
        if agent is None or agent.core.draining.on:
            return
        agent.hear("shell", Drain())
        self.world.loop.after(
            0.1, self._leave_when_done, agent, self.world.loop.now + self.world.limits.drain_s
        )

    def _leave_when_done(self, agent: AgentShell, until_s: float) -> None:
        if self.agent is not agent:
            return
        if (agent.core.leases or agent.core.jobs.running) and self.world.loop.now < until_s:
            self.world.loop.after(0.1, self._leave_when_done, agent, until_s)
        else:
            self.leave()
            self.world.loop.after(self.world.drain_chance.choice((0.05, 0.5, 3.0)), self.boot)

    def leave(self) -> None:
        """The agent ends in an orderly way. What still ran is lost."""
        assert self.agent is not None
        if self.agent.core.leases:
            self.world.uncertain()
        self.world.last_fault_s = self.world.loop.now
        self.has_left = True
        self.agent.dispatch("head", NodeBye(self.incarnation))
        self.crash()

    def crash(self) -> None:
        """The agent dies, and with it the nursery and every worker."""
        agent, self.agent = self.agent, None
        if agent is None:
            return
        agent.die()
        self.world.submitted.agent_dies(agent)
        for worker in list(self.workers.values()):
            worker.die(9)
        self.workers.clear()
        self.slots.clear()

    # --------------------------------------------------------------------------------- nursery

    def nursery_hears(self, message: Any) -> None:
        """Fork and Signal are acted on in their order, each after a moment."""
        if isinstance(message, Fork):
            self._expect_wanted_here(message.attach)  # by what the agent knows as it says so
        rng = self.world.loop.rng
        delay_s = 1e-3 if self.world.network.fixed_order else rng.uniform(2e-4, 2e-3) * self.slowness
        self.nursery_due_s = max(self.nursery_due_s, self.world.loop.now + delay_s)
        self.world.loop.at(self.nursery_due_s, self._nursery_acts, self.incarnation, message)

    def _nursery_acts(self, incarnation: int, message: Any) -> None:
        if incarnation != self.incarnation or self.agent is None:
            return
        match message:
            case Fork(number, slot, attach):
                self._fork(number, slot, attach)
            case Signal(number, signal):
                if (worker := self.workers.get(number)) is not None:
                    self._expect_no_task(worker, self.agent.core)
                    self._expect_no_actor(worker, self.agent.core)
                    worker.die(signal)
            case _:
                raise Violation("protocol", f"a nursery heard {message!r}")

    def _expect_no_task(self, worker: Worker, core: NodeCore) -> None:
        """The grace of a worker that was retired is for its exit handlers."""
        known = core.workers.get(worker.number)
        late = known is not None and "of being retired" in known.reason
        if late and worker.job is not None and not self.world.ledger.anything_lost:
            raise Violation(
                "retiring_ends_no_task", f"{worker.name} is killed under task {worker.job.number}"
            )

    def _expect_no_actor(self, worker: Worker, core: NodeCore) -> None:
        """An actor is not killed for the sake of a call."""
        known = core.workers.get(worker.number)
        if worker.actor is not None and known is not None and "was cancelled" in known.reason:
            raise Violation("actor_spared", f"{worker.name} is killed: {known.reason}")

    def _fork(self, number: int, slot: int, attach: Any) -> None:
        if slot in self.slots:
            raise Violation(
                "slots_unique", f"{self.name}: worker {number} gets slot {slot} of worker {self.slots[slot]}"
            )
        if number in self.workers:
            raise Violation("slots_unique", f"{self.name}: worker number {number} is taken")
        worker = Worker(self.world, self, number, self.next_pid(), attach)
        worker.slot = slot
        self.workers[number] = worker
        self.slots[slot] = number
        self.forks += 1
        self.world.gpus.forked(self)
        self.tell_agent(Forked(number, worker.pid))
        worker.start_up()

    def _expect_wanted_here(self, attach: Any) -> None:
        """A node that is to go begins nothing that another could have."""
        book = self.world.books.get((attach.owner, attach.pool))
        if self.agent is None or not self.agent.core.draining.on or book is None or book.strategy.group:
            return
        for node in self.agent.core.head.takers():
            if all(node.total.get(name, 0.0) >= amount for name, amount in book.resources.items()):
                raise Violation("who_leaves_begins_nothing", f"{self.name} forks for pool {book.number}")

    def ended(self, worker: Worker, death: Death) -> None:
        """A worker has ended; reaped a moment later."""
        delay_s = self.world.loop.rng.uniform(2e-4, 3e-3) if not self.world.network.fixed_order else 1e-3
        self.world.loop.after(delay_s * self.slowness, self._reap, self.incarnation, worker, death)

    def _reap(self, incarnation: int, worker: Worker, death: Death) -> None:
        if incarnation != self.incarnation or self.workers.get(worker.number) is not worker:
            return
        del self.workers[worker.number]
        del self.slots[worker.slot]
        answers = tuple(entry for _, entry in worker.mailbox)
        begun = worker.actor.words if worker.actor is not None else ()
        self.tell_agent(Exited(worker.number, death, worker.slot_running, answers, begun))

    def nursery_dies(self) -> None:
        """The forking parent dies: the agent kills its orphans, reports them, and starts another."""
        for worker in list(self.workers.values()):
            worker.die(9)

    def tell_agent(self, message: Any) -> None:
        if self.agent is not None:
            decoded = msgspec.msgpack.Decoder(type(message)).decode(msgspec.msgpack.encode(message))
            self.agent.hear("nursery", decoded)
