"""Watches which classes the tests really instantiate, so that nobody tests the standard library by mistake.

The constructors of the standard classes and of their stand-ins are wrapped; each instance that a test makes leaves
one line in the evidence file, from whatever process it is made in. `violations` reads the file: a run in which a
test made a queue of the standard library, or made none of ours where the standard library's run had made one, is
void.

Noted is what the *test* makes, by the class or by a function of the library. The lock that a queue makes for itself
is a part of the queue: distpool's may be built of other parts.

    test ─► multiprocessing.Queue() ─► Queue.__init__ (noted) ─► ctx.Lock() ─► Lock.__init__ (a part: not noted)
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from compat_tests.suites.model import Guarded

OURS = "distpool"

# Whose calls are the library's own; and those of them that only hand a test's call on.
_LIBRARY = ("multiprocessing", "concurrent", OURS)
_HANDS_ON = (
    "multiprocessing",
    "multiprocessing.context",
    "distpool.context",
    "distpool.context_makers",
    "distpool.run",
)


def standard_classes(guarded: Iterable[Guarded]) -> dict[Guarded, type]:
    """The classes that stand at the guarded names now: to be called before the swap."""
    return {guard: getattr(importlib.import_module(guard.module), guard.name) for guard in guarded}


def watch(standard: dict[Guarded, type], evidence: Path) -> None:
    """From now on, note in `evidence` each instance of the standard classes and of their stand-ins."""
    watched: dict[type, Guarded] = {}
    for guard, standard_class in standard.items():
        stand_in = getattr(importlib.import_module(guard.module), guard.name)
        if not isinstance(stand_in, type):
            raise TypeError(f"{guard.module}.{guard.name} was swapped for {stand_in!r}, which is no class")
        watched[standard_class] = watched[stand_in] = guard
    for cls in watched:
        _wrap_constructor(cls, functools.partial(_note, watched, evidence))


def made(evidence: Path) -> dict[str, set[str]]:
    """What was instantiated: guarded name -> the classes ("module.name") of its instances."""
    classes: dict[str, set[str]] = {}
    if evidence.exists():
        for line in evidence.read_text().splitlines():
            entry = json.loads(line)
            classes.setdefault(entry["guarded"], set()).add(entry["class"])
    return classes


def violations(made_here: dict[str, set[str]], made_by_stdlib: Iterable[str]) -> list[str]:
    """What is wrong with a test's evidence, in sentences; empty if all instances were distpool's.

    `made_by_stdlib`: the guarded names of which the standard library's run of this test made instances.
    """
    found = []
    for guarded, classes in sorted(made_here.items()):
        foreign = sorted(name for name in classes if name.split(".")[0] != OURS)
        if foreign:
            found.append(f"made instances of {', '.join(foreign)} instead of distpool's {guarded}")
    found += [f"made no {guarded} at all" for guarded in sorted(set(made_by_stdlib) - set(made_here))]
    return found


def _wrap_constructor(cls: type[Any], note: Callable[[type, object, FrameType], None]) -> None:
    own = vars(cls).get("__init__")

    @functools.wraps(cls.__init__)
    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        note(cls, self, sys._getframe(1))
        if own is not None:
            own(self, *args, **kwargs)
        else:  # which class is next depends on what `self` is an instance of
            super(cls, self).__init__(*args, **kwargs)

    cls.__init__ = noting


def _note(
    watched: dict[type, Guarded], evidence: Path, cls: type, instance: object, caller: FrameType
) -> None:
    """Leave a line for `instance`, unless a wrapper of a more special class does, or it is a part of something."""
    kinds = type(instance).__mro__
    if cls is not next(kind for kind in kinds if kind in watched):
        return
    guard = watched[cls]
    if any(_name(kind) in guard.exempt for kind in kinds) or not _made_by_a_test(cls, instance, caller):
        return
    line = json.dumps({"guarded": f"{guard.module}.{guard.name}", "class": _name(cls)}) + "\n"
    # One small write to a file opened for appending is atomic, so processes need no lock.
    descriptor = os.open(evidence, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _made_by_a_test(cls: type, instance: object, caller: FrameType) -> bool:
    """Look who asked for `instance`: behind its class's own module, and what only hands on, is it a test?"""
    frame: FrameType | None = caller
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in (*_LIBRARY, __package__):
            return True
        if module not in (*_HANDS_ON, cls.__module__, __name__):
            return False
        arguments = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if frame.f_code.co_name == "__init__" and frame.f_locals.get(arguments[0]) is not instance:
            return False
        frame = frame.f_back
    return True


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
