"""CPython's tests of `ProcessPoolExecutor`: the process-backed classes of `test.test_concurrent_futures`.

The classes for threads and interpreters are left out, and so are the tests of `Future` itself, which use no
executor (distpool's futures are the standard class). A package of modules since 3.12, one module before; a
module that cannot be imported on this version is left out, as the standard library could not pass it either.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import unittest
from collections.abc import Iterator
from types import ModuleType

from compat_tests.suites.model import START_METHODS, Guarded, Suite, tests_of

SOURCE = "test.test_concurrent_futures"


def collect(start_method: str) -> Iterator[tuple[str, unittest.TestCase]]:
    """The executor tests of the interpreter that runs this, as (module.class.method, test)."""
    for module in _modules():
        short = module.__name__.rpartition(".")[2]
        for class_name, case in sorted(vars(module).items()):
            if (
                isinstance(case, type)
                and issubclass(case, unittest.TestCase)
                and case.__module__ == module.__name__
            ):
                for test in tests_of(case):
                    if _start_method_of(case, test._testMethodName) == start_method:
                        yield f"{short}.{class_name}.{test._testMethodName}", test


def _modules() -> Iterator[ModuleType]:
    package = importlib.import_module(SOURCE)
    if not hasattr(package, "__path__"):
        yield package
        return
    for found in pkgutil.iter_modules(package.__path__):
        if found.name.startswith("test_"):
            try:
                yield importlib.import_module(f"{SOURCE}.{found.name}")
            except Exception as error:  # whatever a newer module trips over on this version
                print(f"{SOURCE}.{found.name} cannot be imported here: {error!r}", file=sys.stderr)


def _start_method_of(case: type[unittest.TestCase], method: str) -> str | None:
    """The start method that a test belongs to: its class says so (`ctx`), or else the test's name.

    None for tests that have nothing to do with processes.
    """
    if hasattr(case, "executor_type"):
        return getattr(case, "ctx", None)
    named = method.removeprefix("test_")
    return named if named in START_METHODS else None


SUITE = Suite(
    name="executor",
    title="concurrent.futures.ProcessPoolExecutor",
    source=SOURCE,
    guarded=(Guarded("concurrent.futures.process", "ProcessPoolExecutor"),),
    collect=collect,
)
