"""Runs a plan by the route that suits it: here by Polars, or in fragments on the engine.

run(plan) ──► optimizer ─┬─ small enough, or in a worker already ──► polars_route.py
                         └─ too big for this machine, or forced ──► fragments/executor.py
                             (files that other machines do not have: back to the first, counted)
"""

from __future__ import annotations

from typing import Any

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.fragments import choosing
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.header import PlanFailed
from distpool.dataframe.optimizer import optimize
from distpool.dataframe.plan import Node
from distpool.errors import DistpoolError

limits = Limits()


def run(root: Node) -> Any:
    """Optimize and run a plan; give its rows as a frame of Polars.

    Raises PlanFailed for what its rows and files are; what became of workers and machines is raised as it is.
    """
    from distpool.dataframe import polars_route

    if why_in_fragments(root):
        try:
            return _run_in_fragments(root)
        except FileNotFoundError as error:
            # It may well be here: a worker on another machine looked for it.
            coverage_counts.add("fall-back", "plan in fragments", str(error))
    return polars_route.run(root)


def _run_in_fragments(root: Node) -> Any:
    import polars

    from distpool.dataframe.fragments import executor

    try:
        return executor.execute(optimize(root), executor.OnEngine(), limits)
    except (DistpoolError, FileNotFoundError, MemoryError):
        raise
    except (Exception, polars.exceptions.PanicException) as error:
        raise PlanFailed(f"{type(error).__name__}: {error}") from error


def why_in_fragments(root: Node) -> str:
    """Tell why a plan is run in fragments; "" if it is not."""
    from distpool.dataframe.python_functions import inside_worker

    if routes.forced == "cluster":
        return "" if inside_worker() else "the route is cluster"
    if routes.forced or not choosing.may_be_big(root) or inside_worker():
        return ""
    return choosing.why_in_fragments(optimize(root), limits)
