"""loky's reusable executor, the one that joblib stands on."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import ExecutorAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return ExecutorAdapter(module.get_reusable_executor(max_workers=workers, **options))


PEER = Peer(
    name="loky",
    title="loky",
    family="loky",
    module="loky",
    open=_open,
    distribution="loky",
    initializers=True,
)
