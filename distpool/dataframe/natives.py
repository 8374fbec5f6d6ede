"""The table of native operations: which methods of which pandas class have a kernel of our own.

An operation is a function from a header (or a grouping) and the method's own arguments to a header, a grouping or a
value. It raises `NotNative` where it would not do exactly what pandas does. objects.py and helpers.py make methods of
them, with pandas' own signature.

    native_names.py ──► TABLE: a `Native` for each method, nothing imported yet
                          │ first call
                          ▼
    operations/*.py     the module is imported, and `@native` puts its functions there

So a program that never makes a plan never imports an operation. A test holds that names and decorators say the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from distpool.dataframe.native_names import HEAVY, MEETS, NAMES

F = TypeVar("F", bound=Callable[..., Any])


class Native:
    """One operation.

    heavy    a big frame in memory starts a plan here, if there are cores that make it pay
    meets    a frame in memory joins in where the first argument is lazy
    mutates  the result takes the place of the object; known once it is loaded
    traced   it tells itself which calls of pandas its result stands for; likewise
    """

    __slots__ = ("_run", "heavy", "meets", "module", "mutates", "traced")

    def __init__(self, module: str, *, heavy: bool, meets: bool) -> None:
        self.module, self.heavy, self.meets = module, heavy, meets
        self.mutates = self.traced = False
        self._run: Callable[..., Any] | None = None

    @property
    def run(self) -> Callable[..., Any]:
        """The operation itself. The first to ask for one imports its module."""
        if self._run is None:
            importlib.import_module(f"distpool.dataframe.{self.module}")
            assert self._run is not None, f"{self.module} does not register what native_names.py says of it"
        return self._run


TABLE: dict[str, dict[str, Native]] = {}
for _module, _owners in NAMES.items():
    for _owner, _methods in _owners.items():
        for _name in _methods.split():
            _label = f"{_owner}.{_name}"
            TABLE.setdefault(_owner, {})[_name] = Native(
                _module, heavy=_label in HEAVY, meets=_label in MEETS
            )


def native(
    owner: str,
    *names: str,
    heavy: bool = False,
    meets: bool = False,
    mutates: bool = False,
    traced: bool = False,
) -> Callable[[F], F]:
    """Register an operation under the names of a class's methods."""

    def register(run: F) -> F:
        for name in names:
            known = TABLE.setdefault(owner, {}).setdefault(name, Native("", heavy=heavy, meets=meets))
            known._run, known.mutates, known.traced = run, mutates, traced
            known.heavy, known.meets = heavy, meets
        return run

    return register


def load_all() -> None:
    """Import every module of operations, for who wants to look at them."""
    from distpool.dataframe import operations, readers  # noqa: F401
