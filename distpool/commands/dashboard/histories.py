"""Numbers over time, in bounded memory: each second of the last minutes, each ten seconds of the last hours.

::

    put(at, {"done": 1200.0, ...}) ──► fine: the last ``FINE_MAX`` as they came
                                  └─► means of ``COARSE_S`` ──► coarse: the last ``COARSE_MAX``
    columns(since) ──► times, and a column for each number, thinned to so many points

Pure: time comes in. A number that was not told at some time is None there, and a gap in the chart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

__all__ = ["History", "thinned"]

FINE_MAX = 600
COARSE_S = 10.0
COARSE_MAX = 1_080

Point = tuple[float, Mapping[str, float]]


class History:
    """See the module."""

    def __init__(self) -> None:
        self._fine: deque[Point] = deque(maxlen=FINE_MAX)
        self._coarse: deque[Point] = deque(maxlen=COARSE_MAX)
        self._gathered: list[Point] = []

    def put(self, at_s: float, values: Mapping[str, float]) -> None:
        """What the numbers are now. Times that do not grow are left out: a clock was set back."""
        if self._fine and at_s <= self._fine[-1][0]:
            return
        point = at_s, dict(values)
        self._fine.append(point)
        if self._gathered and at_s - self._gathered[0][0] >= COARSE_S:
            self._coarse.append(_mean(self._gathered))
            self._gathered.clear()
        self._gathered.append(point)

    def points(self, since_s: float) -> list[Point]:
        """From this time on, oldest first: coarse where that is all there is."""
        fine = [point for point in self._fine if point[0] >= since_s]
        if len(self._fine) < FINE_MAX or (self._fine and self._fine[0][0] <= since_s):
            return fine
        begins_s = fine[0][0] if fine else float("inf")
        return [point for point in self._coarse if since_s <= point[0] < begins_s] + fine

    def columns(self, since_s: float, most: int = 600) -> dict[str, list[float | None]]:
        """The same as columns, with "at" for the times, in ``most`` points or fewer."""
        return columns_of(thinned(self.points(since_s), most))


def columns_of(points: Iterable[Point]) -> dict[str, list[float | None]]:
    """A column for each number, with "at" for the times."""
    points = list(points)
    names = dict.fromkeys(name for _, values in points for name in values)
    table: dict[str, list[float | None]] = {"at": [at_s for at_s, _ in points]}
    for name in names:
        table[name] = [values.get(name) for _, values in points]
    return table


def thinned(points: list[Point], most: int) -> list[Point]:
    """No more than so many points: means of stretches of time, so that nothing is left out; the newest stays."""
    if len(points) <= most or most < 2:
        return points[-max(0, most) :] if most < 2 else points
    begins_s, ends_s = points[0][0], points[-1][0]
    share_s = (ends_s - begins_s) / (most - 1) or 1.0
    groups: dict[int, list[Point]] = {}
    for point in points[:-1]:
        groups.setdefault(min(most - 2, int((point[0] - begins_s) / share_s)), []).append(point)
    return [*map(_mean, groups.values()), points[-1]]


def _mean(points: list[Point]) -> Point:
    sums: dict[str, tuple[float, int]] = {}
    for _, values in points:
        for name, value in values.items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = total + value, count + 1
    return points[-1][0], {name: total / count for name, (total, count) in sums.items()}
