"""`multiprocessing.Pool` with the forkserver start method, the default on Linux from Python 3.14."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import PoolAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return PoolAdapter(module.get_context("forkserver").Pool(workers, **options))


PEER = Peer(
    name="stdlib-pool-forkserver",
    title="Pool (forkserver)",
    family="stdlib",
    module="multiprocessing",
    open=_open,
    initializers=True,
)
