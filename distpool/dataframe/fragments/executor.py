"""Runs the stages of a plan on the engine.

::

    planner ── Stage ──► queue ── up to `window` under way ──► run_fragment.remote(order, *refs)
            ◄─ pieces ──  ▲                                        │ the report: rows and bytes of each piece
                          └──────────── one is done ◄──────────────┘ the pieces stay where they were made

A piece is a reference: what reads it finds it in its node's store, or has it copied there; when nothing refers to it
any more, it goes. Fragments are taken out of their stage as they are sent, so what they were fed goes with their end.
A worker or a node that dies costs time: the engine makes what was lost again, by lineage. The first error ends the
rest; it is raised as the worker raised it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Protocol

from distpool.dataframe import coverage_counts
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import Fragment, Piece, Stage
from distpool.dataframe.fragments.planner import Made, Planner, Steps
from distpool.dataframe.fragments.progress import Shown
from distpool.dataframe.fragments.sources import sources_of
from distpool.dataframe.fragments.worker import order_of, run, run_fragment
from distpool.dataframe.plan import Node

# How often a fragment is run again whose worker or node has died, or whose pieces were lost.
RETRIES = 5


class Runner(Protocol):
    """Makes the pieces of fragments, and gives their bytes. `cpus` run so many at a time."""

    cpus: int

    def run(self, stage: Stage) -> Made:
        """Run the fragments of a stage; give the pieces of each, in order."""

    def buffers(self, pieces: list[Piece]) -> list[Any]:
        """Give the bytes of pieces."""

    def end(self, how: str) -> None:
        """There is no more to run: it is done, or was stopped."""


def execute(plan: Node, runner: Runner, limits: Limits) -> Any:
    """Run an optimized plan; give its rows as a frame of Polars."""
    from distpool.dataframe.fragments import splitting

    limits = replace(limits, cpus=runner.cpus)
    planner = Planner(plan, sources_of(plan, limits), limits)
    steps = planner.steps()
    how = "stopped"
    try:
        stage = _next(steps, None)
        while isinstance(stage, Stage):
            stage = _next(steps, runner.run(stage))
        rows = splitting.unpack(runner.buffers(stage))
        how = "done"
    finally:
        runner.end(how)
    for step in planner.in_one:
        coverage_counts.add("in one fragment", f"plan: {step}", "it is not known how to do it in parts")
    return rows


def _next(steps: Steps[list[Piece]], made: Made | None) -> Stage | list[Piece]:
    """Give the next stage; or the pieces that are the result."""
    try:
        return steps.send(made)  # type: ignore[arg-type]
    except StopIteration as end:
        result: list[Piece] = end.value
        return result


class OnEngine:
    """Runs fragments as calls of the engine, in the session that there is or that this starts."""

    def __init__(self) -> None:
        import distpool

        self._api: Any = distpool
        self._call = distpool.remote(run_fragment)
        if not distpool.is_initialized():
            distpool.init(ignore_reinit_error=True)
        self.cpus = max(1, int(distpool.cluster_resources().get("CPU", 1)))
        # Enough that no worker waits while the next is sent, and no more: each holds what it reads.
        self._window = 2 * self.cpus
        self._shown = Shown()

    def run(self, stage: Stage) -> Made:
        """See `Runner`."""
        waiting = deque(enumerate(stage.fragments))
        stage.fragments.clear()
        made: Made = [()] * len(waiting)
        under_way: dict[Any, tuple[int, bytes, list[Any]]] = {}
        self._shown.more(len(waiting))
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self._window:
                    at, fragment = waiting.popleft()
                    if fragment.is_here:
                        made[at] = self._here(fragment)
                        self._shown.one_done()
                        continue
                    report, *pieces = self._send(fragment)
                    under_way[report] = (at, fragment.content_name, pieces)
                    del fragment
                if under_way:
                    for report in self._wait(list(under_way)):
                        at, name, pieces = under_way.pop(report)
                        sizes = self._got(report)
                        made[at] = tuple(
                            Piece(name, part, rows, size, ref)
                            for part, ((rows, size), ref) in enumerate(zip(sizes, pieces, strict=True))
                        )
                        self._shown.one_done()
        except BaseException:
            for report in under_way:
                self._api.cancel(report)
            raise
        return made

    def _send(self, fragment: Fragment) -> list[Any]:
        refs = [piece.ref for pieces in fragment.inputs for piece in pieces]
        call = self._call.options(num_returns=fragment.count + 1, max_retries=RETRIES, name=_name(fragment))
        made: list[Any] = call.remote(order_of(fragment), *refs)
        return made

    def _here(self, fragment: Fragment) -> tuple[Piece, ...]:
        report, *buffers = run(order_of(fragment), ())
        return tuple(
            Piece(fragment.content_name, part, rows, size, self._api.put(buffer))
            for part, ((rows, size), buffer) in enumerate(zip(report, buffers, strict=True))
        )

    def _wait(self, reports: list[Any]) -> list[Any]:
        while True:
            ready, rest = self._api.wait(reports, num_returns=1, timeout=self._shown.interval_s)
            if ready:
                # All that are ready by now, without waiting for more.
                more, _ = self._api.wait(rest, num_returns=len(rest), timeout=0) if rest else ([], [])
                return [*ready, *more]
            self._shown.look()

    def buffers(self, pieces: list[Piece]) -> list[Any]:
        """See `Runner`."""
        made: list[Any] = self._got([piece.ref for piece in pieces])
        return made

    def end(self, how: str) -> None:
        """See `Runner`."""
        self._shown.look(how)

    def _got(self, refs: Any) -> Any:
        from distpool.exceptions import RayTaskError

        try:
            return self._api.get(refs)
        except RayTaskError as error:
            raise error.cause from error


def _name(fragment: Fragment) -> str:
    """What tools show of it: the last step that it does."""
    return f"fragment: {type(fragment.body).__name__.lower()}"
