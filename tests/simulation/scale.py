"""``python -m tests.simulation.scale [--nodes 1000] [--tasks 1000000]``: what many nodes and tasks cost the cores.

Coarse workers: each answers an Execute at once, as one message, after the time that its tasks take in all; there is
no slot, no mailbox, no encoding and no ``check()``. What is measured is the owner's core (its time per task) and the
head (its messages per task, which must not grow with the tasks).
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from typing import Any

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Death,
    Done,
    Execute,
    Exited,
    Fork,
    LeaseHello,
    OpenPool,
    Recall,
    Recalled,
    Results,
    Retire,
    Setup,
    SetupDone,
    Submit,
    TerminatePool,
    Tick,
    WorkerHello,
)

HOP_S = 1e-4
CPUS = 4


class Scale:
    """One owner, many nodes, one head; every message takes ``HOP_S``."""

    def __init__(self, nodes: int, task_s: float) -> None:
        limits = Limits()
        self.now = 0.0
        self.task_s = task_s
        self.heap: list[tuple[float, int, str, str, Any]] = []
        self.sequence = 0
        self.head_messages = 0
        self.done = 0
        self.owner_s = 0.0
        self.owner_messages = 0
        self.wake_s = math.inf  # the owner's next Tick
        self.free_at: dict[str, float] = {}  # lease -> when its worker is done with what it has
        self.lease_node: dict[str, str] = {}
        self.owner = OwnerCore("d", "sim://d", 1, limits)
        self.head = HeadCore(limits)
        self.nodes = {
            f"n{i}": NodeCore(f"n{i}", f"n{i}", 2, f"sim://n{i}", {"CPU": float(CPUS)}, limits)
            for i in range(nodes)
        }
        for name in self.nodes:
            self.post("timer", f"agent:{name}", Tick())

    def post(self, sender: str, to: str, message: Any, at_s: float | None = None) -> None:
        self.sequence += 1
        heapq.heappush(
            self.heap, (self.now + HOP_S if at_s is None else at_s, self.sequence, sender, to, message)
        )

    def tell_owner(self, sender: str, message: Any) -> None:
        began = time.perf_counter()
        outputs = self.owner.receive(sender, message, self.now)
        self.owner_s += time.perf_counter() - began
        self.owner_messages += 1
        for to, out in outputs:
            if to == "app":
                self.done += len(out.tasks) if type(out) is Done else 0
            elif to == "links":
                self.post("owner:d", f"agent:{out.node}", self.owner.hello())
            elif to == "timer":
                self.wake_s = min(self.wake_s, out.at_s)  # as shells do: only the earliest that was asked for
                self.post("timer", "owner:d", Tick(), out.at_s)
            elif to.startswith(("worker:", "control:")):
                self.worker(to, out)
            else:
                self.post("owner:d", to, out)

    def worker(self, address: str, message: Any) -> None:
        """A coarse worker: it says what it will have done, at the time when it will have done it."""
        kind, _, lease = address.partition(":")
        match message:
            case Setup():
                self.post(address, "owner:d", SetupDone())
            case Execute(first=first, payloads=payloads):
                count = len(payloads)
                start_s = max(self.free_at.get(lease, 0.0), self.now + HOP_S)
                end_s = self.free_at[lease] = start_s + count * self.task_s
                attempts = list(range(first, first + count))
                results = Results(attempts, payloads, [], max(count * self.task_s, 1e-9))
                self.post(address, "owner:d", results, end_s + HOP_S)
            case Recall():
                self.post(f"control:{lease}", "owner:d", Recalled((), 0))
            case Retire():
                pass
            case _:
                raise AssertionError(message)
        assert kind in ("worker", "control")

    def step(self) -> None:
        self.now, _, sender, to, message = heapq.heappop(self.heap)
        if to == "owner:d":
            if sender == "timer":
                if self.now != self.wake_s:
                    return
                self.wake_s = math.inf
            self.tell_owner(sender, message)
        elif to == "head":
            self.head_messages += 1
            self.spread("head", self.head.receive(sender, message, self.now))
        else:
            self.spread(to, self.nodes[to.partition(":")[2]].receive(sender, message, self.now))

    def spread(self, sender: str, outputs: list[tuple[str, Any]]) -> None:
        for to, message in outputs:
            if to == "nursery":
                self.nursery(sender, message)
            elif to == "timer":
                self.post("timer", sender, Tick(), message.at_s)
            else:
                self.post(sender, to, message)

    def nursery(self, agent: str, message: Any) -> None:
        if isinstance(message, Fork) and message.attach is not None:
            lease = message.attach.lease
            node = agent.partition(":")[2]
            self.post(f"process:{message.worker}", agent, WorkerHello(message.worker, 100 + message.worker))
            hello = LeaseHello(lease, message.attach.pool, node, node, 100 + message.worker)
            self.post(f"worker:{lease}", "owner:d", hello)
        elif not isinstance(message, Fork):
            self.post("nursery", agent, Exited(message.worker, Death(100 + message.worker, "", 9, -9)))

    def run(self, tasks: int, batch: int, *, dedicated: bool) -> None:
        """Submit ``tasks`` in batches, as fast as they are done, until the last is."""
        self.post("owner:d", "agent:n0", self.owner.hello())
        workers = len(self.nodes) * CPUS
        resources = {} if dedicated else {"CPU": 1.0}
        self.tell_owner("app", OpenPool(1, workers, b"", dedicated=dedicated, resources=resources))
        submitted = 0
        while self.done < tasks:
            while submitted < tasks and submitted - self.done < 8 * batch:
                count = min(batch, tasks - submitted)
                some = [Task(1, None, submitted + i, 1, b"f", [0], 10, 2) for i in range(count)]
                submitted += count
                self.tell_owner("app", Submit(1, some))
            self.step()
        self.tell_owner("app", TerminatePool(1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.scale", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--task-ms", type=float, default=10.0)
    parser.add_argument(
        "--dedicated", action="store_true", help="one pool of dedicated workers, all on the first node"
    )
    options = parser.parse_args()
    began = time.perf_counter()
    scale = Scale(options.nodes, options.task_ms / 1000)
    scale.run(options.tasks, 10_000, dedicated=options.dedicated)
    tasks = options.tasks
    print(
        f"{options.nodes} nodes, {tasks:,} tasks of {options.task_ms:g} ms, {len(scale.free_at)} workers used"
    )
    print(f"simulated {scale.now:.2f} s in {time.perf_counter() - began:.1f} s")
    print(f"messages to the head: {scale.head_messages:,}, {scale.head_messages / tasks:.5f} per task")
    print(f"owner core: {scale.owner_s / tasks * 1e6:.2f} us per task, {scale.owner_messages:,} messages in")


if __name__ == "__main__":
    main()
