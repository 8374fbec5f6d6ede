"""distpool's `Pool`."""

from types import ModuleType

from benchmarks.adapters import PoolAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    return PoolAdapter(module.Pool(workers))


PEER = Peer(name="distpool-pool", title="distpool Pool", family="distpool", module="distpool", open=_open)
