"""CPython's tests of `multiprocessing.Pool`: everything in `test._test_multiprocessing` that is about pools.

The process-backed classes only: the thread-backed ones test `multiprocessing.pool.ThreadPool`, which stays
the standard library's, and the manager-backed ones test managers. Classes that are only partly about pools
are taken test by test. A version of Python that lacks one of them simply has fewer tests.
"""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase

from compat_tests.suites.model import Guarded, Suite, tests_of

ABOUT_POOLS = (
    "WithProcessesTestPool.*",
    "WithProcessesTestPoolWorkerErrors.*",
    "WithProcessesTestPoolWorkerLifetime.*",
    "TestInitializers.test_pool_*",
    "TestPoolNotLeakOnFailure.*",
    "TestStdinBadfiledescriptor.test_pool_*",
    "MiscTestCase.test_large_pool",
)


def collect(start_method: str) -> Iterator[tuple[str, unittest.TestCase]]:
    """The pool tests of the interpreter that runs this, as (class.method, test)."""
    host = importlib.import_module(f"compat_tests.hosts.multiprocessing_{start_method}")
    for class_name, case in sorted(vars(host).items()):
        if isinstance(case, type) and issubclass(case, unittest.TestCase):
            for test in tests_of(case):
                name = f"{class_name}.{test._testMethodName}"
                if any(fnmatchcase(name, pattern) for pattern in ABOUT_POOLS):
                    yield name, test


SUITE = Suite(
    name="pool",
    title="multiprocessing.Pool",
    source="test._test_multiprocessing",
    guarded=(Guarded("multiprocessing.pool", "Pool", exempt=("multiprocessing.pool.ThreadPool",)),),
    collect=collect,
)
