"""What a suite is: which tests, from which files, and which classes must be ours while they run."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

START_METHODS = ("fork", "spawn", "forkserver")


@dataclass(frozen=True)
class Guarded:
    """A class of the standard library that distpool stands in for: "multiprocessing.pool.Pool".

    `exempt` names subclasses of the standard one that stay the standard one on purpose.
    """

    module: str
    name: str
    exempt: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """One of CPython's test files (or a part of it), runnable under each start method.

    `collect(start_method)` yields (name, test) in the interpreter under test; `source` is the package or
    module that holds the tests, which another interpreter may lend where it is missing.
    """

    name: str
    title: str
    source: str
    guarded: tuple[Guarded, ...]
    collect: Callable[[str], Iterator[tuple[str, unittest.TestCase]]]

    def source_files(self, stdlib: Path) -> list[Path]:
        """The files of the suite below `stdlib` (".../lib/python3.13"); none if that build lacks them."""
        base = stdlib.joinpath(*self.source.split("."))
        if base.is_dir():
            return sorted(base.glob("*.py"))
        module = base.with_suffix(".py")
        return [module] if module.exists() else []


def tests_of(case: type[unittest.TestCase]) -> Iterator[unittest.TestCase]:
    """One instance of `case` for each of its test methods."""
    for method in unittest.defaultTestLoader.getTestCaseNames(case):
        yield case(method)
