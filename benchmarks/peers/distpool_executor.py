"""distpool's `ProcessPoolExecutor`."""

from types import ModuleType

from benchmarks.adapters import ExecutorAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    return ExecutorAdapter(module.ProcessPoolExecutor(max_workers=workers))


PEER = Peer(
    name="distpool-executor",
    title="distpool executor",
    family="distpool",
    module="distpool.futures",
    open=_open,
)
