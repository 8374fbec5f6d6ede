"""Best of the rounds, and what it says of each target. Pure: outcomes in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.model import Metric, Outcome, Row, Target


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target of one metric: what was measured (a ratio, or a value), and whether that is enough.

    `measured` and `met` are None where distpool or everybody it is compared with has no number.
    """

    target: Target
    measured: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one row with everybody's best, the reasons of those who have none, and the verdicts."""

    row: Row
    metric: Metric
    best: Mapping[str, float]
    reasons: Mapping[str, str]
    verdicts: tuple[Verdict, ...]

    @property
    def ours(self) -> float | None:
        return self.best.get(self.row.ours)


def judge(rows: Iterable[Row], outcomes: Iterable[Outcome]) -> list[Line]:
    """One line for each metric of each row."""
    outcomes = list(outcomes)
    return [
        _line(row, metric, [outcome for outcome in outcomes if outcome.row == row.key])
        for row in rows
        for metric in row.metrics
    ]


def better(metric: Metric, first: float, second: float) -> float:
    """The better one of two values of a metric."""
    return max(first, second) if metric.better == "higher" else min(first, second)


def _line(row: Row, metric: Metric, outcomes: list[Outcome]) -> Line:
    best: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for outcome in outcomes:
        value = outcome.values.get(metric.key)
        if value is not None:
            best[outcome.peer] = better(metric, value, best.get(outcome.peer, value))
        else:
            reasons[outcome.peer] = outcome.failure or outcome.note
    for peer in best:
        reasons.pop(peer, None)
    verdicts = tuple(_verdict(metric, target, best.get(row.ours), best) for target in metric.targets)
    return Line(row, metric, best, reasons, verdicts)


def _verdict(metric: Metric, target: Target, ours: float | None, best: Mapping[str, float]) -> Verdict:
    measured = ours
    if target.against:
        measured = ratio(metric, ours, [best[name] for name in target.against if name in best])
    if measured is None:
        return Verdict(target, None, None)
    if target.at_least is not None:
        return Verdict(target, measured, measured >= target.at_least)
    assert target.at_most is not None
    return Verdict(target, measured, measured <= target.at_most)


def ratio(metric: Metric, ours: float | None, theirs: list[float]) -> float | None:
    """How many times as good as the best of them; above 1 is better, whichever direction the metric has."""
    if ours is None or not theirs:
        return None
    if metric.better == "higher":
        return ours / max(theirs)
    return min(theirs) / ours if ours else float("inf")
