"""A pytest plugin: swaps, watches, and leaves a verdict for each test of joblib's, in JSON lines.

    COMPAT_JOBLIB = {"swap": true, "notes": FILE, "chosen": FILE}

joblib's tests make their lists of backends from ``joblib.parallel.BACKENDS`` and by the name "loky". So before they
are imported there is one more backend in that table, by the name "distpool", and with the swap loky's place is taken
as ``distpool run`` takes it. Without the swap "distpool" is loky as well: the same tests, with the same names, say
what can be asked for.

The guard notes the class of each process backend that a test has configured, in its own process and in those of its
children that load this plugin's module. Backends that tests derive themselves are their own affair.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

VARIABLE = "COMPAT_JOBLIB"
GUARDED = "joblib.backend"

_order: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
_made: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is collected: the swap."""
    from joblib._parallel_backends import LokyBackend

    watched: list[type] = [LokyBackend]
    if _order["swap"]:
        from distpool import joblib, run

        run.install()
        watched += [joblib.DistpoolBackend, joblib.LokyBackend]
    else:
        from joblib.parallel import register_parallel_backend

        named = type("DistpoolBackend", (LokyBackend,), {"__module__": LokyBackend.__module__})
        register_parallel_backend("distpool", named)
        watched.append(named)
    for cls in watched:
        _watch(cls, watched)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what was chosen and has no verdict yet."""
    with open(_order["chosen"]) as file:
        chosen = json.load(file)
    done = set(chosen["done"])
    tests = None if chosen["tests"] is None else set(chosen["tests"])
    items[:] = [
        item
        for item in items
        if (name := item.nodeid.partition("::")[2]) not in done and (tests is None or name in tests)
    ]


def _watch(cls: Any, watched: list[type]) -> None:
    configure = cls.configure

    @functools.wraps(configure)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if type(self) in watched:
            _made.add(f"{type(self).__module__}.{type(self).__qualname__}")
        return configure(self, *args, **kwargs)

    cls.configure = noting


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Leave a word before and after each test, so that a death is somebody's."""
    name = item.nodeid.partition("::")[2]
    _made.clear()
    _say(event="started", test=name)
    yield
    _say(event="ended", test=name, made=sorted(_made))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What pytest says of a test's phases."""
    if report.when == "call" or report.outcome != "passed":
        skipped_for = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
        _say(
            event="phase",
            test=report.nodeid.partition("::")[2],
            # joblib expects some of its own tests to fail; they are none that can be asked for.
            status="skipped" if hasattr(report, "wasxfail") else report.outcome,
            seconds=report.duration,
            detail=skipped_for or report.longreprtext,
        )


def _say(**event: object) -> None:
    with open(_order["notes"], "a") as notes:
        notes.write(json.dumps(event) + "\n")
