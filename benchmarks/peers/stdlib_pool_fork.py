"""`multiprocessing.Pool` with the fork start method, the default on Linux up to Python 3.13."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import PoolAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return PoolAdapter(module.get_context("fork").Pool(workers, **options))


PEER = Peer(
    name="stdlib-pool-fork",
    title="Pool (fork)",
    family="stdlib",
    module="multiprocessing",
    open=_open,
    initializers=True,
)
