"""Ray's stand-in for `multiprocessing.Pool`: actors on a private Ray."""

import importlib
from types import ModuleType

from benchmarks import ray_cluster
from benchmarks.adapters import PoolAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    stop = ray_cluster.start(module, workers)
    pool = importlib.import_module("ray.util.multiprocessing").Pool(workers)
    return PoolAdapter(pool, then=stop)


PEER = Peer(
    name="ray-pool",
    title="Ray Pool",
    family="ray",
    module="ray",
    open=_open,
    distribution="ray",
    isolated=True,
    count_share=ray_cluster.COUNT_SHARE,
    environment=ray_cluster.ENVIRONMENT,
)
