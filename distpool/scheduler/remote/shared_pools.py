"""The workers of remote calls: a pool of shared leases for each shape, and beside it one for each node with much data.

::

    plan ── shape ──► of(plan) ──► the pool of that shape: leases come with the work, and go when there is none
                                      └── near(pool, arguments) ──► beside it, where most of their data lies

Not here: what leases a pool has (``cores.owner_leasing``), and how the core shares calls between a pool and those
beside it (``cores.owner_near``).
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from distpool.engines.protocol import PoolSpec
from distpool.scheduler.messages import Strategy
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote.plans import Plan, Shape
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.session import Session
from distpool.scheduler.store.ledger_table import store_of

__all__ = ["SharedPools"]

#: Leases of one shape, at most. What they ask of a node bounds them, or for those that ask nothing, this.
LEASES_MAX = 1024
FREE_LEASES_MAX = 32
#: So much more of a call's data must lie on another node than on this one for it to be made there.
NEAR_BYTES_MIN = 1 << 20


class SharedPools:
    """Those of a session. Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._of_shape: dict[Shape, NativePool] = {}
        self._near: dict[tuple[int, str], NativePool] = {}  # number of the pool beside it, node
        self._lock = threading.RLock()

    def __iter__(self) -> Iterator[NativePool]:
        return iter(list(self._of_shape.values()))

    def of(self, plan: Plan) -> NativePool:
        """The pool of a plan's shape."""
        shape = plan.shape
        with self._lock:
            pool = self._of_shape.get(shape)
            if pool is None or pool.failure is not None:
                needs = dict(shape.resources)
                setup = plan.setup or (None, ())
                pool = self._of_shape[shape] = self._session.open_pool(
                    PoolSpec(
                        size=LEASES_MAX if any(needs.values()) else FREE_LEASES_MAX,
                        initializer=setup[0],
                        initargs=setup[1],
                        max_tasks=shape.max_calls or None,
                        resources=needs,
                        strategy=shape.strategy,
                        name="RemoteWorker-%d",
                        dedicated=False,
                        self_contained=True,
                        linger_s=shape.linger_s,
                    )
                )
        plan.pool = pool
        return pool

    def near(self, pool: NativePool, values: Sequence[Any]) -> NativePool:
        """The pool for a call that needs these: the one beside ``pool`` of the node where most of the data lies."""
        weights: Counter[int] = Counter()
        for value in values:
            if type(value) is Kept:
                for number, size in zip(stored.ids_of(value.blob), stored.sizes_of(value.blob), strict=True):
                    weights[store_of(number)] += size
        if not weights or pool.spec.strategy != Strategy():
            return pool
        shell = self._session.shell
        best, most = weights.most_common(1)[0]
        node = shell.node_of_store.get(best, "")
        if (
            not node
            or best == self._session.core.store
            or most - weights[self._session.core.store] < NEAR_BYTES_MIN
        ):
            return pool
        with self._lock:
            near = self._near.get((pool.number, node))
            if near is None:
                spec = dataclasses.replace(pool.spec, strategy=Strategy("near", node))
                near = self._near[pool.number, node] = self._session.open(
                    lambda number: NativePool(self._session, number, spec, pool.size, pool)
                )
        return pool if near.closed or near.failure is not None else near
