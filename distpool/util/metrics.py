"""Numbers that a program tells about itself: counters, gauges, histograms, each split by tags.

::

    Counter("rows", tag_keys=("file",)).inc(3, {"file": "a"})
        │
        ▼
    this process's series ── snapshot ──► the cluster's (metrics_sharing) ── merged ──► prometheus_text()

Recording costs a lock and a dictionary entry; it sends nothing. Two metrics of one kind and name in a process are the
same series, so a task may make its metrics anew each time it runs. What it is not: how the numbers of other processes
come here (``metrics_sharing``). Stands in for ``ray.util.metrics``.
"""

from __future__ import annotations

import bisect
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distpool import worker_hooks

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "Series", "snapshot"]

Tags = tuple[str, ...]
M = TypeVar("M", bound="Metric")


@dataclass(slots=True)
class Series:
    """All that one process knows of a metric: a value for each combination of tags.

    A value is a number; of a histogram the counts of its buckets (the last is that of what is above all boundaries),
    then the sum.
    """

    kind: str  # "counter", "gauge", "histogram"
    name: str
    description: str = ""
    tag_keys: Tags = ()
    boundaries: tuple[float, ...] = ()
    values: dict[Tags, Any] = field(default_factory=dict)


_lock = threading.Lock()
_series: dict[tuple[str, str], Series] = {}


def snapshot() -> list[Series]:
    """This process's numbers as they are now, copied."""
    with _lock:
        return [
            Series(
                each.kind,
                each.name,
                each.description,
                each.tag_keys,
                each.boundaries,
                {
                    tags: list(value) if each.kind == "histogram" else value
                    for tags, value in each.values.items()
                },
            )
            for each in _series.values()
        ]


def _tell() -> bytes:
    from distpool.util import metrics_sharing  # with its libraries only where somebody asks

    return metrics_sharing.tell()


class Metric:
    """What all kinds have in common.

    Args:
        name: of the metric.
        description: what it counts, for whoever reads the export.
        tag_keys: by what it is split. Each recording then gives a value for every key, or the default tags do.

    Raises:
        ValueError, TypeError: the name is empty or no string; tag_keys are no tuple of strings.
    """

    _KIND = ""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a metric's name is a string, not a {type(name).__name__}")
        if not name:
            raise ValueError("a metric needs a name that is not empty")
        tag_keys = () if tag_keys is None else tag_keys
        if not isinstance(tag_keys, tuple):
            raise TypeError(f"tag_keys is a tuple of strings, not a {type(tag_keys).__name__}")
        for key in tag_keys:
            if not isinstance(key, str):
                raise TypeError(f"tag_keys is a tuple of strings, and in this one is a {type(key).__name__}")
        self._name = name
        self._description = description
        self._tag_keys = tag_keys
        self._default_tags: dict[str, str] = {}
        self._enrol()

    def _enrol(self) -> None:
        """Find this process's series of that name, or begin it."""
        with _lock:
            key = self._KIND, self._name
            is_first = not _series
            if key not in _series:
                _series[key] = Series(*key, self._description, self._tag_keys, self._boundaries())
            self._mine = _series[key]
        if is_first:
            if _is_worker():
                from distpool.util import metrics_sharing

                metrics_sharing.begin()
            else:
                worker_hooks.tell_metrics = _tell

    def _boundaries(self) -> tuple[float, ...]:
        return ()

    def set_default_tags(self: M, default_tags: Mapping[str, str]) -> M:
        """Give values for tags that a recording leaves out. Returns the metric itself.

        Raises:
            ValueError, TypeError: a key that is not among the metric's; a value that is no string.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(
                    f"{self._name} has no tag {key!r}; it has {', '.join(self._tag_keys) or 'none at all'}"
                )
            _check_tag(key, value)
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Its name, description, tag_keys and default_tags, as a dict."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def _tags(self, tags: Mapping[str, str] | None) -> Tags:
        """The values of its keys, in their order. Tags that it has no key for are left out, as Ray does."""
        if not self._tag_keys:
            return ()
        given = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in given]
        if missing:
            raise ValueError(
                f"{self._name} needs a value for each of its tags, and has none for {', '.join(missing)}"
            )
        for key in self._tag_keys:
            _check_tag(key, given[key])
        return tuple(given[key] for key in self._tag_keys)

    def __getstate__(self) -> dict[str, Any]:
        """Without the series, which is this process's own."""
        return {name: value for name, value in vars(self).items() if name != "_mine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enrol()


class Counter(Metric):
    """A number that only grows, such as calls made or bytes read. In the cluster it is the sum over all processes."""

    _KIND = "counter"

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add to it.

        Raises:
            ValueError, TypeError: the value is no number above 0; a tag is missing or no string.
        """
        _check_number(value)
        if value <= 0:
            raise ValueError(f"a counter only grows: value must be above 0, not {value}")
        key = self._tags(tags)
        values = self._mine.values
        with _lock:
            values[key] = values.get(key, 0.0) + value


class Gauge(Metric):
    """A number that goes up and down, such as a queue's length. In the cluster each process has one of its own."""

    _KIND = "gauge"

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """Set it; None leaves it as it is.

        Raises:
            ValueError, TypeError: the value is no number; a tag is missing or no string.
        """
        if value is None:
            return
        _check_number(value)
        key = self._tags(tags)
        with _lock:
            self._mine.values[key] = float(value)


class Histogram(Metric):
    """How often which sizes come, such as seconds per call. In the cluster it is the sum over all processes.

    Args:
        name: of the metric.
        description: what is measured.
        boundaries: where one bucket ends and the next begins, each above 0.
        tag_keys: as of any metric.
    """

    _KIND = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        if not boundaries:
            raise ValueError("a histogram needs its boundaries, for instance boundaries=[0.1, 1, 10]")
        for boundary in boundaries:
            _check_number(boundary)
            if boundary <= 0:
                raise ValueError(f"the boundaries of a histogram are above 0, and one of these is {boundary}")
        self.boundaries = list(boundaries)
        super().__init__(name, description, tag_keys)

    def _boundaries(self) -> tuple[float, ...]:
        return tuple(sorted(self.boundaries))

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count a value in its bucket.

        Raises:
            ValueError, TypeError: the value is no number; a tag is missing or no string.
        """
        _check_number(value)
        key = self._tags(tags)
        mine = self._mine
        place = bisect.bisect_left(mine.boundaries, value)
        with _lock:
            counts = mine.values.get(key)
            if counts is None:
                counts = mine.values[key] = [0] * (len(mine.boundaries) + 1) + [0.0]
            counts[place] += 1
            counts[-1] += value

    @property
    def info(self) -> dict[str, Any]:
        """As of any metric, and its boundaries."""
        return {**super().info, "boundaries": list(self.boundaries)}


def _is_worker() -> bool:
    start = sys.modules.get("distpool.scheduler.shells.worker_start")
    return start is not None and start.this_worker is not None


def _check_number(value: Any) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value is an int or a float, not a {type(value).__name__}")


def _check_tag(key: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"the value of tag {key!r} is a string, not a {type(value).__name__}")
