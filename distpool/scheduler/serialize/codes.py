"""Which names a function's code reads, and which submodules it reaches through them. Reads code, runs nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from opcode import opmap
from types import CodeType, ModuleType
from typing import Any, NamedTuple

_EXTENDED_ARG = opmap["EXTENDED_ARG"]
_LOAD_GLOBAL = opmap["LOAD_GLOBAL"]
#: Class bodies read globals with these; an argument of LOAD_GLOBAL has a flag in its lowest bit.
_LOAD_NAME = frozenset(opmap[op] for op in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if op in opmap)


class UsedNames(NamedTuple):
    """The names that some code reads as globals, in order; and all names in it, attributes included."""

    globals: tuple[str, ...]
    all: frozenset[str]


def used_names(code: CodeType) -> UsedNames:
    """What ``code`` and the functions and classes that it defines read."""
    read: dict[str, None] = {}
    every: set[str] = set()
    todo = [code]
    while todo:
        code = todo.pop()
        every.update(code.co_names)
        for name in _global_reads(code):
            read[name] = None
        todo += [const for const in code.co_consts if isinstance(const, CodeType)]
    return UsedNames(tuple(read), frozenset(every))


def _global_reads(code: CodeType) -> Iterable[str]:
    raw, names = code.co_code, code.co_names
    extension = 0
    for position in range(0, len(raw), 2):
        op, argument = raw[position], raw[position + 1] | extension
        extension = argument << 8 if op == _EXTENDED_ARG else 0
        if op == _LOAD_GLOBAL:
            yield names[argument >> 1]
        elif op in _LOAD_NAME:
            yield names[argument]


def used_submodules(names: frozenset[str], values: Iterable[Any]) -> list[str]:
    """Imported submodules of the packages among ``values`` that code with these names can reach.

    ``import concurrent.futures`` binds only ``concurrent``: a worker that imports just that lacks the submodule.
    """
    prefixes = tuple(f"{value.__name__}." for value in values if _is_package(value))
    if not prefixes:
        return []
    found = []
    for name in list(sys.modules):  # a copy: other threads import
        for prefix in prefixes:
            if name.startswith(prefix) and names.issuperset(name[len(prefix) :].split(".")):
                found.append(name)
    return found


def _is_package(value: Any) -> bool:
    return isinstance(value, ModuleType) and hasattr(value, "__path__")
