"""The schedule: for each row, for each round, every peer once, in an order that turns by one each round.

Peers of one row are measured minutes apart at most and each in every position, so that a busy machine slows
all of them alike; only the ratios within a row mean anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks import lane
from benchmarks.environment import Place, Places
from benchmarks.model import Outcome, Peer, Row
from benchmarks.report import number

# One retry of a peer that failed costs its whole time-out; after this many failures in a row it is left out.
_FAILURES_MAX = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures."""

    rows: tuple[Row, ...]
    peers: Mapping[str, Peer]
    places: Places
    rounds: int
    quick: bool

    def lineup(self, row: Row) -> list[Peer]:
        """The row's peers that take part in this run, installed or not."""
        return [self.peers[name] for name in row.lineup if name in self.peers]

    def rounds_of(self, row: Row) -> int:
        return min(self.rounds, row.rounds_max or self.rounds)

    def count_of(self, row: Row, peer: Peer) -> int:
        """How many tasks this peer runs in this row."""
        share = row.share_of(peer) * (row.quick_share if self.quick else 1.0)
        return max(1, round(row.count * share))

    def measurements(self) -> Iterator[tuple[Row, int, Peer]]:
        for row in self.rows:
            lineup = self.lineup(row)
            for turn in range(self.rounds_of(row)):
                start = turn % len(lineup) if lineup else 0
                for peer in (*lineup[start:], *lineup[:start]):
                    yield row, turn, peer


def run(plan: Plan) -> list[Outcome]:
    """Measure everything in the plan, telling on standard error what is being done; return all outcomes."""
    outcomes: list[Outcome] = []
    failures: dict[tuple[str, str], int] = {}
    steps = list(plan.measurements())
    began = time.monotonic()
    for step, (row, turn, peer) in enumerate(steps, start=1):
        key = (row.key, peer.name)
        place = plan.places.find(peer, row.needs)
        label = f"[{step}/{len(steps)}] {row.key}, round {turn + 1} of {plan.rounds_of(row)}: {peer.title}"
        if failures.get(key, 0) >= _FAILURES_MAX:
            continue
        if not isinstance(place, Place):
            outcome = Outcome(peer.name, row.key, failure=place)
        else:
            _tell(f"{label} ...", end="")
            outcome = lane.measure(peer, row, place.python, plan.count_of(row, peer))
            _tell(f" {_summary(row, outcome)}{_remaining(began, step, len(steps))}")
        if outcome.failure or outcome.not_offered:
            failures[key] = failures.get(key, 0) + 1
        outcomes.append(outcome)
    return outcomes


def _summary(row: Row, outcome: Outcome) -> str:
    if outcome.failure:
        return outcome.failure
    if outcome.not_offered:
        return outcome.note
    values = ", ".join(
        f"{number(outcome.values[metric.key])} {metric.unit}"
        for metric in row.metrics
        if metric.key in outcome.values
    )
    return f"{values} ({outcome.note})" if outcome.note else values


def _remaining(began: float, done: int, total: int) -> str:
    left_s = (time.monotonic() - began) / done * (total - done)
    return f"   [about {left_s / 60:.0f} min left]" if left_s >= 60 else ""


def _tell(text: str, end: str = "\n") -> None:
    print(text, file=sys.stderr, flush=True, end=end)
