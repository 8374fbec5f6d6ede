"""dask.distributed: a `LocalCluster` of single-threaded worker processes and its client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from benchmarks.adapters import Function
from benchmarks.model import Adapter, NotOffered, Peer


class DaskAdapter:
    """Drives one `distributed.Client`.

    `pure=False`: two calls with one argument are two tasks, as everywhere else.
    """

    def __init__(self, client: Any, cluster: Any) -> None:
        self._client = client
        self._cluster = cluster

    def submit(self, function: Function, argument: Any) -> Any:
        return self._client.submit(function, argument, pure=False)

    def collect(self, handles: list[Any]) -> list[Any]:
        results: list[Any] = self._client.gather(handles)
        return results

    def call(self, function: Function, argument: Any) -> Any:
        return self._client.submit(function, argument, pure=False).result()

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        return self.collect(self._client.map(function, list(items), pure=False))

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("dask.distributed has no imap")

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("dask.distributed has no imap_unordered")

    def put(self, value: Any) -> Any:
        return self._client.scatter(value, hash=False)

    def get(self, reference: Any) -> Any:
        return reference.result()

    def submit_put(self, function: Function, reference: Any) -> Any:
        return self.submit(function, reference)

    def graph(self, graph: Any, key: Any) -> Any:
        """The value of one key of a graph (`graphs.GraphAdapter`)."""
        return self._client.get(graph, key)

    def compute(self, collection: Any) -> Any:
        """The value of a collection (`graphs.GraphAdapter`)."""
        return collection.compute(scheduler=self._client)

    def warm_store(self) -> None:
        """Do nothing: its workers keep values in their own memory."""

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


def _open(module: ModuleType, workers: int) -> Adapter:
    cluster = module.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )
    return DaskAdapter(module.Client(cluster), cluster)


PEER = Peer(
    name="dask",
    title="dask.distributed",
    family="dask",
    module="distributed",
    open=_open,
    distribution="distributed",
    count_share=0.05,
)
