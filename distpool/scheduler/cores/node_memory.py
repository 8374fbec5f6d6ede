"""Which worker ends when a node has no memory left, so that the node, and all others, go on.

::

    the agent's shell ── MemoryLow (what is left, what each worker has) ──► low ── kill: SIGKILL, with a reason
                                                                             │         that names the numbers
                                                                             └─ one at a time: what it gives back
                                                                                is seen before the next goes
    earlier already ── MemoryScarce ──► scarce: nobody is started for tasks that wait (``node_lending``)

Who has most above what its lease asked for (``memory=``) goes. Among those that come near it, one whose work is
repeated goes before one whose work is lost, and the newest, which has least to lose, before the others. Where all are
within what they asked for, what they have counts. Workers that have next to nothing are not to blame, whoever else
has taken the memory, and are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import Worker
from distpool.scheduler.messages import OUT_OF_MEMORY, MemoryLow, MemoryScarce

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: A worker that has less than this for itself is never ended for want of memory.
BLAME_BYTES_MIN = 32 << 20
#: Those that have this part of the worst one's surplus are as bad.
NEAR_PART = 0.9
#: ... and with this part of it, one whose work is repeated goes first.
REPEATED_PART = 0.5


class NodeMemory:
    """A part of ``NodeCore``."""

    def __init__(self, node: NodeCore) -> None:
        self._node = node
        self.ended = 0  # workers, in all
        self.scarce: MemoryScarce | None = None  # so little is left that nobody is to lend anything

    def hear(self, message: MemoryLow | MemoryScarce) -> None:
        """What the agent's shell has seen."""
        if isinstance(message, MemoryLow):
            self._low(message)
        else:
            self.scarce = message if message.scarce else None
            self._node.lending.lend_more()

    def _low(self, message: MemoryLow) -> None:
        """The node runs out of memory: end one worker, unless one is on its way out."""
        workers = self._node.workers
        if any(worker.doomed and worker.kind == OUT_OF_MEMORY for worker in workers.values()):
            return
        living = [
            (worker, used)
            for number, used in message.used_bytes.items()
            if (worker := workers.get(number)) is not None and not worker.doomed and used >= BLAME_BYTES_MIN
        ]
        victim = choose(living)
        if victim is None:
            return
        worker, used = victim
        asked = asked_bytes(worker)
        worker.kind = OUT_OF_MEMORY
        self.ended += 1
        share = message.available_bytes / max(1, message.total_bytes)
        wanted = (
            f"it had asked for {mib(asked)}"
            if asked
            else "it had asked for none: memory= says how much it needs"
        )
        self._node.processes.kill(
            worker,
            f"its node was running out of memory: {mib(message.available_bytes)} ({share:.0%}) of "
            f"{mib(message.total_bytes)} were left, and this worker had taken {mib(used)}; {wanted}",
        )


def asked_bytes(worker: Worker) -> int:
    """What its lease asked for."""
    return int(worker.lease.pool.resources.get("memory", 0.0))


def choose(living: list[tuple[Worker, int]]) -> tuple[Worker, int] | None:
    """Who is to end, of workers and what each has."""
    if not living:
        return None
    surplus = {worker.number: used - asked_bytes(worker) for worker, used in living}
    if max(surplus.values()) < BLAME_BYTES_MIN:
        surplus = {worker.number: used for worker, used in living}
    repeated = [pair for pair in living if not pair[0].lease.pool.once]
    most = max(surplus.values())
    if repeated and max(surplus[worker.number] for worker, _ in repeated) >= most * REPEATED_PART:
        living = repeated
        most = max(surplus[worker.number] for worker, _ in living)
    near = [pair for pair in living if surplus[pair[0].number] >= most * NEAR_PART]
    return max(near, key=lambda pair: pair[0].number)


def mib(size: int) -> str:
    """For people."""
    return f"{size / 2**20:,.0f} MiB"
