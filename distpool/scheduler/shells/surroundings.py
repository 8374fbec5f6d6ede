"""What else of a program's surroundings its workers have: warnings filters, log levels, locale, recursion limit.

::

    make_setup ─► describe ── with the set-up, once ────────► adopt        as they were when the pool was made
    OwnerShell ─► log_levels ── with each worker's Setup ───► set_levels   as they are when the worker comes, and
         ▲                      and as LogLevels                           whenever they are changed
         └── LevelWatch

Environment, umask, context variables and the process's identity are ``preparation``'s; working directory, ``sys.path``
and ``sys.argv`` come with ``__main__``. Not carried over: the default encodings of streams, signal handlers, resource
limits beyond what a child of the agent inherits.
"""

from __future__ import annotations

import builtins
import locale
import logging
import re
import sys
import time
import warnings
from typing import Any, cast

import msgspec

__all__ = ["LevelWatch", "adopt", "describe", "log_levels", "set_levels"]


class _Filter(msgspec.Struct, array_like=True):
    """One of ``warnings.filters``: a pattern is a string, or a regular expression with its flags."""

    action: str
    text: tuple[str, int] | str | None
    category_module: str
    category: str
    module: tuple[str, int] | str | None
    lineno: int


class _Surroundings(msgspec.Struct, array_like=True):
    filters: list[_Filter]
    locale: str
    recursion_limit: int


class _Levels(msgspec.Struct, array_like=True):
    root: int
    disable: int
    named: dict[str, int]
    names: dict[int, str]


def describe() -> bytes:
    """Describe this process's."""
    filters = [
        _Filter(action, _pattern(text), kind.__module__, kind.__qualname__, _pattern(module), lineno)
        for action, text, kind, module, lineno in list[Any](warnings.filters)
    ]
    there = _Surroundings(filters, locale.setlocale(locale.LC_ALL), sys.getrecursionlimit())
    return msgspec.msgpack.encode(there)


def _pattern(pattern: Any) -> tuple[str, int] | str | None:
    return pattern if pattern is None or isinstance(pattern, str) else (pattern.pattern, pattern.flags)


def adopt(blob: bytes) -> None:
    """Have this worker stand in them. A locale that this machine has not stays as it is."""
    there = msgspec.msgpack.decode(blob, type=_Surroundings)
    time.tzset()  # the environment has just been changed
    sys.setrecursionlimit(max(there.recursion_limit, sys.getrecursionlimit()))
    if there.locale != locale.setlocale(locale.LC_ALL):
        try:
            locale.setlocale(locale.LC_ALL, there.locale)
        except locale.Error:
            pass
    warnings.resetwarnings()  # makes known, too, that they are others
    warnings.filters[:] = [  # type: ignore[index]
        (one.action, _compiled(one.text), _category(one), _compiled(one.module), one.lineno)
        for one in there.filters
    ]


def _compiled(pattern: tuple[str, int] | str | None) -> Any:
    return re.compile(*pattern) if isinstance(pattern, tuple) else pattern


def _category(one: _Filter) -> type:
    """The category of a filter; where its module is not imported (yet), a class that its subclasses pass for."""
    if one.category_module == "builtins":
        return cast("type", getattr(builtins, one.category, Warning))
    return _Named(one.category, (Warning,), {"__module__": one.category_module})


class _Named(type):
    """A class that stands for the one of this module and name, without importing it."""

    def __subclasscheck__(cls, other: type) -> bool:
        return any(
            (kind.__module__, kind.__qualname__) == (cls.__module__, cls.__qualname__)
            for kind in other.__mro__
        )


def log_levels() -> bytes:
    """The levels of this process's loggers, now. No user code runs."""
    manager = logging.root.manager
    named = {
        name: logger.level
        for name, logger in list(manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    names = {level: name for level, name in list(logging._levelToName.items()) if level not in _STANDARD}
    return msgspec.msgpack.encode(_Levels(logging.root.level, manager.disable, named, names))


_STANDARD = frozenset((0, 10, 20, 30, 40, 50))


class LevelWatch:
    """Notices that this process's log levels have been changed, at the cost of a look into a dict.

    Every logger remembers which levels are enabled, and all forget it whenever a level is set anywhere: so a mark left
    with the root logger is gone then.
    """

    def __init__(self) -> None:
        self._mark: Any = object()

    def has_changed(self) -> bool:
        """Whether some level may have been set since this was last asked; true at first."""
        remembered: dict[Any, bool] = logging.root._cache  # type: ignore[attr-defined]
        if self._mark in remembered:
            return False
        remembered[self._mark] = True
        return True


#: What this worker was given last; none of it yet.
_given = _Levels(-1, -1, {}, {})


def set_levels(blob: bytes) -> None:
    """Give the loggers of this worker those levels, so that what the program would not log costs nothing here.

    The first time, all; then only what has changed, so that a task's own settings stay.
    """
    global _given
    old, new = _given, msgspec.msgpack.decode(blob, type=_Levels)
    _given = new
    for level, name in new.names.items():
        logging.addLevelName(level, name)
    for name in {**old.named, **new.named}:
        if new.named.get(name, 0) != old.named.get(name, 0):
            logging.getLogger(name).setLevel(new.named.get(name, 0))
    if new.root != old.root:
        logging.root.setLevel(new.root)
    if new.disable != old.disable:
        logging.disable(new.disable)
