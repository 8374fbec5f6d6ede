"""Dask's own scheduler of threads, in this process."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool
from types import ModuleType
from typing import Any

from benchmarks.graphs import GraphAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    pool = ThreadPool(workers)

    def get(*args: Any, **kwargs: Any) -> Any:
        return module.get(*args, pool=pool, **kwargs)

    def close() -> None:
        pool.close()
        pool.join()

    return GraphAdapter(get, close)


PEER = Peer(
    name="dask-threads",
    title="Dask, threads",
    family="dask",
    module="dask.threaded",
    open=_open,
    distribution="dask",
)
