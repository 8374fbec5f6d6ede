"""How far a call of ``joblib.Parallel`` is: the meter of ``progress``, over batches of any length.

::

    counted(batch, callback) ── CountedBatch: number, cells ──► worker: Counted ── a word at each look
              └─ callback ─► chunk_ended(number) ─► joblib's own

With one job there are no workers: joblib counts its tasks itself, and ``watch`` looks at that until the call is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from distpool.progress import Meter
from distpool.progress_bars import Options
from distpool.progress_cells import Counted, Place

__all__ = ["CountedBatch", "ParallelMeter", "watch"]

#: How often it is looked whether a call without workers is over.
WATCH_S = 0.02


class _Tasks:
    """A call of ``Parallel`` as a meter's promise: how many of its tasks have ended."""

    def __init__(self, parallel: Any) -> None:
        self.parallel = parallel

    @property
    def ended(self) -> int:
        """As joblib counts them."""
        done: int = self.parallel.n_completed_tasks
        return done


class ParallelMeter(Meter):
    """Counts the tasks of one call of ``parallel`` that are done; in ``batches``, or one by one."""

    def __init__(self, parallel: Any, options: Options, *, batches: bool = True) -> None:
        self._tasks = _Tasks(parallel)
        # Chunks of more than one item are what a meter has cells for; how long each batch is, it learns below.
        super().__init__(self._tasks, options, parallel.n_tasks, 2 if batches else 1)  # type: ignore[arg-type]
        self._sizes: dict[int, int] = {}
        self._sent = 0

    def counted_batch(
        self, batch: Any, callback: Callable[[Any], object]
    ) -> tuple[CountedBatch, Callable[[Any], object]]:
        """A batch and its callback, such that its tasks can be seen while it runs."""
        number = self._sent
        self._sent += 1
        self._sizes[number] = len(batch)

        def ended(outcome: Any) -> None:
            self.chunk_ended(number)
            callback(outcome)

        return CountedBatch(batch, number, None if self._cells is None else self._cells.place), ended

    def end(self) -> None:
        """The call is over."""
        aborting: bool = self._tasks.parallel._aborting
        if not aborting:
            self._length = self._tasks.ended
        self.close(stopped=aborting)
        self.wait_last_line()

    def _length_of(self, number: int) -> int:
        return self._sizes.pop(number, 0)


class CountedBatch:
    """A batch whose progress can be seen; called without arguments, as joblib's own."""

    def __init__(self, batch: Any, number: int, place: Place | None) -> None:
        self.batch = batch
        self.number = number
        self.place = place

    def __len__(self) -> int:
        return len(self.batch)

    def __call__(self) -> Any:
        """The results of its tasks."""
        return Counted(_Results(self.batch), self.place)(self.number, self.batch.items)


class _Results:
    """What runs the tasks of a batch that an iterator gives, and between any two of them comes back to Python."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __call__(self, tasks: Iterable[Any]) -> list[Any]:
        self._batch.items = tasks
        results: list[Any] = self._batch()
        return results

    @staticmethod
    def function() -> None:
        """Stands for the tasks' own functions: see ``progress_cells``."""


def watch(parallel: Any, options: Options) -> threading.Thread:
    """Show how far a call of ``parallel`` is that runs on the calling thread."""
    meter = ParallelMeter(parallel, options, batches=False)
    meter.show()
    thread = threading.Thread(target=_watch, args=(parallel, meter), name="distpool-joblib-progress")
    thread.start()
    return thread


def _watch(parallel: Any, meter: ParallelMeter) -> None:
    """Until the call is over; or the program, which waits for this thread, so that the last line is written."""
    while parallel._running and threading.main_thread().is_alive():
        time.sleep(WATCH_S)
    meter.end()
