"""In the test process: one scheduler stands for all of Dask's, and how often a test has used it is written down.

Every name that Dask knows a scheduler by ("sync", "threads", "processes", ...) means the one under test, and it is the
default: Dask's tests mostly ask for "sync" where they compare. A line of JSON for each test goes into a file of this
process.

What it is not: the judge (``agreement``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import dask
import dask.base
import dask.multiprocessing
import pytest

#: "distpool", or "processes" to measure what Dask's own scheduler of processes passes.
UNDER_TEST = os.environ["DISTPOOL_COMPAT_DASK"]
RECORDS = os.environ["DISTPOOL_COMPAT_RECORDS"]

_calls = 0


def _counted(get: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        global _calls
        _calls += 1
        return get(*args, **kwargs)

    return counted


class _Processes:
    """Dask's scheduler of processes, with one pool for all tests: a new one for each computation takes seconds."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        if kwargs.get("pool") is None and not dask.config.get("pool", None):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    2,
                    mp_context=dask.multiprocessing.get_context(),
                    initializer=dask.multiprocessing.initialize_worker_process,
                )
            kwargs["pool"] = self._pool
        try:
            return dask.multiprocessing.get(dsk, keys, **kwargs)
        except BrokenProcessPool:
            self._pool = None
            raise


def pytest_configure(config: pytest.Config) -> None:
    if UNDER_TEST == "distpool":
        import distpool.dask as door

        # The bound method, since Dask looks there for ``persist``.
        scheduler = type(
            "Counted",
            (door.Scheduler,),
            {name: _counted_method(getattr(door.Scheduler, name)) for name in ("get", "persist")},
        )()
        get = scheduler.get
    else:
        os.environ.setdefault("PYTHONHASHSEED", "6640")
        get = _counted(_Processes().get)
    for name in [*dask.base.named_schedulers]:
        dask.base.named_schedulers[name] = get
    dask.config.set(scheduler=UNDER_TEST)


def _counted_method(get: Callable[..., Any]) -> Callable[..., Any]:
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        global _calls
        _calls += 1
        return get(self, *args, **kwargs)

    return counted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _calls
    _calls = 0
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.when == "call" or (call.when == "setup" and report.outcome != "passed"):
        outcome = f"x{report.outcome}" if hasattr(report, "wasxfail") else report.outcome
        record = {
            "test": f"{item.getparent(pytest.Module).obj.__name__}::{item.nodeid.partition('::')[2]}",
            "outcome": outcome,
            "calls": _calls,
            "seconds": round(report.duration, 3),
            "detail": "" if outcome != "failed" else str(report.longrepr)[-2000:],
        }
        with open(f"{RECORDS}/{os.getpid()}.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
    return report
