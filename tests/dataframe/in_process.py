"""Fragments run in this process, one after the other, for tests of what they are and not of where they run."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Iterator
from typing import Any

import distpool.dataframe as pd
from distpool.dataframe import running
from distpool.dataframe.fragments import executor
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import Piece, Stage
from distpool.dataframe.fragments.worker import order_of, run

# Everything that may be exchanged is.
TINY = Limits(fragment_bytes=40, broadcast_bytes=0, gather_bytes=0, pieces_max=3, samples=4, top_rows_max=3)
# Everything is brought together that may be.
CLOSE = Limits(fragment_bytes=40)


class InProcess:
    """Stands in for `executor.OnEngine`."""

    cpus = 1

    def run(self, stage: Stage) -> list[tuple[Piece, ...]]:
        """Run a stage."""
        made = []
        while stage.fragments:
            made.append(self._pieces(stage.fragments.pop(0)))
        return made

    def _pieces(self, fragment: Any) -> tuple[Piece, ...]:
        buffers = [piece.ref for pieces in fragment.inputs for piece in pieces]
        report, *made = run(order_of(fragment), buffers)
        return tuple(
            Piece(fragment.content_name, part, rows, size, buffer)
            for part, ((rows, size), buffer) in enumerate(zip(report, made, strict=True))
        )

    def buffers(self, pieces: list[Piece]) -> list[Any]:
        """Give their bytes."""
        return [piece.ref for piece in pieces]

    def end(self, how: str) -> None:
        """Nothing is shown."""


@contextlib.contextmanager
def fragments(limits: Limits) -> Iterator[None]:
    """Force every plan into fragments of this size, in this process."""
    with (
        pd.route("cluster"),
        unittest.mock.patch.object(running, "limits", limits),
        unittest.mock.patch.object(executor, "OnEngine", InProcess),
    ):
        yield
