"""Watches which classes the tests really instantiate, so that nobody tests the standard library by mistake.

The constructors of the standard class and of its stand-in are wrapped; each instance leaves one line in the
evidence file, from whatever process it is made in. `violations` reads the file: a run in which a test made a
pool of the standard library, or made none of ours where the standard library's run had made one, is void.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from compat_tests.suites.model import Guarded

OURS = "distpool"


def standard_classes(guarded: Iterable[Guarded]) -> dict[Guarded, type]:
    """The classes that stand at the guarded names now: to be called before the swap."""
    return {guard: getattr(importlib.import_module(guard.module), guard.name) for guard in guarded}


def watch(standard: dict[Guarded, type], evidence: Path) -> None:
    """From now on, note in `evidence` each instance of the standard classes and of their stand-ins."""
    for guard, standard_class in standard.items():
        note = functools.partial(_note, guard, evidence)
        _wrap_constructor(standard_class, note)
        stand_in = getattr(importlib.import_module(guard.module), guard.name)
        if stand_in is not standard_class:
            if not isinstance(stand_in, type):
                raise TypeError(
                    f"{guard.module}.{guard.name} was swapped for {stand_in!r}, which is no class"
                )
            _wrap_constructor(stand_in, note)


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


def _wrap_constructor(cls: type[Any], note: Callable[[type], None]) -> None:
    constructor = cls.__init__

    @functools.wraps(constructor)
    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        note(type(self))
        constructor(self, *args, **kwargs)

    cls.__init__ = noting


def _note(guard: Guarded, evidence: Path, cls: type) -> None:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if name in guard.exempt:
        return
    line = json.dumps({"guarded": f"{guard.module}.{guard.name}", "class": name}) + "\n"
    # One small write to a file opened for appending is atomic, so processes need no lock.
    descriptor = os.open(evidence, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
