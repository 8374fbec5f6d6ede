"""The shapes that most libraries have: `multiprocessing.Pool`'s, `concurrent.futures.Executor`'s, a module of names.

A peer whose library has one of them is a few lines that open it; the others bring an adapter of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.model import NotOffered

Function = Callable[[Any], Any]


class NoSharing:
    """The part of an adapter that most libraries lack: values stored once for many tasks."""

    def put(self, value: Any) -> Any:
        raise NotOffered("it has no put")

    def get(self, reference: Any) -> Any:
        raise NotOffered("it has no get")

    def submit_put(self, function: Function, reference: Any) -> Any:
        raise NotOffered("it has no put")

    def warm_store(self) -> None:
        """Do nothing: most libraries have no store, or one whose used pages come first."""


class PoolAdapter(NoSharing):
    """Drives whatever has the methods of `multiprocessing.Pool`."""

    def __init__(self, pool: Any, then: Callable[[], object] = lambda: None) -> None:
        """Take an open pool; `then` runs after it was closed (a cluster beneath it to stop, for instance)."""
        self._pool = pool
        self._then = then

    def submit(self, function: Function, argument: Any) -> Any:
        return self._pool.apply_async(function, (argument,))

    def collect(self, handles: list[Any]) -> list[Any]:
        return [handle.get() for handle in handles]

    def call(self, function: Function, argument: Any) -> Any:
        return self._pool.apply(function, (argument,))

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        results: list[Any] = self._pool.map(function, items, chunksize)
        return results

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._pool.imap(function, items))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._pool.imap_unordered(function, items))

    def close(self) -> None:
        self._pool.close()
        self._pool.join()
        self._then()


class ExecutorAdapter(NoSharing):
    """Drives whatever has the methods of `concurrent.futures.Executor`."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def submit(self, function: Function, argument: Any) -> Any:
        return self._executor.submit(function, argument)

    def collect(self, handles: list[Any]) -> list[Any]:
        return [handle.result() for handle in handles]

    def call(self, function: Function, argument: Any) -> Any:
        return self._executor.submit(function, argument).result()

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        return list(self._executor.map(function, items, chunksize=chunksize or 1))

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._executor.map(function, items))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("an executor has no imap_unordered")

    def close(self) -> None:
        self._executor.shutdown(wait=True)


class JoblibAdapter(NoSharing):
    """Drives `joblib.Parallel` on one backend; `config` is for libraries that are built on it."""

    def __init__(self, backend: str, workers: int) -> None:
        self._backend = backend
        self._workers = workers

    def config(self) -> AbstractContextManager[Any]:
        """What joblib does within this, it does on the backend."""
        import joblib

        config: AbstractContextManager[Any] = joblib.parallel_config(
            backend=self._backend, n_jobs=self._workers
        )
        return config

    def submit(self, function: Function, argument: Any) -> Any:
        raise NotOffered("joblib has no single tasks")

    def collect(self, handles: list[Any]) -> list[Any]:
        raise NotOffered("joblib has no single tasks")

    def call(self, function: Function, argument: Any) -> Any:
        raise NotOffered("joblib has no single tasks")

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        return list(self._parallel("list", function, items, chunksize))

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._parallel("generator", function, items, 1))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._parallel("generator_unordered", function, items, 1))

    def _parallel(
        self, return_as: str, function: Function, items: Iterable[Any], chunksize: int | None
    ) -> Iterable[Any]:
        import joblib

        with self.config():
            parallel = joblib.Parallel(return_as=return_as, batch_size=chunksize or "auto")
            results: Iterable[Any] = parallel(joblib.delayed(function)(item) for item in items)
        return results

    def close(self) -> None:
        """Workers stay for the next call, and go with this process."""


class NamesAdapter(NoSharing):
    """No pool at all: the library's module, for rows that use what else it has."""

    def __init__(self, names: Any) -> None:
        self.names = names

    @classmethod
    def of(cls, module: Any, workers: int, **options: Any) -> NamesAdapter:
        """What peers open: nothing, whatever they are asked for."""
        return cls(module)

    def submit(self, function: Function, argument: Any) -> Any:
        raise NotOffered("no pool was opened")

    def collect(self, handles: list[Any]) -> list[Any]:
        raise NotOffered("no pool was opened")

    def call(self, function: Function, argument: Any) -> Any:
        raise NotOffered("no pool was opened")

    def map(self, function: Function, items: Iterable[Any], chunksize: int | None) -> list[Any]:
        raise NotOffered("no pool was opened")

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("no pool was opened")

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        raise NotOffered("no pool was opened")

    def close(self) -> None:
        """Nothing was opened."""


class StartedAdapter(NamesAdapter):
    """A library's module that was started; `stop` ends what runs."""

    def __init__(self, names: Any, stop: Callable[[], object]) -> None:
        super().__init__(names)
        self._stop = stop

    def close(self) -> None:
        self._stop()
