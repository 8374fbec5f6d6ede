"""An owner's shell: its core, its links to agents and workers, and the program behind it.

It dials its own node's agent at once, others when the core says Dial, and again with a growing pause whenever a link is
lost; after ``node_silent_s`` without success it tells its core NodeLost. Control messages wait until the
control link has said hello, as in the real shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.messages import (
    Answer,
    Blocked,
    ControlHello,
    Dial,
    DropPool,
    HangUp,
    KeyAnswer,
    LinkLost,
    NodeLost,
    OwnerBye,
    OwnerHello,
    WantLeases,
)

from .loop import Violation
from .shell import Shell

if TYPE_CHECKING:
    from .program import Program
    from .worker import Worker
    from .world import World

REDIAL_S = 0.2


class OwnerShell(Shell):
    """A driver; or, with ``worker``, the owner inside a worker whose task submits tasks."""

    core: OwnerCore

    def __init__(
        self, world: World, owner: str, machine: str, pid: int, worker: Worker | None = None
    ) -> None:
        core = OwnerCore(owner, f"sim://{owner}", pid, world.limits)
        super().__init__(world, f"owner:{owner}", machine, core)
        self.owner = owner
        self.worker = worker
        self.program: Program | None = None
        self.early: dict[str, list[Any]] = {}
        self.lost_since: dict[str, float] = {}  # node -> when its link was lost
        self.leaving = False
        self.gone_nodes: set[str] = set()
        self.home = ""
        self.dropped: set[tuple[str, int]] = set()  # agents and the pools that they were told are dropped
        self.asked: dict[int, Any] = {}  # questions without an answer
        self.questions = 0

    def dial(self, node: str) -> None:
        """Connect to a node's agent and say hello; try again if it cannot be reached."""
        if not self.alive or self.leaving or f"agent:{node}" in self.links:
            return
        agent = self.world.machines[node].agent
        if agent is None or not self.world.network.reachable(self, agent):
            since = self.lost_since.setdefault(node, self.world.loop.now)
            if self.world.loop.now - since > self.world.limits.node_silent_s and node not in self.gone_nodes:
                self.gone_nodes.add(node)
                self.world.ledger.lossy.add(self.owner)
                self.trace_local("shell", self.name, NodeLost(node, "silent"))
                self.hear("shell", NodeLost(node, "silent"))
            self.world.loop.after(REDIAL_S, self.dial, node)
            return
        self.lost_since.pop(node, None)
        self.gone_nodes.discard(node)
        hello = self.core.hello()
        if self.worker is not None:
            hello = OwnerHello(
                hello.owner,
                hello.pid,
                hello.incarnation,
                hello.address,
                hello.held,
                self.machine,
                self.worker.number,
            )
        self.world.network.connect(self, f"agent:{node}", agent, f"owner:{self.owner}")
        self.world.network.send(self, f"agent:{node}", hello)
        self.home = self.home or node
        if node == self.home:
            for question in self.asked.values():
                self.world.network.send(self, f"agent:{node}", question)

    def ask(self, question: Any) -> None:
        """Ask the head something, by way of the first agent; said again when that is reached again."""
        self.questions += 1
        question = self.asked[self.questions] = msgspec.structs.replace(question, request=self.questions)
        self.world.network.send(self, f"agent:{self.home}", question)

    def hang_up(self, node: str) -> None:
        """Say goodbye to an agent, if it hears it, and drop the link."""
        self.world.ledger.lossy.add(self.owner)
        label = f"agent:{node}"
        if label in self.links:
            self.world.network.send(self, label, OwnerBye())
            self.world.network.close(self.links[label])

    def hear(self, sender: str, message: Any) -> None:
        if not self.alive:
            return
        kind = sender.partition(":")[0]
        if isinstance(message, Answer):
            question = self.asked.pop(message.request, None)
            if isinstance(message, KeyAnswer) and question is not None:
                self.world.keys.answered(self, question, message)
            elif question is not None:
                self.world.groups.answered(self, question, message)
            return
        if isinstance(message, LinkLost):
            if kind == "agent":
                node = sender.partition(":")[2]
                if node == self.home:
                    self.world.keys.link_lost(self)
                self.world.loop.after(REDIAL_S, self.dial, node)
            elif kind in ("worker", "control"):
                self.early.pop(sender, None)
                if not self.world.worker_links_noticed(self, sender):
                    return
        super().hear(sender, message)
        if isinstance(message, ControlHello):
            for early in self.early.pop(sender, ()):
                self.world.network.send(self, sender, early)
            self.early[sender] = []

    def dispatch(self, address: str, message: Any) -> None:
        kind = address.partition(":")[0]
        if kind == "app":
            self.trace_local(self.name, "app", message)
            if self.program is not None:
                self.program.hear(message)
        elif kind == "links":
            if isinstance(message, HangUp):
                self.hang_up(message.node)
            else:
                assert isinstance(message, Dial)
                self.dial(message.node)
        elif kind == "peer":
            other = next((s for s in self.world.owners.values() if f"peer:{s.owner}" == address), None)
            if other is not None:
                self.watch_owner(other)
            self.world.network.send(self, address, message)
        elif kind == "agent":
            self._expect_last(address, message)
            self.world.network.send(self, address, message)
        elif kind == "control" and address in self.links and (waiting := self.early.get(address)) != []:
            if waiting is None:
                self.early[address] = [message]
            else:
                waiting.append(message)
        else:
            self.world.network.send(self, address, message)

    def _expect_last(self, agent: str, message: Any) -> None:
        """An agent that was told that a pool is dropped hears of no level of it again."""
        if isinstance(message, DropPool):
            self.dropped.add((agent, message.pool))
        elif isinstance(message, WantLeases) and (agent, message.pool) in self.dropped:
            raise Violation("dropped_is_dropped", f"{self.name} tells {agent} {message!r}")

    def watch_owner(self, other: OwnerShell) -> None:
        """Have a link to another owner; if it cannot be had, it is as if that were gone."""
        address = f"peer:{other.owner}"
        if address in self.links:
            return
        if self.world.network.reachable(self, other):
            self.world.network.connect(self, address, other, f"peer:{self.owner}")
        else:
            self.world.loop.after(0.3, self.hear, address, LinkLost())

    def tell(self, message: Any) -> None:
        """The program says something."""
        self.trace_local("app", self.name, message)
        self.hear("app", message)

    def block(self, blocked: bool) -> None:
        """This worker's task waits for its children (or does so no more): its agent may lend its CPU."""
        if self.worker is not None and self.worker.lease is not None:
            self.world.network.send(self, f"agent:{self.machine}", Blocked(self.worker.lease.lease, blocked))

    def leave(self) -> None:
        """A clean farewell."""
        if not self.alive:
            return
        self.leaving = True
        for label in [label for label in self.links if label.startswith("agent:")]:
            self.world.network.send(self, label, OwnerBye())
        for end in list(self.links.values()):
            self.world.network.close(end)
        self.alive = False
        self.world.owner_gone(self)

    def die(self) -> None:
        super().die()
        self.world.owner_gone(self)
