"""A few nodes whose processes put, hand on, claim, fetch and drop each other's objects, and die, under a seed.

::

    seed ─► what next? ─┬─ a frame arrives: each link keeps its order, two links do not
                        ├─ a process goes on: puts, sends, drops, fetches, refers once more
                        ├─ time passes
                        └─ a process or a node dies; a link is lost; a node is taken for dead

Real are the stores with their ledgers, the processes' part (``store.far``), the agents' (``mover``, ``uploads``) and
the core (``Copies``). Made up are the links between them, the clock, and the head, which says who is there.

Then everything is dropped, and must come to rest: ``Violation`` says what did not. What may be lost is little, and is
noted as it happens (``World.excuse``): what was on its way from a process that died, what lay on a node that died, and
what was kept for one that was taken for dead.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from distpool.scheduler.messages import NodeFacts
from tests.simulation.loop import Violation

from .node import LIMITS, Node, Process

NODES = 3
PROCESSES = 2
STEPS = 500
SETTLING_STEPS_MAX = 40_000
#: All that has a time limit is over by then.
LONG_S = 2 * max(LIMITS.transit_s, LIMITS.pull_silent_s)

Key = tuple[str, ...]


class World:
    """Everything that happens under one seed."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.trace = trace or (lambda _line: None)
        self.now_s = 1.0
        self.links: dict[Key, deque[Callable[[], None]]] = {}
        self.nodes: dict[int, Node] = {}
        self.made = 0
        self.workers = 0
        self.contents: dict[int, bytes] = {}
        self.excused: set[int] = set()
        self.counts = dict.fromkeys(
            ("fetched", "refused", "lost", "pulled", "relayed", "roomless", "deaths", "cuts"), 0
        )
        self.settling = False
        self.until_s = 0.0
        self.deadly = self.rng.random() < 0.4
        self.full = self.rng.random() < 0.2  # stores refuse a copy now and then
        self.spills = random.Random(f"spills {seed}").random() < 0.3  # room is made for one now and then
        self.hidden: set[int] = set()  # nodes that are taken for dead
        self.was_hidden = False
        for _ in range(NODES):
            self.join()

    # ---------------------------------------------------------------------------------- nodes

    def join(self) -> None:
        self.made += 1
        self.nodes[self.made] = node = Node(self, self.made)
        for _ in range(PROCESSES):
            self.start(node)
        self.spread()

    def start(self, node: Node) -> None:
        self.workers += 1
        node.processes[self.workers] = Process(self, node, self.workers)

    def living(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def busy(self) -> list[Process]:
        """Those that others have to do with: not those of a node that is taken for dead, or was a moment ago."""
        if self.was_hidden and any(frames for key, frames in self.links.items() if key[0] == "head"):
            return []
        return [process for process in self.processes() if process.node.number not in self.hidden]

    def processes(self) -> list[Process]:
        return [process for node in self.living() for process in node.processes.values()]

    def spread(self) -> None:
        """The head tells every node who is there, each in its own time."""
        there = [node for node in self.living() if node.number not in self.hidden]
        for node in self.living():
            facts = [
                NodeFacts(str(other.number), f"tcp:{other.number}", {}, {}, store=other.number)
                for other in there
                if other is not node
            ]
            self.put(("head", str(node.number)), node, lambda node=node, facts=facts: node.see(facts))

    def note(self, node: Node, number: int, content: bytes) -> None:
        """An object was made."""
        self.contents[number] = content
        if node.number in self.hidden:
            self.excuse([number])

    def excuse(self, numbers: Any) -> None:
        """These may be lost from here on."""
        self.excused.update(numbers)

    # ---------------------------------------------------------------------------------- links

    def put(self, key: Key, receiver: Any, frame: Callable[[], None]) -> None:
        def arrive() -> None:
            if receiver.alive:
                frame()

        self.links.setdefault(key, deque()).append(arrive)

    def cut_short(self, of: Callable[[Key], bool]) -> None:
        """What was said last on these links is lost with who has said it."""
        for key, frames in self.links.items():
            if of(key):
                for _ in range(self.rng.randint(0, len(frames))):
                    frames.pop()

    # ---------------------------------------------------------------------------------- deaths

    def kill(self, process: Process) -> None:
        self.trace(f"process {process.number} dies")
        self.counts["deaths"] += 1
        node, number = process.node, process.number
        process.alive = False
        del node.processes[number]
        self.excuse(process.on_the_way)
        self.cut_short(lambda key: key[0] in ("tell", "ask", "data") and key[1] == str(number))
        process.vanish()
        self.put(("nursery", str(number)), node, lambda: node.buried(number))
        for other in self.processes():
            key = ("data", str(number), str(other.number))
            self.put(key, other, lambda other=other: other.heard_of_death(number, node))
        self.start(node)

    def kill_node(self, node: Node) -> None:
        self.trace(f"node {node.number} dies")
        self.counts["deaths"] += 1
        self.excuse(self.contents)
        self.cut_short(lambda key: key[0] == "up" and key[1] == str(node.number))
        for process in list(node.processes.values()):
            self.cut_short(lambda key, name=str(process.number): key[0] == "data" and key[1] == name)  # type: ignore[misc]
        node.die()
        self.spread()
        self.join()

    def hide(self, node: Node) -> None:
        """It is taken for dead though it is not, for a while."""
        self.trace(f"node {node.number} is taken for dead")
        self.excuse(self.contents)
        self.was_hidden = True
        self.hidden ^= {node.number}
        self.spread()
        for process in list(node.processes.values()):
            self.kill(process)  # who uses its workers hangs up on them

    # ---------------------------------------------------------------------------------- running

    def next(self) -> bool:
        """Let something happen. False: nothing can."""
        rng = self.rng
        frames = [key for key, frames in self.links.items() if frames]
        kinds = [*("frame",) * 6 * bool(frames)]
        if not self.settling:
            kinds += ["program"] * 3 + ["time"] * (rng.random() < 0.1)
        if not kinds:
            return self.pass_time()
        kind = rng.choice(kinds)
        if kind == "frame":
            self.links[rng.choice(frames)].popleft()()
        elif kind == "time":
            self.now_s += rng.choice((0.05, 0.5, 1.0))
            for node in self.living():
                node.wake()
        elif len(busy := self.busy()) > 1:
            rng.choice(busy).go_on()
        for node in self.living():
            node.check()
        return True

    def pass_time(self) -> bool:
        """Until somebody wants to look at the clock."""
        wake_s = min([node.wake_s for node in self.living()], default=math.inf)
        if wake_s > self.until_s or wake_s == math.inf:
            return False
        self.now_s = max(self.now_s, wake_s)
        for node in self.living():
            node.wake()
        return True

    def mishap(self) -> None:
        chance = self.rng.random()
        if chance < 0.01 and self.deadly:
            self.kill(self.rng.choice(self.processes()))
        elif chance < 0.012 and self.deadly and self.made < NODES + 2:
            self.kill_node(self.rng.choice(self.living()))
        elif chance < 0.015 and self.deadly:
            self.hide(self.rng.choice(self.living()[1:]))
        elif chance < 0.03:
            self.rng.choice(self.living()).lose_a_link()

    def settle(self, for_s: float) -> None:
        """Everything that can happen does."""
        self.until_s = self.now_s + for_s
        for _ in range(SETTLING_STEPS_MAX):
            if not self.next():
                return
        raise Violation("comes_to_rest", "messages go round and round")

    def end(self) -> None:
        """Everything is dropped; nothing may be left."""
        self.hidden.clear()
        self.spread()
        self.settling = True
        self.settle(LONG_S)
        for process in self.processes():
            if process.asked:
                raise Violation("fetches_end", f"process {process.number} waits for {process.asked}")
            process.look_at_all()
        self.settle(LONG_S)
        for process in self.processes():
            process.drop_all()
        self.settle(math.inf)
        for node in self.living():
            node.check_nothing_left()


def run(seed: int, trace: Callable[[str], None] | None = None) -> World:
    """One world. Raises Violation."""
    world = None
    try:
        world = World(seed, trace)
        for _ in range(STEPS):
            world.next()
            world.mishap()
        world.end()
        return world
    except Violation:
        raise
    except Exception as error:
        raise Violation("no_exception", f"seed {seed}: {error!r}") from error
    finally:
        if world is not None:
            for node in world.nodes.values():
                node.close()
