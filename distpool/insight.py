"""``pool.insight()``: where the time and the data of a pool's workers went, as values and as a table.

::

    >>> print(pool.insight())
    worker   pid   start  set-up    wait    work  tasks  items   data in  data out  peak memory
    1       7164  0.25 s  0.31 s  0.13 s  1.25 s      4    500   7.6 KiB   1.6 KiB     24.0 MiB
    2       7165  0.26 s  0.31 s  0.01 s  1.37 s      4    500   7.7 KiB   1.7 KiB     24.0 MiB
    total         0.51 s  0.63 s  0.14 s  2.62 s      8  1,000  15.3 KiB   3.3 KiB     24.0 MiB

What it is not: a profiler, or a log. All of it is counted anyway, or once for a batch of results.
"""

from __future__ import annotations

from dataclasses import dataclass

from distpool.engines.protocol import WorkerAccount
from distpool.scheduler.shells.accounts import sum_of
from distpool.scheduler.store.files import show_size

__all__ = ["Insight", "WorkerAccount", "insight_of"]

_HEADINGS = (
    "worker", "pid", "start", "set-up", "wait", "work", "tasks", "items", "data in", "data out", "peak memory",
)  # fmt: skip


@dataclass(frozen=True)
class Insight:
    """What a pool's workers have done, one by one (in the order of their coming) and in all.

    Of each: ``start_s`` (until its first word), ``setup_s`` (environment and initializer), ``wait_s`` and ``work_s``
    (without and with a task; a task counts when it is answered), ``tasks`` and the ``items`` in them, ``bytes_in`` and
    ``bytes_out`` of messages (what goes through shared memory is not moved, and not counted), ``peak_bytes`` of memory.
    ``total`` has the sums, and the highest peak.
    """

    workers: tuple[WorkerAccount, ...]
    total: WorkerAccount

    def __str__(self) -> str:
        rows = [_row(_name(number, worker), worker) for number, worker in enumerate(self.workers, 1)]
        table = [_HEADINGS, *rows, _row("total", self.total)]
        widths = [max(len(row[column]) for row in table) for column in range(len(_HEADINGS))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )


def insight_of(accounts: list[WorkerAccount]) -> Insight:
    """The workers' accounts and their sum."""
    return Insight(tuple(accounts), sum_of(accounts))


def _name(number: int, worker: WorkerAccount) -> str:
    if not worker.pid:
        return "earlier"
    return f"{number} (gone)" if worker.gone else str(number)


def _row(name: str, worker: WorkerAccount) -> tuple[str, ...]:
    times = (worker.start_s, worker.setup_s, worker.wait_s, worker.work_s)
    return (
        name,
        str(worker.pid) if worker.pid else "",
        *(f"{seconds:.2f} s" for seconds in times),
        f"{worker.tasks:,}",
        f"{worker.items:,}",
        show_size(worker.bytes_in),
        show_size(worker.bytes_out),
        show_size(worker.peak_bytes),
    )
