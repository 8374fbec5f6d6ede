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

from collections.abc import Callable, Iterator
from typing import Any

from distpool.scheduler.serialize import PLAIN_TYPES, ids_of, is_plain

#: In the place of a value: the pickle of why there is none. No undecoded value is a dictionary.
ERROR = "e"


class Split:
    """A result that is several values; of a generator that has raised, those before, and the error for all others."""

    __slots__ = ("count", "error", "values")

    def __init__(self, result: Any, count: int) -> None:
        self.count = count
        self.error: Exception | None = None
        self.values: list[Any] = []
        if count == 0:
            return
        try:
            values = iter(result)
        except TypeError:
            raise self._not_so_many(f"a {type(result).__name__}") from None
        if hasattr(values, "__next__") and values is result:
            self._take(values)
        else:
            self.values = list(values)
            if len(self.values) != count:
                raise self._not_so_many(str(len(self.values)))

    def _take(self, values: Iterator[Any]) -> None:
        try:
            for value in values:
                self.values.append(value)
                if len(self.values) > self.count:
                    break
        except Exception as error:
            self.error = error
        if len(self.values) > self.count:
            raise self._not_so_many("more")
        if self.error is None and len(self.values) < self.count:
            self.error = self._not_so_many(str(len(self.values)))

    def _not_so_many(self, instead: str) -> ValueError:
        return ValueError(
            f"the call was to give {self.count} values (num_returns={self.count}), and has returned {instead}"
        )

    def dump(self, dumps: Callable[[Any], bytes], dumps_error: Callable[[Exception], bytes]) -> list[Any]:
        """Each value undecoded, as it goes into an answer; in the place of one that there is not, the error."""
        parts: list[Any] = [
            value if type(value) in PLAIN_TYPES and is_plain(value) else dumps(value) for value in self.values
        ]
        if self.error is not None:
            parts += [{ERROR: dumps_error(self.error)}] * (self.count - len(parts))
        return parts


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
    if type(value) is dict:
        return weight(value[ERROR])
    return len(value) if type(value) is bytes else 8


def names_objects(value: Any) -> bool:
    """Whether an undecoded result refers to what was put into the store for its receiver."""
    if type(value) is list:
        return any(names_objects(part) for part in value)
    if type(value) is dict:
        return names_objects(value[ERROR])
    return type(value) is bytes and bool(ids_of(value))
