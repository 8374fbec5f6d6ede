"""`concurrent.futures.ProcessPoolExecutor` with its default start method."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import ExecutorAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return ExecutorAdapter(module.ProcessPoolExecutor(max_workers=workers, **options))


PEER = Peer(
    name="stdlib-executor",
    title="ProcessPoolExecutor",
    family="stdlib",
    module="concurrent.futures",
    open=_open,
    initializers=True,
)
