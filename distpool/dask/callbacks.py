"""Dask's callbacks, told of a computation as Dask's own schedulers tell them.

A callback may look at the *state* of the computation: which tasks wait, are ready, run, have finished. Where there are
callbacks, that state is kept beside the real one (``graph``), by Dask's own functions, so that it is what they expect;
where there are none, it does not exist.

Callbacks run on the thread that computes, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dask.callbacks import unpack_callbacks
from dask.local import finish_task, start_state_from_dask

__all__ = ["Told"]


class Told:
    """Who is to be told of one computation."""

    def __init__(self, callbacks: Iterable[tuple[Callable[..., Any] | None, ...]]) -> None:
        self._callbacks = list(callbacks)
        _, _, self._before, self._after, _ = unpack_callbacks(self._callbacks)
        self._started: list[tuple[Callable[..., Any] | None, ...]] = []
        self._graph: Any = {}
        self._state: dict[str, Any] = {}
        self._results: set[Any] = set()
        self._again: set[Any] = (
            set()
        )  # keys that have been handed to the engine before, and are to be so again
        self._rank: Callable[[Any], Any] = lambda _key: 0

    @property
    def of_tasks(self) -> bool:
        """Whether anybody wants to hear of each task."""
        return bool(self._before or self._after)

    def start(self, graph: dict[Any, Any]) -> None:
        """The computation begins; a callback may change the graph."""
        self._graph = graph
        for callback in self._callbacks:
            if callback[0]:
                callback[0](graph)
            self._started.append(callback)

    def begin(self, graph: dict[Any, Any], results: Iterable[Any], ranks: Mapping[Any, Any]) -> None:
        """It is known what is to be done."""
        self._graph, self._results = graph, set(results)
        self._rank = ranks.__getitem__
        self._state = start_state_from_dask(graph, cache={}, keys=list(self._results), sortkey=self._rank)
        for _, start_state, *_ in self._callbacks:
            if start_state:
                start_state(graph, self._state)

    def before(self, key: Any) -> None:
        """A task is handed to the engine."""
        ready: list[Any] = self._state["ready"]
        if key in self._again:
            pass
        elif ready and ready[-1] == key:  # as it mostly is
            ready.pop()
        else:
            ready.remove(key)
        self._state["running"].add(key)
        for callback in self._before:
            callback(key, self._graph, self._state)

    def back(self, key: Any) -> None:
        """It will be handed to it again."""
        self._state["running"].discard(key)
        self._again.add(key)

    def lost(self, key: Any) -> None:
        """Its value is gone, and will be made again."""
        self._again.add(key)

    def after(self, key: Any, load: Callable[[], Any], worker: Any) -> None:
        """A task has ended well. Its value is loaded for those who want to hear of it, and kept by none of us."""
        state = self._state
        if key in state["finished"]:
            state["running"].discard(key)
        else:
            state["cache"][key] = None
            finish_task(self._graph, key, state, self._results, self._rank)
        self._again.discard(key)
        if self._after:
            value = load()
            for callback in self._after:
                callback(key, value, self._graph, state, worker)

    def finish(self, failed: bool) -> None:
        """It is over, for all who were told of its beginning."""
        for _, _, _, _, finish in self._started:
            if finish:
                finish(self._graph, self._state, failed)
