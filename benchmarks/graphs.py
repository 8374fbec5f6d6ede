"""The adapter of what computes Dask's graphs, for rows that have graphs and collections instead of tasks."""

from __future__ import annotations

from typing import Any

from benchmarks.adapters import StartedAdapter


class GraphAdapter(StartedAdapter):
    """Drives one scheduler of Dask's by its `get` function, which is its `names`."""

    def graph(self, graph: Any, key: Any) -> Any:
        """The value of one key of a graph."""
        return self.names(graph, key)

    def compute(self, collection: Any) -> Any:
        """The value of a collection."""
        return collection.compute(scheduler=self.names)
