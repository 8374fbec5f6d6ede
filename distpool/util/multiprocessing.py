"""Ray's module of this name: ``Pool`` of ``distpool``, with the two arguments that Ray's has beyond the standard one's.

::

    from distpool.util.multiprocessing import Pool
    Pool(ray_address="auto")                      joins a cluster, as ``init(address)`` does
    Pool(4, ray_remote_args={"num_cpus": 2})      what each of the four workers takes of its node

Stands in for ``ray.util.multiprocessing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import JoinableQueue
from typing import Any, TypeVar

from distpool import pool, remote_options
from distpool.errors import TimeoutError
from distpool.runtime import init, is_initialized

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]

T = TypeVar("T")

#: What a pool's workers may be asked to have.
_TAKEN = ("num_cpus", "num_gpus", "memory", "resources", "accelerator_type")


class Pool(pool.Pool):
    """A pool of workers (``ray.util.multiprocessing.Pool``).

    Args:
        processes: how many; None: as many as there are CPUs in the cluster.
        initializer, initargs: called in each worker before anything else.
        maxtasksperchild: how many calls a worker serves before it is replaced.
        context: accepted, and means nothing.
        ray_address: the cluster to join, if none is in use; None: as ``init`` has it.
        ray_remote_args: what each worker takes of its node: ``num_cpus`` (0), ``num_gpus``, ``memory``, ``resources``.

    Raises:
        ValueError: an option of ``ray_remote_args`` that a pool's workers do not have.
        ConnectionError: nobody answers at the address.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        options = remote_options.check(remote_options.TASK, ray_remote_args or {}, "ray_remote_args")
        if other := [name for name in options if name not in _TAKEN]:
            raise ValueError(
                f"the workers of a pool have no option {other[0]}; there are: {', '.join(_TAKEN)}"
            )
        if not is_initialized():
            init(ray_address)
        super().__init__(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            resources=remote_options.resources_of(options, 0.0),
        )

    def imap(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1, **options: Any
    ) -> Iterator[T]:
        """As ``distpool.Pool.imap``; ``next`` takes a time-out whatever the ``chunksize``, which is taken for 1.

        Raises TypeError if ``iterable`` is none.
        """
        return super().imap(func, iter(iterable), min(chunksize, 1), **options)

    def imap_unordered(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1, **options: Any
    ) -> Iterator[T]:
        """Likewise."""
        return super().imap_unordered(func, iter(iterable), min(chunksize, 1), **options)
