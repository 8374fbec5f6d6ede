"""distpool as Dask's scheduler, in a session of its own."""

from __future__ import annotations

from types import ModuleType

from benchmarks.graphs import GraphAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    import distpool

    distpool.init(num_cpus=workers)
    return GraphAdapter(module.get, distpool.shutdown)


PEER = Peer(name="distpool-dask", title="distpool", family="distpool", module="distpool.dask", open=_open)
