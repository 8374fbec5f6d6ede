"""The table of native operations: which methods of which pandas class have a kernel of our own.

An operation is a function from a header (or a grouping) and the method's own arguments to a header, a grouping or a
value. It raises `NotNative` where it would not do exactly what pandas does. The modules of `operations/` register
theirs here; objects.py makes methods of them, with pandas' own signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Native:
    """One operation.

    heavy    a big frame in memory starts a plan here, if there are cores that make it pay
    meets    a frame in memory joins in where the first argument is lazy
    mutates  the result takes the place of the object
    """

    run: Callable[..., Any]
    heavy: bool = False
    meets: bool = False
    mutates: bool = False


TABLE: dict[str, dict[str, Native]] = {}


def native(
    owner: str, *names: str, heavy: bool = False, meets: bool = False, mutates: bool = False
) -> Callable[[F], F]:
    """Register an operation under the names of a class's methods."""

    def register(run: F) -> F:
        for name in names:
            TABLE.setdefault(owner, {})[name] = Native(run, heavy, meets, mutates)
        return run

    return register
