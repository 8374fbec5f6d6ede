"""Lends a test package of one interpreter to another whose build leaves it out.

The package is loaded from where it lies, under its own name. Where it is newer than the interpreter, it may
use helpers of `test.support` that are not there yet; those that only describe the build are supplied here.
Whatever else is missing makes the standard library fail too, and so leaves the denominator.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

_T = TypeVar("_T")


def lend(folders: dict[str, str]) -> None:
    """Make each of `folders` (module name -> path of the package or module) importable in this process."""
    sys.meta_path.append(_Lender({name: Path(path) for name, path in folders.items()}))


class _Lender:
    """A finder for exactly the borrowed names; the modules inside a borrowed package are found as ever."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = self._places.get(fullname)
        if place is None:
            return None
        _supply_helpers()
        if place.is_dir():
            return importlib.util.spec_from_file_location(
                fullname, place / "__init__.py", submodule_search_locations=[str(place)]
            )
        return importlib.util.spec_from_file_location(fullname, place)


def _supply_helpers() -> None:
    """Give an older `test.support` what a newer one knows about builds, all of which older builds are not."""
    support = importlib.import_module("test.support")
    for name, helper in (("Py_GIL_DISABLED", False), ("requires_gil_enabled", _unconditional)):
        if not hasattr(support, name):
            setattr(support, name, helper)
    for name, on_another_build in (("check_sanitizer", False), ("skip_if_sanitizer", _unchanged)):
        known = getattr(support, name)
        if "thread" not in inspect.signature(known).parameters:
            setattr(support, name, _without_thread_sanitizer(known, on_another_build))


def _unchanged(test: _T) -> _T:
    return test


def _unconditional(message: str = "") -> Callable[[_T], _T]:
    """Stands in for a decorator that skips a test on builds without a GIL."""
    return _unchanged


def _without_thread_sanitizer(known: Callable[..., Any], on_another_build: Any) -> Callable[..., Any]:
    """Let a question about sanitizers take the name of one that this version cannot be built with."""

    @functools.wraps(known)
    def asked(*args: Any, thread: bool = False, **others: Any) -> Any:
        return known(*args, **others) if others or not thread else on_another_build

    return asked
