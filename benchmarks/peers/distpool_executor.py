"""distpool's `ProcessPoolExecutor`."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import ExecutorAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return ExecutorAdapter(module.ProcessPoolExecutor(max_workers=workers, **options))


PEER = Peer(
    name="distpool-executor",
    title="distpool executor",
    family="distpool",
    module="distpool.futures",
    open=_open,
    initializers=True,
)
