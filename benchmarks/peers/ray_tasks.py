"""Ray's own tasks: `remote`, `get`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from benchmarks import ray_cluster
from benchmarks.adapters import Function
from benchmarks.model import Adapter, NotOffered, Peer


class RayTasksAdapter:
    """Drives Ray tasks as its documentation asks: one remote function, `get` on many references at once."""

    def __init__(self, ray: ModuleType, stop: Callable[[], None]) -> None:
        self._ray = ray
        self._stop = stop
        self._remotes: dict[Function, Any] = {}

    def _remote(self, function: Function) -> Any:
        if function not in self._remotes:
            self._remotes[function] = self._ray.remote(function)
        return self._remotes[function]

    def submit(self, function: Function, argument: Any) -> Any:
        return self._remote(function).remote(argument)

    def collect(self, handles: list[Any]) -> list[Any]:
        results: list[Any] = self._ray.get(handles)
        return results

    def call(self, function: Function, argument: Any) -> Any:
        return self._ray.get(self._remote(function).remote(argument))

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        raise NotOffered("Ray tasks have no map; see the row's Ray Pool")

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("Ray tasks have no imap; see the row's Ray Pool")

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("Ray tasks have no imap_unordered; see the row's Ray Pool")

    def put(self, value: Any) -> Any:
        return self._ray.put(value)

    def get(self, reference: Any) -> Any:
        return self._ray.get(reference)

    def submit_put(self, function: Function, reference: Any) -> Any:
        return self.submit(function, reference)

    def warm_store(self) -> None:
        ray_cluster.warm_store(self._ray)

    def close(self) -> None:
        self._stop()


def _open(module: ModuleType, workers: int) -> Adapter:
    return RayTasksAdapter(module, ray_cluster.start(module, workers))


PEER = Peer(
    name="ray-tasks",
    title="Ray tasks",
    family="ray",
    module="ray",
    open=_open,
    distribution="ray",
    isolated=True,
    count_share=ray_cluster.COUNT_SHARE,
    environment=ray_cluster.ENVIRONMENT,
)
