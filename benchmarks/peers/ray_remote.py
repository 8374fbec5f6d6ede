"""Ray as a namespace of names: remote functions, objects and actors, on a private Ray."""

from __future__ import annotations

from types import ModuleType

from benchmarks import ray_cluster
from benchmarks.adapters import StartedAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    return StartedAdapter(module, ray_cluster.start(module, workers))


# No share of the tasks: rows give it the same time as distpool, or say themselves what it gets.
PEER = Peer(
    name="ray-remote",
    title="Ray",
    family="ray",
    module="ray",
    open=_open,
    distribution="ray",
    isolated=True,
    environment=ray_cluster.ENVIRONMENT,
)
