"""Whether something can be sent to another process, what in it cannot, and how instances of a class are.

::

    inspect_serializability(job)      job                      cannot be pickled
                                        .connection            cannot be pickled
                                          ._lock               cannot be pickled, and has no parts: the culprit

    register_serializer(Handle, serializer=lambda h: h.path, deserializer=Handle)

Stands in for ``ray.util.inspect_serializability``, ``register_serializer`` and ``deregister_serializer``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from distpool.scheduler.serialize import Exporter
from distpool.scheduler.serialize import pickler as pickling
from distpool.scheduler.serialize.explain import PARTS_MAX, short_repr
from distpool.scheduler.serialize.explain import _parts as parts_of

__all__ = ["FailureTuple", "deregister_serializer", "inspect_serializability", "register_serializer"]


class FailureTuple:
    """Something that cannot be pickled.

    Attributes:
        obj: itself.
        name: its name in what it lies in.
        path: the names of all that it lies in, from the outermost, and its own.
        parent: what it lies in; None if it is what was asked about.
    """

    def __init__(self, obj: Any, steps: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.steps = steps  # as they are written: ".name", "[0]"
        self.path = tuple([step.removeprefix(".") for step in steps])
        self.parent = parent

    @property
    def name(self) -> str:
        """Its name in what it lies in."""
        return self.path[-1].rpartition(".")[2] or self.path[-1]

    def __repr__(self) -> str:
        where = "".join(self.steps)
        return f"FailTuple({self.name} [path={where}, obj={short_repr(self.obj)}, parent={short_repr(self.parent)}])"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FailureTuple) and self.obj is other.obj and self.path == other.path

    def __hash__(self) -> int:
        return hash((id(self.obj), self.path))


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Find what in an object keeps it from being sent to another process, and print it.

    Args:
        base_obj: anything: a function, a class, an instance, a container of those.
        name: how it is called in the report; its own name if it has one.
        depth: how many steps to go into it. What lies deeper counts for what it lies in.
        print_file: where the report goes; None: to standard output.

    Returns:
        Whether it can be sent; and of the parts that cannot, those whose own parts all can.
    """
    out = sys.stdout if print_file is None else print_file
    label = name or getattr(base_obj, "__qualname__", None) or type(base_obj).__qualname__
    search = _Search(out)
    error = search.error_of(base_obj)
    if error is None:
        print(f"{label} can be pickled", file=out)
        return True, set()
    print(f"{label} cannot be pickled: {error}", file=out)
    search.go_into(base_obj, (label,), None, depth)
    print("what has to be left out, or made where it is used:", file=out)
    for failure in search.failures:
        print(f"    {''.join(failure.steps)}: {short_repr(failure.obj)}", file=out)
    return False, set(search.failures)


class _Search:
    """Takes an object apart as pickle would, as deep as it is told to."""

    def __init__(self, out: TextIO) -> None:
        self._dumps = Exporter(snapshot=False).dumps
        self._out = out
        self._left = PARTS_MAX
        self._seen: dict[int, Any] = {}  # of what fails; kept, as an id says nothing once its object has gone
        self.failures: list[FailureTuple] = []

    def error_of(self, obj: Any) -> str | None:
        """What pickling it raises, in one line."""
        try:
            self._dumps(obj)
        except Exception as error:
            return f"{type(error).__name__}: {error}".partition("\n")[0]
        return None

    def go_into(self, obj: Any, path: tuple[str, ...], parent: Any, depth: int) -> None:
        """Note ``obj``, which cannot be pickled; or, if there are such, its parts that cannot."""
        self._seen[id(obj)] = obj
        found = False
        for step, part in parts_of(obj) if depth > 0 else ():
            self._left -= 1
            if self._left < 0:
                break
            if id(part) in self._seen:
                found = True
                continue
            error = self.error_of(part)
            if error is None:
                continue
            found = True
            print(f"{'    ' * len(path)}{step}: {error}", file=self._out)
            self.go_into(part, (*path, step), obj, depth - 1)
        if not found:
            self.failures.append(FailureTuple(obj, path, parent))


# -------------------------------------------------------------------- how instances of a class travel

#: Classes with a serializer, which keeps them alive; and what they were pickled by before.
_registered: dict[type, Any] = {}

_PICKLED_BY_C = (
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    bool,
    type(None),
    list,
    tuple,
    dict,
    set,
    frozenset,
)


def register_serializer(
    cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """Have instances of exactly this class pickled as what ``serializer`` makes of them, from this process.

    Args:
        cls: the class; subclasses are not concerned.
        serializer: takes an instance, and returns something that can be pickled.
        deserializer: makes an instance of that. It travels along, so other processes need not know it.

    Raises:
        TypeError: it is no class, or one of a builtin type that pickle treats by itself; they cannot be called.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer takes a class, not a {type(cls).__name__}")
    if cls in _PICKLED_BY_C or issubclass(cls, type):
        raise TypeError(f"how a {cls.__qualname__} is pickled cannot be changed")
    for function in (serializer, deserializer):
        if not callable(function):
            raise TypeError(f"serializer and deserializer are functions, not a {type(function).__name__}")

    def reduce(_pickler: pickling.TaskPickler, obj: Any) -> tuple[Any, ...]:
        return deserializer, (serializer(obj),)

    if cls not in _registered:
        _registered[cls] = pickling._reducers.get(id(cls))
    pickling.register(cls, reduce)


def deregister_serializer(cls: type) -> None:
    """Have instances of this class pickled as if it had never been registered."""
    if cls in _registered:
        before = _registered.pop(cls)
        if before is not None:
            pickling.register(cls, before)
        else:
            pickling._reducers.pop(id(cls), None)
