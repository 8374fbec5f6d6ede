"""Dask on distpool: ``scheduler="distpool"``.

::

    import distpool.dask                                        registers the name
    x.compute(scheduler="distpool")                             one computation
    dask.config.set(scheduler="distpool")                       all of them
    dask.compute(a, b, scheduler=distpool.dask.get)             the function itself
    x = x.persist(scheduler="distpool")                         its chunks stay in the cluster

    collection ─► Dask's own optimization ─► graph ─► Computation ─► calls ─► the engine ─► workers

The graph runs on the session's cluster: the one that starts by itself, or that of DISTPOOL_ADDRESS. Stands in for
``dask.threaded.get``, ``dask.multiprocessing.get`` and ``distributed.Client.get``.
"""

from __future__ import annotations

from distpool.dask.errors import AnnotationError, CycleError, GraphError, MissingKeyError
from distpool.dask.scheduling import Scheduler, register

__all__ = ["AnnotationError", "CycleError", "GraphError", "MissingKeyError", "Scheduler", "get", "register"]

get = register()
