"""distpool's `Pool`, with `put` and `get` beside it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from benchmarks import bodies
from benchmarks.adapters import Function, PoolAdapter
from benchmarks.model import Adapter, Peer


class DistpoolPoolAdapter(PoolAdapter):
    """A `Pool`; a reference stays one on its way into a task, which gets the value itself."""

    def __init__(self, distpool: ModuleType, pool: Any) -> None:
        super().__init__(pool)
        self._distpool = distpool

    def put(self, value: Any) -> Any:
        return self._distpool.put(value)

    def get(self, reference: Any) -> Any:
        return self._distpool.get(reference)

    def submit_put(self, function: Function, reference: Any) -> Any:
        return self.submit(bodies.through_get, (function, reference))


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return DistpoolPoolAdapter(module, module.Pool(workers, **options))


PEER = Peer(
    name="distpool-pool",
    title="distpool Pool",
    family="distpool",
    module="distpool",
    open=_open,
    initializers=True,
)
