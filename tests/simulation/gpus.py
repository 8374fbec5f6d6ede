"""GPUs in the simulated cluster: machines that have some, work that asks for them, and an oracle for it.

From when a worker is forked until it is reaped, the devices that its lease is told of are its own, or a share of one
is. The oracle adds up what the programs have asked for; it knows nothing of how a node picks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loop import Violation

if TYPE_CHECKING:
    from .ledger import PoolBook
    from .machine import Machine
    from .program import Program
    from .world import World

#: Such amounts that each device of a lease is used to the same part.
AMOUNTS = (0.25, 0.5, 0.5, 1.0, 2.0)


class Gpus:
    """All GPUs of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.gpu_chance

    def of_a_machine(self) -> dict[str, float]:
        """What one more machine has of them."""
        return {"GPU": float(self.chance.choice((1, 2, 3)))} if self.world.plan.gpus else {}

    def write(self, program: Program) -> None:
        """Schedule what this driver does with them."""
        if self.world.plan.gpus:
            for _ in range(self.chance.choice((1, 2, 3))):
                self.world.loop.after(self.chance.uniform(0.0, 5.0), self._open, program)

    def _open(self, program: Program) -> None:
        if not program.shell.alive:
            return
        chance = self.chance
        most = max(machine.total["GPU"] for machine in self.world.machines.values())
        amount = chance.choice([amount for amount in AMOUNTS if amount <= most])
        resources = {"GPU": amount, "CPU": chance.choice((0.1, 0.5))}
        book = program.open_pool(chance.choice((1, 2, 4)), dedicated=False, resources=resources)
        for _ in range(chance.randint(1, 3)):
            self.world.loop.after(chance.uniform(0.0, 4.0), self._submit, program, book)

    def _submit(self, program: Program, book: PoolBook) -> None:
        if program.shell.alive and book.state == "open":
            chance = self.chance
            length_s = chance.choice((1e-5, 1e-3, 0.05, 0.5))
            plan: Any = [chance.randint(1, 3), 0.01, False, 0]
            jobs = [
                program.job(book, "nested", 1e-4, retries=1, argument=plan)
                if chance.random() < 0.1
                else program.job(book, "plain", length_s, retries=chance.choice((0, 1, 2)))
                for _ in range(chance.randint(1, 15))
            ]
            program.submit(book, jobs)

    def forked(self, machine: Machine) -> None:
        """A worker more: no device may have more users than it is whole."""
        used: dict[str, float] = {}
        for worker in machine.workers.values():
            attach = worker.told
            if attach is None:
                continue
            book = self.world.books.get((attach.owner, attach.pool))
            amount = book.resources.get("GPU", 0.0) if book is not None else 0.0
            devices = attach.gpus or ()
            if bool(amount) != bool(devices) or len(devices) != (int(amount) or bool(amount)):
                raise Violation("devices_as_asked", f"{worker.name} asked for {amount} and has {devices}")
            for name in devices:
                used[name] = used.get(name, 0.0) + amount / len(devices)
        for name, amount in used.items():
            if amount > 1.0 + 1e-6:
                raise Violation("devices_not_oversubscribed", f"{machine.name}: {amount:g} of device {name}")


def add(plan: Any, chance: Any) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were GPUs."""
    plan.gpus = chance.random() < 0.3
