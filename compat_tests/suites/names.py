"""CPython's tests of all the other names of `multiprocessing`: the rest of `test._test_multiprocessing`.

Queues, locks, semaphores, conditions, events, barriers, values, arrays, managers and their containers, processes,
connections, listeners, `wait`, start methods, logging, and whatever a version of Python adds to them.

Left out, with the reason:

    WithThreads...       they test `multiprocessing.dummy`, which is threads, and stays the standard library's
    the pool suite's     they are counted there, against a higher floor
    a manager's pool     is in: `WithManagerTestPool` tests the proxies of a pool that lives in a manager
"""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase

from compat_tests.suites import pool
from compat_tests.suites.model import Guarded, Suite, tests_of

LEFT_OUT = ("WithThreads*", *pool.ABOUT_POOLS)

# What must be distpool's whenever a test makes one; parts that an object makes for itself are its own affair.
MUST_BE_OURS = {
    "multiprocessing.queues": ("Queue", "JoinableQueue", "SimpleQueue"),
    "multiprocessing.synchronize": (
        "Lock",
        "RLock",
        "Semaphore",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "Barrier",
    ),
    "multiprocessing.sharedctypes": ("SynchronizedBase",),
    "multiprocessing.managers": ("BaseManager", "SyncManager"),
}


def collect(start_method: str) -> Iterator[tuple[str, unittest.TestCase]]:
    """The tests of the interpreter that runs this, as (class.method, test)."""
    host = importlib.import_module(f"compat_tests.hosts.multiprocessing_{start_method}")
    for class_name, case in sorted(vars(host).items()):
        if isinstance(case, type) and issubclass(case, unittest.TestCase):
            for test in tests_of(case):
                name = f"{class_name}.{test._testMethodName}"
                if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT):
                    yield name, test


SUITE = Suite(
    name="names",
    title="all other names of multiprocessing",
    source="test._test_multiprocessing",
    guarded=(
        *pool.SUITE.guarded,
        *(Guarded(module, name) for module, names in MUST_BE_OURS.items() for name in names),
    ),
    collect=collect,
)
