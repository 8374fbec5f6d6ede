"""Columns of files that plans read again and again: from the third run on they are kept in memory.

A notebook reads a file once and asks it twenty questions; pandas has the columns by then. One plan reads what it needs
and keeps nothing. So each `read_parquet` has one of these, which counts, column by column, the runs that have read it,
and goes with the last frame that came of that read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

# Reading three times costs more than keeping; twice may be a look at what is missing, and the plan itself.
KEPT_FROM_RUN = 3
# What is kept may take this share of the memory that is free.
MEMORY_SHARE = 0.25


class KeptColumns:
    """The columns of one read of files. A plan that goes to another process leaves them here."""

    def __init__(self) -> None:
        self._runs: Counter[str] = Counter()
        self._kept: dict[str, Any] = {}

    def __reduce__(self) -> Any:
        return KeptColumns, ()

    def count_run(self, names: Iterable[str]) -> None:
        """Note that a plan reads these columns."""
        self._runs.update(set(names))

    def pay(self, names: Iterable[str], bytes_: int, free_bytes: Callable[[], int]) -> bool:
        """Say whether to keep these columns, of files that take about so much memory."""
        new = [name for name in names if name not in self._kept]
        if not all(self._runs[name] >= KEPT_FROM_RUN for name in new):
            return False
        return not new or bytes_ <= free_bytes() * MEMORY_SHARE

    def columns(self, names: list[str], read: Callable[[list[str]], Any]) -> dict[str, Any]:
        """Give these columns; `read` gives those that are not there yet, as a frame of Polars."""
        new = [name for name in names if name not in self._kept]
        if new:
            rows = read(new)
            self._kept.update((name, rows[name]) for name in new)
        return {name: self._kept[name] for name in names}
