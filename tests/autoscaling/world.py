"""A cluster under a seed: a HeadCore with a journal, NodeCores that a provider starts and stops, and one owner.

::

    Owner ── WantLeases ──► NodeCore ── NodeReport ──► HeadCore ── StartNode ──► Provider ──► another NodeCore
      ▲─── LeaseElsewhere, WorkerDied ──┘                 │ journal, killed again and again, as is the provider

Messages of one way stay in order and take their time. First there are faults and work, then only work is finished
(liveness), then nothing is wanted: all nodes must have gone, and nothing must be left in the journal. At all times: no
more machines than there may be, none is stopped that works, no core's invariant is broken.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import msgspec

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.cores.scaling_fleet import SCALED
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Death,
    DropPool,
    Exited,
    Fork,
    Forked,
    HeadUp,
    LeaseElsewhere,
    LeaseRefused,
    LinkLost,
    ListNodes,
    Message,
    NodeBye,
    NodeDrains,
    NodeHello,
    NodeLost,
    NodeRefused,
    NodesListed,
    NodeStarted,
    NodeStopped,
    NodeType,
    OwnerHello,
    ProviderDown,
    ProviderHangs,
    ProviderUp,
    Record,
    ReturnLease,
    ScalingSettings,
    Signal,
    StartNode,
    StopNode,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
    WorkerHello,
)
from distpool.scheduler.shells.journal import MemoryJournal

LIMITS = msgspec.structs.replace(DEFAULTS, node_silent_s=20.0)
SETTINGS = ScalingSettings(
    "simulated",
    (
        NodeType("small", {"CPU": 2.0}, max_nodes=4),
        NodeType("large", {"CPU": 8.0, "GPU": 1.0}, max_nodes=2),
    ),
    max_nodes=5,
    idle_s=5.0,
    join_s=30.0,
)
SHAPES = ({"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 1.0, "GPU": 1.0})
FAULTS_UNTIL_S, DONE_BY_S, GONE_BY_S = 60.0, 900.0, 1200.0


class Machine:
    """A node that the provider has started, or the head's own."""

    def __init__(self, world: World, name: str, node_type: NodeType) -> None:
        self.world, self.name, self.node_type = world, name, node_type
        self.core: NodeCore | None = None
        self.wake_s = float("inf")

    def boot(self) -> None:
        world = self.world
        world.incarnation += 1
        address = f"tcp://{self.name}"
        self.core = NodeCore(
            self.name,
            self.name,
            1,
            address,
            self.node_type.resources,
            LIMITS,
            self.node_type.labels,
            world.incarnation,
        )
        self.hear("timer", Tick())

    def hear(self, sender: str, message: Message) -> None:
        if self.core is None or self.world.machines.get(self.name) is not self:
            return
        out = self.core.receive(sender, message, self.world.now)
        self.core.check()
        for to, said in out:
            self.deliver(to, said)
        if self.core.draining.on and not self.core.leases:
            self.world.after(0.5, self.leave)

    def deliver(self, to: str, message: Message) -> None:
        world = self.world
        match to, message:
            case "timer", WakeAt(at_s=at_s):
                world.at(at_s, lambda: self.hear("timer", Tick()))
            case "head", _:
                world.send(f"{self.name}>head", lambda: world.head_hears(f"agent:{self.name}", message))
            case "nursery", Fork(worker=worker, attach=attach):
                assert attach is not None
                world.owner.comes(self, worker, attach.lease, attach.pool)
            case "nursery", Signal(worker=worker):
                world.after(0.01, lambda: self.hear("nursery", Exited(worker, Death(1, self.name, 9, -9))))
            case _ if to.startswith("owner:"):
                world.send(f"{self.name}>owner", lambda: world.owner.hear(self.name, message))
            case _:
                raise AssertionError(f"{message} to {to}")

    def leave(self) -> None:
        if self.world.machines.get(self.name) is self and self.core is not None and not self.core.leases:
            self.deliver("head", NodeBye(self.core.incarnation))
            self.world.lose(self)


class Owner:
    """It wants workers for its work, and says levels as an owner does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.todo: dict[int, int] = {}  # by shape
        self.levels: dict[int, dict[str, int]] = {}
        self.known: set[str] = set()
        self.running: dict[tuple[str, int], int] = {}
        self.done = 0

    def add(self, shape: int, count: int) -> None:
        self.todo[shape] = self.todo.get(shape, 0) + count
        self.want(shape, "home", self.levels.setdefault(shape, {}).get("home", 0) + count)

    def want(self, shape: int, node: str, count: int) -> None:
        self.levels[shape][node] = count
        self.say(node, WantLeases(shape, count, False, SHAPES[shape], spilled=node != "home"))

    def say(self, node: str, message: Message) -> None:
        world = self.world
        words = [message]
        if node not in self.known:
            self.known.add(node)
            words.insert(0, OwnerHello("o", 1, 1, "tcp://o", node="home"))
        for word in words:
            world.send(f"owner>{node}", lambda word=word: world.node_hears(node, "owner:o", word))

    def hear(self, node: str, message: Message) -> None:
        match message:
            case LeaseElsewhere(pool=shape, count=count, node=other, wanted=wanted):
                level = self.levels[shape].get(node, 0)
                moved = min(count, level)
                if moved and wanted == level and other != node:
                    self.want(shape, node, level - moved)
                    self.want(shape, other, self.levels[shape].get(other, 0) + moved)
            case LeaseRefused(pool=shape, reason=reason):
                raise AssertionError(f"shape {shape} can be had: {reason}")
            case NodeDrains():
                for shape, levels in self.levels.items():
                    running = sum(at == node and s == shape for (at, _), s in self.running.items())
                    if levels.get(node, 0) > running:
                        more = levels[node] - running
                        self.want(shape, node, running)
                        self.want(shape, "home", levels.get("home", 0) + more)
            case NodeLost(node=lost):
                self.lose(lost)
            case WorkerDied() | _:
                pass

    def lose(self, node: str) -> None:
        self.known.discard(node)
        for key in [key for key in self.running if key[0] == node]:
            self.todo[self.running.pop(key)] += 1
        for shape, levels in self.levels.items():
            if (count := levels.pop(node, 0)) > 0:
                self.want(shape, "home", levels.get("home", 0) + count)

    def comes(self, machine: Machine, worker: int, lease: str, shape: int) -> None:
        world, key = self.world, (machine.name, worker)
        has_work = self.todo[shape] > 0
        if has_work:
            self.todo[shape] -= 1
            self.running[key] = shape
        for_s = world.random.uniform(0.1, 6.0) if has_work else 0.05

        def greet() -> None:
            machine.hear("nursery", Forked(worker, 100 + worker))
            machine.hear(f"process:{worker}", WorkerHello(worker, 100 + worker))

        def finish() -> None:
            if world.machines.get(machine.name) is not machine or machine.core is None:
                return
            if worker not in machine.core.workers:
                return
            if self.running.pop(key, None) is not None:
                self.done += 1
            self.want(shape, machine.name, max(0, self.levels[shape].get(machine.name, 0) - 1))
            self.say(machine.name, ReturnLease(lease))
            world.after(0.1, lambda: machine.hear("nursery", Exited(worker, Death(1, machine.name, 0, 0))))

        world.after(0.02, greet)
        world.after(for_s + 0.05, finish)


class Provider:
    """It fails, hangs, dies, and starts machines that never join; but no name twice."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.life = 0
        self.starts = 0
        self.up = False

    def rise(self) -> None:
        self.life += 1
        self.up = True
        self.world.send("provider>head", lambda: self.world.provider_says(ProviderUp()))

    def die(self, reason: str) -> None:
        if self.up:
            self.up = False
            self.life += 1
            self.world.after(0.1, lambda: self.world.provider_says(ProviderDown(reason)))
            self.world.after(0.5, self.rise)

    def hear(self, message: Message) -> None:
        world, life = self.world, self.life
        if isinstance(message, ProviderHangs):
            self.die(message.reason)
            return
        if not self.up:
            return

        def answer(said: Message) -> None:
            if life == self.life:
                world.provider_says(said)

        luck = world.random.random() if world.now < FAULTS_UNTIL_S else 1.0
        match message:
            case ListNodes():
                there = {m.name: m.node_type.name for m in world.machines.values() if m.name != "home"}
                world.after(
                    0.05, lambda: answer(NodesListed(there) if luck > 0.05 else NodeRefused("", "who knows"))
                )
            case StartNode(name=name, node_type=node_type):
                self.starts += 1
                if luck < 0.1:
                    world.after(0.2, lambda: answer(NodeRefused(name, "no machine left")))
                elif luck < 0.15:
                    pass  # it hangs
                else:
                    # What was begun may go on when who has begun it is dead.
                    def begin() -> None:
                        if name not in world.machines:
                            world.come(name, node_type, joins=luck > 0.25)

                    if luck < 0.25 or world.random.random() < 0.5:
                        begin()
                    else:
                        world.after(world.random.uniform(0.0, 0.5), begin)
                    world.after(0.6, lambda: answer(NodeStarted(name)))
            case StopNode(name=name):
                machine = world.machines.get(name)
                if machine is not None and machine.core is not None:
                    assert not machine.core.leases, f"{name} is stopped while it works"
                if luck < 0.1:
                    world.after(0.2, lambda: answer(NodeRefused(name, "not now")))
                    return
                if machine is not None:
                    world.lose(machine)
                world.after(0.1, lambda: answer(NodeStopped(name)))


class World:
    """Runs it all; an AssertionError tells what is wrong."""

    def __init__(self, seed: int, *, faults: bool = True) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.now = 0.0
        self.incarnation = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ways: dict[str, float] = {}
        self.machines: dict[str, Machine] = {}
        self.most = 0
        self.journal = MemoryJournal()
        self.owner = Owner(self)
        self.provider = Provider(self)
        self.wanted = 0
        self.head_life = 0
        self.start_head()
        self.come("home", NodeType("home", {}), joins=True)

    # ------------------------------------------------------------------------------------ time

    def at(self, at_s: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(at_s, self.now), self._count, act))

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        self.at(self.now + delay_s, act)

    def send(self, way: str, act: Callable[[], None]) -> None:
        """In order on each way."""
        at_s = max(self.now + self.random.expovariate(200.0), self._ways.get(way, 0.0))
        self._ways[way] = at_s
        self.at(at_s, act)

    # ------------------------------------------------------------------------------------ head

    def start_head(self) -> None:
        self.head_life += 1
        self.head = HeadCore(LIMITS, "home", SETTINGS)
        self.head.restore(self.journal.load(), self.now)
        self.spread(self.head.receive("timer", Tick(), self.now))
        self.provider.rise()

    def kill_head(self) -> None:
        self.provider.up = False
        self.provider.life += 1
        self.start_head()
        for machine in list(self.machines.values()):
            self.send(f"head>{machine.name}", lambda machine=machine: machine.hear("head", HeadUp()))

    def head_hears(self, sender: str, message: Message) -> None:
        if isinstance(message, NodeHello) and sender.partition(":")[2] not in self.machines:
            return  # it is gone
        self.spread(self.head.receive(sender, message, self.now))

    def provider_says(self, message: Message) -> None:
        self.head_hears("provider", message)

    def spread(self, out: list[tuple[str, Message]]) -> None:
        self.head.check()
        self.journal.keep([m for _, m in out if isinstance(m, Record)])
        life = self.head_life
        for to, message in out:
            match to, message:
                case "timer", WakeAt(at_s=at_s):
                    self.at(at_s, lambda: self.head_ticks(life))
                case "journal", _:
                    pass
                case "provider", _:
                    self.send("head>provider", lambda message=message: self.provider.hear(message))
                case _:
                    name = to.partition(":")[2]
                    self.send(f"head>{name}", lambda n=name, m=message: self.node_hears(n, "head", m))

    def head_ticks(self, life: int) -> None:
        if life == self.head_life:
            self.head_hears("timer", Tick())

    # ----------------------------------------------------------------------------------- nodes

    def come(self, name: str, node_type: NodeType, *, joins: bool) -> None:
        machine = self.machines[name] = Machine(self, name, node_type)
        self.most = max(self.most, len(self.machines) - 1)
        assert len(self.machines) - 1 <= SETTINGS.max_nodes, f"too many machines: {list(self.machines)}"
        if joins:
            delay_s = 0.0 if name == "home" else self.random.uniform(0.1, 2.0)
            self.after(delay_s, lambda: machine.boot() if self.machines.get(name) is machine else None)

    def lose(self, machine: Machine) -> None:
        del self.machines[machine.name]
        self.send(f"{machine.name}>head", lambda: self.head_hears(f"agent:{machine.name}", LinkLost()))
        self.send(f"{machine.name}>owner", lambda: self.owner.lose(machine.name))

    def node_hears(self, node: str, sender: str, message: Message) -> None:
        machine = self.machines.get(node)
        if machine is not None:
            machine.hear(sender, message)
        elif sender == "owner:o" and isinstance(message, WantLeases | DropPool):
            self.send(f"{node}>owner", lambda: self.owner.lose(node))

    # -------------------------------------------------------------------------------- the story

    def fault(self) -> None:
        if self.now >= FAULTS_UNTIL_S:
            return
        match self.random.randrange(3):
            case 0:
                self.kill_head()
            case 1:
                self.provider.die("killed")
            case 2:
                names = [name for name in self.machines if name != "home"]
                if names:
                    self.lose(self.machines[self.random.choice(names)])
        self.after(self.random.uniform(2.0, 15.0), self.fault)

    def work(self) -> None:
        if self.now < FAULTS_UNTIL_S:
            count = self.random.choice((1, 2, 5, 20))
            self.wanted += count
            self.owner.add(self.random.randrange(len(SHAPES)), count)
            self.after(self.random.uniform(1.0, 25.0), self.work)

    def run(self) -> None:
        self.after(1.0, self.work)
        if self.faults:
            self.after(self.random.uniform(1.0, 5.0), self.fault)
        self.run_until(
            lambda: self.owner.done >= self.wanted and self.now > FAULTS_UNTIL_S, DONE_BY_S, self.story
        )
        self.run_until(lambda: list(self.machines) == ["home"] and not self.kept, GONE_BY_S, self.story)

    def run_until(self, condition: Callable[[], bool], by_s: float, story: Callable[[], str]) -> None:
        while not condition():
            self.now, _, act = heapq.heappop(self._events)
            assert self.now < by_s, story()
            act()

    @property
    def kept(self) -> list[str]:
        return [record.key for record in self.journal.load() if record.table == SCALED]

    def story(self) -> str:
        scaling = self.head.scaling
        assert scaling is not None
        return (
            f"at {self.now:.1f} s {self.owner.done} of {self.wanted} are done; there are {list(self.machines)}, "
            f"kept {self.kept}; {scaling.facts(self.now)}; levels {self.owner.levels}, todo {self.owner.todo}"
        )
