"""The metrics of all processes of a cluster: how they come together, and how they are read.

::

    worker: first metric is made ──► a thread of its own: each half second, if something changed
                                          └─ key_put("metrics/<process>", its series) ──► the head
    driver: collect() ── keys("metrics/") ──► merged with its own ──► prometheus_text()
            tell ◄── survey "metrics", of one who is no driver (``distpool dashboard``)

A worker tells once more when it ends, so what it counted stays when it is gone. One that is killed takes its last half
second along. Counters and histograms of all processes are added
up; a gauge is each process's own, and has the process as a tag when it is exported.
"""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from distpool.errors import DistpoolError
from distpool.runtime import is_initialized
from distpool.scheduler.messages import METRICS_PREFIX
from distpool.scheduler.remote import cluster_facts
from distpool.util import metrics
from distpool.util.metrics import Series

__all__ = ["collect", "merged", "prometheus_text"]

_INTERVAL_S = 0.5

Wire = list[tuple[str, str, str, tuple[str, ...], tuple[float, ...], list[tuple[tuple[str, ...], Any]]]]
_decode = msgspec.msgpack.Decoder(Wire).decode


def packed(series: Iterable[Series]) -> bytes:
    """A process's series for the way."""
    return msgspec.msgpack.encode(
        [
            (
                each.kind,
                each.name,
                each.description,
                each.tag_keys,
                each.boundaries,
                list(each.values.items()),
            )
            for each in series
        ]
    )


def unpacked(blob: bytes) -> list[Series]:
    """The other way."""
    return [
        Series(kind, name, description, tag_keys, boundaries, dict(values))
        for kind, name, description, tag_keys, boundaries, values in _decode(blob)
    ]


def merged(by_process: Mapping[str, Iterable[Series]]) -> list[Series]:
    """The series of a whole cluster: sums of counters and histograms; gauges, with the process as a further tag.

    Args:
        by_process: what each has recorded; a process is named "host:pid", or that and "/" and anything.

    Two processes may disagree on the boundaries of a histogram or on the tags of a metric. Then they are two series.
    """
    whole: dict[tuple[Any, ...], Series] = {}
    for process, series in sorted(by_process.items()):
        for each in series:
            is_gauge = each.kind == "gauge"
            label = process.partition("/")[0]
            tag_keys = (*each.tag_keys, "process") if is_gauge else each.tag_keys
            key = each.kind, each.name, tag_keys, each.boundaries
            into = whole.setdefault(
                key, Series(each.kind, each.name, each.description, tag_keys, each.boundaries)
            )
            for tags, value in each.values.items():
                tags = (*tags, label) if is_gauge else tags
                had = into.values.get(tags)
                if had is None or is_gauge:
                    into.values[tags] = list(value) if isinstance(value, (list, tuple)) else value
                elif isinstance(had, list):
                    into.values[tags] = [left + right for left, right in zip(had, value, strict=True)]
                else:
                    into.values[tags] = had + value
    return list(whole.values())


def collect() -> list[Series]:
    """The series of the cluster as they are now, or were half a second ago in a worker that goes on recording.

    Without a session they are this process's own.

    Raises:
        ClusterError: the cluster is gone.
    """
    here = _process_name()
    by_process = {here: metrics.snapshot()}
    if not is_initialized():
        return merged(by_process)
    for key in cluster_facts.keys(METRICS_PREFIX):
        name = key.removeprefix(METRICS_PREFIX)
        blob = cluster_facts.key_get(key)
        if blob is not None and name != here:
            by_process[name] = unpacked(blob)
    return merged(by_process)


#: Tells this process from an earlier one of the same id.
_TOKEN = os.urandom(4).hex()


def _process_name() -> str:
    return f"{os.uname().nodename}:{os.getpid()}/{_TOKEN}"


def tell() -> bytes:
    """This program's own series, with the process's name, for whoever asks in the cluster."""
    return msgspec.msgpack.encode((_process_name(), packed(metrics.snapshot())))


#: What ``tell`` has told: the process's name, and its series.
told: Callable[[bytes], tuple[str, bytes]] = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


# --------------------------------------------------------------------------------- from a worker


class _Teller(threading.Thread):
    """Tells the head what this worker has recorded."""

    def __init__(self) -> None:
        super().__init__(name="distpool-metrics", daemon=True)
        self._ends = threading.Event()
        self._told = b""

    def run(self) -> None:
        """Until the worker ends, or its cluster has."""
        while not self._ends.wait(_INTERVAL_S):
            if not self.tell():
                return

    def tell(self) -> bool:
        """Once. Whether there is somebody to be told."""
        blob = packed(metrics.snapshot())
        if blob != self._told:
            try:
                cluster_facts.key_put(METRICS_PREFIX + _process_name(), blob)
            except (
                DistpoolError,
                RuntimeError,
                OSError,
            ):  # it has ended, and with it whoever would read this
                return False
            self._told = blob
        return True

    def finish(self) -> None:
        """For the last time."""
        self._ends.set()
        self.tell()


def begin() -> None:
    """In a worker, once: tell what it records. Elsewhere whoever asks reads it directly."""
    teller = _Teller()
    teller.start()
    atexit.register(teller.finish)


# ------------------------------------------------------------------------------------- to be read


def prometheus_text(series: Iterable[Series] | None = None, prefix: str = "ray_") -> str:
    """The series of the cluster in the text format that Prometheus reads.

    Args:
        series: others than ``collect()`` gives.
        prefix: of all names.

    Raises:
        ModuleNotFoundError: prometheus-client is not installed.
    """
    try:
        library = importlib.import_module("prometheus_client")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the text format of Prometheus needs the library prometheus-client: pip install prometheus-client "
            "(distpool[metrics]); collect() gives the numbers without it",
            name="prometheus_client",
        ) from error
    registry = library.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(collect() if series is None else list(series), prefix))
    return str(library.generate_latest(registry).decode())


class _Collector:
    """What prometheus-client asks for the numbers."""

    def __init__(self, series: list[Series], prefix: str) -> None:
        self._series = series
        self._prefix = prefix

    def describe(self) -> list[Any]:
        """No names in advance: they need not be looked at twice."""
        return []

    def collect(self) -> Iterable[Any]:
        """A family for each name; if it is of two kinds, the later ones have theirs in the name."""
        core = importlib.import_module("prometheus_client.core")
        kinds = {
            "counter": core.CounterMetricFamily,
            "gauge": core.GaugeMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        taken: dict[str, str] = {}
        families: dict[str, Any] = {}
        for each in self._series:
            name = _name_for_prometheus(self._prefix + each.name)
            if taken.setdefault(name, each.kind) != each.kind:
                name = f"{name}_{each.kind}"
            labels = [_name_for_prometheus(key) for key in each.tag_keys]
            family = families.get(name)
            if family is None:
                family = families[name] = kinds[each.kind](name, each.description or each.name, labels=labels)
            family._labelnames = tuple(labels)  # of two series of one name each has its own
            for tags, value in each.values.items():
                if each.kind == "histogram":
                    family.add_metric(list(tags), *_buckets(each.boundaries, value))
                else:
                    family.add_metric(list(tags), value)
        return families.values()


def _buckets(boundaries: tuple[float, ...], value: list[float]) -> tuple[list[tuple[str, float]], float]:
    """Prometheus counts what is at most the boundary, from the smallest value on."""
    *counts, total = value
    so_far = 0.0
    buckets = []
    for boundary, count in zip((*map(float, boundaries), float("inf")), counts, strict=True):
        so_far += count
        buckets.append(("+Inf" if boundary == float("inf") else repr(boundary), so_far))
    return buckets, total


def _name_for_prometheus(name: str) -> str:
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter == "_") else "_" for letter in name
    )
    return f"_{safe}" if safe[:1].isdigit() else safe
