"""A remote call, as its worker sees it: arguments that were references, and results that are several values.

A call with either comes as a dictionary instead of a list or a pickle::

    a   what a simple call's payload would be: plain arguments, or the pickle of (args, kwargs)
    p   where in these the values of references belong: positions and names
    v   those values, undecoded
    n   into how many values the result is to be taken apart
    t   what the call was named
    g   the call yields its values; how many of them may lie unread (0: any number)

What it is not: needed by a pool's calls, which carry none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpool.scheduler.serialize import PLAIN_TYPES, ids_of, is_plain


class Split:
    """A result that is several values."""

    __slots__ = ("values",)

    def __init__(self, result: Any, count: int) -> None:
        if count == 0:
            self.values: tuple[Any, ...] = ()
            return
        try:
            self.values = tuple(result)
        except TypeError:
            raise ValueError(
                f"the call was to give {count} values (num_returns={count}), and has returned a {type(result).__name__}"
            ) from None
        if len(self.values) != count:
            raise ValueError(
                f"the call was to give {count} values (num_returns={count}), and has returned {len(self.values)}"
            )

    def dump(self, dumps: Callable[[Any], bytes]) -> list[Any]:
        """Each value undecoded, as it goes into an answer."""
        return [
            value if type(value) in PLAIN_TYPES and is_plain(value) else dumps(value) for value in self.values
        ]


def arguments(payload: dict[str, Any], loads: Callable[[Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, with the values of references in their places. Raises what unpickling raises."""
    rest = payload["a"]
    args, kwargs = (rest, {}) if type(rest) is list else loads(rest)
    args = list(args)
    for place, value in zip(payload.get("p", ()), payload.get("v", ()), strict=True):
        if type(value) is bytes:
            value = loads(value)
        if type(place) is int:
            args[place] = value
        else:
            kwargs[place] = value
    return tuple(args), kwargs


def weight(value: Any) -> int:
    """How many bytes an undecoded result weighs."""
    if type(value) is list:
        return sum([weight(part) for part in value])
    return len(value) if type(value) is bytes else 8


def names_objects(value: Any) -> bool:
    """Whether an undecoded result refers to what was put into the store for its receiver."""
    if type(value) is list:
        return any(names_objects(part) for part in value)
    return type(value) is bytes and bool(ids_of(value))
