"""How the calls of a computation are made: their workers, their functions' pickles, and how many are under way.

Tasks with the same resources share workers; a task without any asks for one CPU. Functions mean what they mean when
the computation begins: globals are taken at their values of then.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dask._task_spec import GraphNode, Task
from dask.utils import funcname

from distpool.dask.annotations import Options
from distpool.feeding import default_retries
from distpool.remote_plans import Workers, version, workers_of
from distpool.scheduler import client
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.plans import Plan
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import Exporter
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.session import Session

__all__ = ["Plans"]

#: Workers have imported numpy, pandas and Dask, which takes seconds: they are kept for the next computation, unless
#: somebody else waits for what they hold.
LINGER_S = 60.0
#: Of a session: so that a function that is known to the workers is not sent again by the next computation.
_EXPORTERS: weakref.WeakKeyDictionary[Session, Exporter] = weakref.WeakKeyDictionary()


class Plans:
    """Of one computation."""

    def __init__(self) -> None:
        self._remote = here()
        session = self._remote.session
        exporter = _EXPORTERS.get(session)
        if exporter is None:
            exporter = _EXPORTERS[session] = Exporter(snapshot=False)
        self._exporter = exporter
        self._workers: dict[tuple[tuple[str, float], ...], Workers] = {}
        # By the addresses of functions, which they keep.
        self._plans: dict[tuple[Options, int], tuple[Any, Plan]] = {}
        self._functions: dict[int, tuple[Callable[..., Any], tuple[int, bytes, Any]]] = {}
        self._retries = default_retries(None)
        self._count = client.worker_count()

    def room(self, pool: NativePool | None, limit: int | None, slack: int) -> int:
        """How many calls of a pool may be under way.

        As many as its workers have to do for a moment; ``slack`` times that, if it is many.
        """
        ahead = 2 if pool is None else pool.ahead
        room = self._count * (ahead if ahead <= 2 else ahead * slack)
        return room if limit is None else min(room, limit)

    def of(self, options: Options, node: GraphNode) -> tuple[Plan, NativePool]:
        """How a task is called, and where."""
        function = node.func if isinstance(node, Task) else type(node)
        known = self._plans.get((options, id(function)))
        if known is None:
            made = function, self._make(options, funcname(function))
            known = self._plans[options, id(function)] = made
        plan = known[1]
        pool = plan.pool
        if pool is None or pool.closed or pool.failure is not None:
            pool = self._remote.pools.of(plan)
        return plan, pool

    def _make(self, options: Options, name: str) -> Plan:
        workers = self._workers.get(options.resources)
        if workers is None:
            workers = self._workers[options.resources] = workers_of(_asked(options), default_cpus=1.0)
        return Plan(
            name=name,
            shape=replace(workers.shape, linger_s=LINGER_S),
            setup=workers.setup,
            kept=workers.kept,
            version=version(),
            retries=self._retries if options.retries is None else options.retries,
        )

    def near(self, pool: NativePool, inputs: Sequence[ObjectRef]) -> int:
        """The number of the pool for a call that needs these: of workers where most of their data lies."""
        values = [ref.value for ref in inputs]
        if Kept not in map(type, values):
            return pool.number
        return self._remote.pools.near(pool, values).number

    def function(self, function: Callable[..., Any]) -> tuple[int, bytes, Any]:
        """A function's number, blob, and what keeps it; pickled once for the computation. Raises what that raises."""
        known = self._functions.get(id(function))
        if known is None:
            known = self._functions[id(function)] = function, self._exporter.function(function)
        return known[1]

    def dumps(self, arguments: Any, keep: list[Any], *, brief: bool) -> bytes:
        """Pickle arguments. Raises what that raises."""
        return self._exporter.dumps(arguments, keep=keep, brief=brief)


def _asked(options: Options) -> dict[str, Any]:
    """As options of a remote function."""
    resources = dict(options.resources)
    asked: dict[str, Any] = {
        "num_cpus": resources.pop("CPU", None),
        "num_gpus": resources.pop("GPU", None),
        "memory": resources.pop("memory", None),
    }
    return {**asked, "resources": resources}
