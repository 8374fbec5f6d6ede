"""Finds what in an object graph cannot be pickled, after pickling it has failed: ``args[0].connection._lock``.

It takes the object apart as pickle would, tries each part by itself, goes on into the first part that fails, and stops
where all parts can be pickled but the whole cannot. That is exact, whatever ``__reduce__`` and ``__getstate__`` do, and
costs a few times the failed pickling. It is bounded in depth, in parts and in time; where a bound is reached, the path
found so far is reported. It never raises.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from distpool.scheduler.serialize.codes import used_names
from distpool.scheduler.serialize.errors import add_note_once, path_note

DEPTH_MAX = 60
PARTS_MAX = 20_000
TIME_MAX_S = 2.0

#: Pickles its argument and throws the result away, or raises.
Try = Callable[[Any], object]
Part = tuple[str, Any]


def explain_pickling(error: BaseException, obj: Any, label: str, attempt: Try) -> None:
    """Hang a note on ``error`` that names the path to what cannot be pickled.

    Args:
        error: what pickling ``obj`` raised.
        obj: what was to be pickled.
        label: how the path begins, for instance "args".
        attempt: pickles one object, or raises.
    """
    if path_note(error) is not None:
        return
    if isinstance(error, RecursionError):  # each try would take as long, and every level is as guilty
        add_note_once(error, f"at {label}: nested too deeply for pickle")
        return
    try:
        path, cause = find_culprit(obj, label, attempt)
        add_note_once(error, f"at {path}: {error if cause is None else cause}")
    except Exception:  # an explanation must never hide what it explains
        add_note_once(error, f"at {label}: {type(error).__name__}")


def find_culprit(obj: Any, label: str, attempt: Try) -> tuple[str, str | None]:
    """The path to the deepest part that fails although its own parts do not, and the text of what it raised."""
    ends_s = monotonic() + TIME_MAX_S
    path: str = label
    cause: str | None = None
    # Objects on the way are kept: an id says nothing once its object has gone.
    on_the_way = [obj]
    left = PARTS_MAX
    while len(on_the_way) < DEPTH_MAX:
        for step, part in _parts(obj):
            left -= 1
            if left < 0 or monotonic() > ends_s:
                return path, cause
            if any(part is earlier for earlier in on_the_way):
                continue
            failure = _failure(part, attempt)
            if failure is not None:
                path, cause, obj = path + step, failure, part
                on_the_way.append(part)
                break
        else:
            return path, cause
    return path, cause


def _failure(part: Any, attempt: Try) -> str | None:
    # The text only: an exception in the frame of one that catches it is a cycle, and keeps the exporter alive.
    if type(part) in (int, str, float, bool, bytes, type(None)):
        return None
    try:
        attempt(part)
    except Exception as error:
        return str(error)
    return None


def _parts(obj: Any) -> Iterator[Part]:
    """What pickle would meet inside ``obj``, each with its step of the path."""
    kind = type(obj)
    if kind in (list, tuple):
        for index, item in enumerate(obj):
            yield f"[{index}]", item
    elif kind is dict:
        for key, value in list(obj.items()):
            yield f".<key {short_repr(key)}>", key
            yield f"[{short_repr(key)}]", value
    elif kind in (set, frozenset):
        for item in obj:
            yield f".<item {short_repr(item)}>", item
    elif kind is FunctionType:
        yield from _function_parts(obj)
    elif kind is CellType:
        try:
            yield ".cell_contents", obj.cell_contents
        except ValueError:
            return
    elif kind is MethodType:
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
    elif isinstance(obj, partial):
        yield ".func", obj.func
        yield from ((f".args[{index}]", item) for index, item in enumerate(obj.args))
        yield from ((f".keywords[{name!r}]", value) for name, value in obj.keywords.items())
    elif isinstance(obj, type):
        yield from ((f".{name}", value) for name, value in list(vars(obj).items()) if name not in _NOT_SENT)
        yield from ((f".__bases__[{index}]", base) for index, base in enumerate(obj.__bases__))
    elif isinstance(obj, ModuleType):
        yield from ((f".{name}", value) for name, value in list(vars(obj).items()) if name not in _NOT_SENT)
    else:
        yield from _reduced_parts(obj)


_NOT_SENT = frozenset(["__dict__", "__weakref__", "__builtins__", "__loader__", "__spec__", "_abc_impl"])


def _function_parts(function: FunctionType) -> Iterator[Part]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f".<closure>.{name}", cell.cell_contents
        except ValueError:
            continue
    for name in used_names(function.__code__).globals:
        if name in function.__globals__:
            yield f".<globals>.{name}", function.__globals__[name]
    for index, value in enumerate(function.__defaults__ or ()):
        yield f".<defaults>[{index}]", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f".<defaults>[{name!r}]", value
    for name, value in function.__dict__.items():
        yield f".{name}", value
    for name, value in function.__annotations__.items():
        yield f".<annotation of {name}>", value


def _reduced_parts(obj: Any) -> Iterator[Part]:
    """The parts that an object's own ``__reduce__`` names; none if that itself is what fails."""
    reduction = sys.modules.get("multiprocessing.reduction")
    extra = reduction.ForkingPickler._extra_reducers.get(type(obj)) if reduction is not None else None
    try:
        reduced = extra(obj) if extra is not None else obj.__reduce_ex__(5)
    except Exception:
        return
    if not isinstance(reduced, tuple):
        return
    _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from _state_parts(state)
    is_exception = isinstance(obj, BaseException)
    for index, argument in enumerate(arguments or ()):
        if argument is not type(obj):
            yield f".args[{index}]" if is_exception else f".<reduced>[{index}]", argument
    for index, item in enumerate(items or ()):
        yield f"[{index}]", item
    for key, value in pairs or ():
        yield f".<key {short_repr(key)}>", key
        yield f"[{short_repr(key)}]", value
    yield f".<class {type(obj).__qualname__}>", type(obj)


def _state_parts(state: Any) -> Iterator[Part]:
    # The default state is the __dict__, or (the __dict__, the slots).
    pieces = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for piece in pieces:
        if isinstance(piece, dict):
            yield from ((f".{name}", value) for name, value in piece.items())
        elif piece is not None:
            yield ".<state>", piece


def short_repr(key: Any) -> str:
    """A ``repr`` that neither raises nor fills the screen."""
    try:
        text = repr(key)
    except Exception:
        text = f"<{type(key).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."
