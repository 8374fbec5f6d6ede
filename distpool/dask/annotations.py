"""Dask's annotations of tasks, and what they ask of the engine.

::

    with dask.annotate(resources={"GPU": 1}, retries=2, priority=10): ...

    an expression, a graph of layers, ``dask.get_annotations()`` ─► Options of each key, those of the layer first

What nobody knows here is an error: work that asks for something must not run without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distpool.dask.errors import AnnotationError

__all__ = ["Options", "options_of"]


@dataclass(frozen=True)
class Options:
    """How a task is to run. ``resources``: names and amounts; ``retries`` None: after a worker's death alone."""

    resources: tuple[tuple[str, float], ...] = ()
    retries: int | None = None
    priority: float = 0


PLAIN = Options()


def options_of(
    by_key: Mapping[str, Mapping[Any, Any]], for_all: Mapping[str, Any], keys: Iterable[Any]
) -> dict[Any, Options]:
    """The options of those keys that have any.

    Args:
        by_key: for each annotation the value of each key that has it.
        for_all: annotations of all keys, unless they have their own.

    Raises:
        AnnotationError: one that there is not, or that cannot have this value.
    """
    _refuse_unknown([*by_key, *for_all])
    base = {name: _READ[name](value) for name, value in for_all.items()}
    if not by_key and not base:
        return {}
    options: dict[Any, Options] = {}
    made: dict[Any, Options] = {}
    for key in keys:
        own = {**base, **{name: _READ[name](values[key]) for name, values in by_key.items() if key in values}}
        if own:
            fresh = Options(**own)
            options[key] = made.setdefault(fresh, fresh)
    return options


def annotations_of(graph: Any) -> dict[str, dict[Any, Any]]:
    """What an expression or a graph of layers says of its keys; nothing for a plain dictionary."""
    if hasattr(graph, "__dask_annotations__"):
        return dict(graph.__dask_annotations__())
    by_key: dict[str, dict[Any, Any]] = {}
    for layer in getattr(graph, "layers", {}).values():
        for name, value in (getattr(layer, "annotations", None) or {}).items():
            values = by_key.setdefault(name, {})
            for key in layer:
                values[key] = value(key) if callable(value) else value
    return by_key


def _refuse_unknown(names: Iterable[str]) -> None:
    for name in names:
        if name in _READ:
            continue
        if name in ("workers", "allow_other_workers"):
            hint = "it names workers of dask.distributed; to choose a node here, ask for resources={'node:NAME': 0.001}"
        else:
            near = difflib.get_close_matches(name, _READ, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_READ)}"
        raise AnnotationError(f"distpool knows no annotation {name!r}: {hint}")


def _resources(value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and _is_number(amount) and amount >= 0 for name, amount in value.items()
    ):
        raise AnnotationError(
            f"the annotation resources is a dictionary of names and amounts of zero or more, not {value!r}"
        )
    return tuple(sorted((name, float(amount)) for name, amount in value.items()))


def _retries(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AnnotationError(f"the annotation retries is a whole number of at least 0, not {value!r}")
    return value


def _priority(value: Any) -> float:
    if not _is_number(value):
        raise AnnotationError(
            f"the annotation priority is a number, greater for what is to come first, not {value!r}"
        )
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_READ: dict[str, Callable[[Any], Any]] = {
    "resources": _resources,
    "retries": _retries,
    "priority": _priority,
}
