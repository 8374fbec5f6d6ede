"""A cluster of another kind that needs no library: its pilots run in the bridge's own process, one thread each.

``here://CPUS:1`` has one node with so many CPUs. What a provider must do, in the fewest lines; the pilots, their agents
and their workers are real.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from distpool.engines.pilot import Pilot
from distpool.errors import ClusterError
from distpool.scheduler.messages import NodeFacts
from distpool.scheduler.shells import bridged

#: While this file is there, under the place that an address names, the cluster is gone.
GONE = "gone"


def register() -> None:
    """Have addresses of this kind understood in this process."""
    bridged.KINDS["here"] = bridged.Kind("Here", __name__, 1, "here://CPUS:1")


def connect(address: str, title: str) -> HereProvider:
    """Raises ClusterError if the cluster is gone."""
    return HereProvider(address, title)


class HereProvider:
    """See ``bridge.Provider``."""

    def __init__(self, address: str, title: str) -> None:
        self._title = title
        self._cpus = float(address.removeprefix("here://").partition(":")[0])
        self._threads = ThreadPoolExecutor(32)
        self._pilots: dict[str, Pilot] = {}

    def start(
        self, pilot: str, owner: str, resources: Mapping[str, float], spread: bool, knock: bytes
    ) -> Future[Any]:
        return self._threads.submit(self._start, pilot, owner, dict(resources), knock)

    def _start(self, pilot: str, owner: str, resources: dict[str, float], knock: bytes) -> None:
        self._pilots[pilot] = Pilot(pilot, owner, resources, knock)

    def call(self, pilot: str, method: str, *args: Any) -> Future[Any]:
        return self._threads.submit(getattr(self._pilots[pilot], method), *args)

    def stop(self, pilot: str) -> None:
        if pilot in self._pilots:
            self._threads.submit(self._pilots.pop(pilot).leave)

    def nodes(self) -> Future[list[NodeFacts]]:
        return self._threads.submit(self._nodes)

    def _nodes(self) -> list[NodeFacts]:
        if Path(GONE).exists():
            raise ClusterError(f"{self._title} is gone")
        total = {"CPU": self._cpus, "token": 1.0}
        return [NodeFacts("here", "tcp://127.0.0.1:1", total, total)]

    def close(self) -> None:
        for pilot in list(self._pilots.values()):
            pilot.leave()
