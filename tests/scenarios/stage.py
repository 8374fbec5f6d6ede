"""The stage of a story: a small world with a fixed order of events, whose messages are written down."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.ledger import Job, PoolBook
from tests.simulation.owner import OwnerShell
from tests.simulation.plan import Plan
from tests.simulation.program import Program
from tests.simulation.worker import Worker
from tests.simulation.world import World

CALM = Plan(
    nodes=0,
    owners=0,
    apart=False,
    latency_s=1e-4,
    kills=False,
    crashes=False,
    cuts=False,
    jumps=False,
    births=0.0,
    strike=0.0,
)


class Stage:
    """``n0`` (and more nodes, if asked), one driver ``d0`` on ``n0``; ``lines`` is the transcript."""

    def __init__(
        self, nodes: dict[str, float] | None = None, *, with_head: bool = False, apart: bool = False
    ) -> None:
        self.lines: list[str] = []
        self.with_head = with_head
        self.world = World(0, CALM, self._write)
        self.world.network.fixed_order = True
        self.world.random_sizes = False
        self.world.start_head()
        for name, cpus in (nodes or {"n0": 2.0}).items():
            self.world.add_machine(name, {"CPU": cpus})
        self.run(0.7)
        self.driver: OwnerShell = self.world.add_driver("d0", "m0" if apart else "n0", "n0")
        self.program = Program(self.world, self.driver)
        self.run(0.3)

    def _write(self, line: str) -> None:
        if not self.with_head and (" -> head " in line or " head -> " in line):
            return
        if "LinkLost()" in line and any(kind in line for kind in (" worker:", " control:", " process:")):
            return  # an owner's shell leaves the lost links of workers to the agent
        self.lines.append(line.rstrip())

    def say(self, text: str) -> None:
        """A heading within the transcript."""
        self.lines.append(f"--- {text}")

    def run(self, for_s: float) -> None:
        self.world.loop.run_until(self.world.loop.now + for_s)

    def pool(self, size: int, **options: object) -> PoolBook:
        """A pool whose workers are up."""
        book = self.program.open_pool(size, **options)  # type: ignore[arg-type]
        self.run(0.1)
        return book

    def submit(
        self,
        book: PoolBook,
        *kinds: tuple[str, float],
        retries: int = 2,
        argument: object = None,
        limit_s: float | None = None,
    ) -> list[Job]:
        jobs = [
            self.program.job(book, kind, duration_s, retries=retries, argument=argument, limit_s=limit_s)
            for kind, duration_s in kinds
        ]
        self.program.submit(book, jobs)
        return jobs

    def kill_at(self, step: str, number: int = 0) -> None:
        """SIGKILL the worker at this step of its main thread, the first time that it runs this task."""
        struck: list[Worker] = []

        def trap(worker: Worker, at: str) -> bool:
            job = worker.job or (worker.undelivered[-1] if worker.undelivered else None)
            if struck or at != step or job is None or job.number != number:
                return False
            struck.append(worker)
            return True

        self.world.trap = trap


Story = Callable[[], Stage]
