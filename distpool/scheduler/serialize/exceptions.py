"""What a task raised, to bytes and back: the user's own type, however odd its constructor.

::

    worker                                                    driver
    error ─► its own type, args, attributes, notes     ─►     an instance of that type, with
             cause, context, children of a group       ─►       the same, rebuilt likewise
             the formatted traceback, user's frames    ─►       __cause__ = wrap(text)

An exception is rebuilt *without its constructor*: allocated by the builtin type that it derives from, then given its
``args`` and attributes. So required or keyword-only arguments, and constructors with side effects, do not
matter. Only a class with a ``__reduce__`` of its own is asked first, and believed if in the worker a round trip gives
that type. Pieces that cannot be pickled (or, tried in the worker, not unpickled) are replaced by their ``repr``. If
the type itself cannot travel, a RemoteError that names it takes its place.

The traceback becomes ``__cause__``, as with ``multiprocessing``; the error's own cause, if it had one, is then the
cause of that.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

from distpool.scheduler.serialize.blobs import loads
from distpool.scheduler.serialize.errors import RemoteError

_CHAIN_MAX = 100
_REPR_CHARS_MAX = 1_000
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep

Dumps = Callable[[Any], bytes]
#: Makes the ``__cause__`` that holds a remote traceback, from its text.
Wrap = Callable[[str], BaseException]
#: A piece of an exception: (True, its pickle) or (False, its repr).
Piece = tuple[bool, Any]


def dump_exception(error: BaseException, *, note: str | None = None, dumps: Dumps | None = None) -> bytes:
    """Pickle an exception with all that belongs to it. Any Exception on the way is dealt with, none is raised.

    Args:
        error: what was raised.
        note: a line to be added to its notes (``add_note``) where it arrives.
        dumps: how values are pickled; by default by reference and by value for any process.
    """
    if dumps is None:
        from distpool.scheduler.serialize.exporter import Exporter

        dumps = Exporter(snapshot=False).dumps
    records: list[dict[str, Any]] = []
    _record(error, records, {}, dumps)
    return pickle.dumps({"records": records, "text": format_remote(error), "note": note}, 5)


def load_exception(blob: bytes | memoryview, wrap: Wrap | None = None) -> BaseException:
    """Rebuild what ``dump_exception`` pickled.

    Args:
        blob: as returned there.
        wrap: makes the ``__cause__`` that holds the remote traceback, for instance
            ``multiprocessing.pool.RemoteTraceback``, which is also the default.
    """
    if wrap is None:
        import multiprocessing.pool

        wrap = multiprocessing.pool.RemoteTraceback  # type: ignore[attr-defined]
    assert wrap is not None
    packed = pickle.loads(blob)
    records = packed["records"]
    made: dict[int, BaseException] = {}
    for index in reversed(range(len(records))):  # children and causes come after those that have them
        made[index] = _rebuild(records[index], made)
    for index, record in enumerate(records):
        _link(made[index], record, made)
    error = made[0]
    if packed["note"] is not None:
        _set(error, "__notes__", [*getattr(error, "__notes__", ()), packed["note"]])
    remote = wrap(f'\n"""\n{packed["text"]}"""')
    remote.__cause__ = error.__cause__
    _set(error, "__cause__", remote)
    return error


def format_remote(error: BaseException) -> str:
    """The traceback as Python prints it, without distpool's own frames."""
    import traceback

    try:
        summary = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _strip(summary)
        return "".join(summary.format())
    except Exception:  # an exception whose attributes raise
        return f"{_type_name(type(error))}: {_safe_repr(error)}\n"


def _strip(summary: Any) -> None:
    """Drop our frames throughout the chain; where nothing else would be left, keep them."""
    todo, seen = [summary], set()
    while todo:
        part = todo.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        users = [frame for frame in part.stack if not frame.filename.startswith(_PACKAGE)]
        if users:
            part.stack[:] = users
        todo += [part.__cause__, part.__context__, *(part.exceptions or ())]


# ------------------------------------------------------------------------------- taking apart


def _record(
    error: BaseException, records: list[dict[str, Any]], seen: dict[int, int], dumps: Dumps
) -> int | None:
    """File ``error`` and whatever hangs on it; its index, or None where the chain is too long."""
    if id(error) in seen:
        return seen[id(error)]
    if len(records) >= _CHAIN_MAX:
        return None
    index = seen[id(error)] = len(records)
    record: dict[str, Any] = {}
    records.append(record)
    kind = type(error)
    record["name"] = _type_name(kind)
    record["text"] = _safe_text(error)
    record["suppress"] = error.__suppress_context__
    record["whole"] = _whole(error, dumps)
    if record["whole"] is None:
        _take_apart(error, record, records, seen, dumps)
    for link in ("__cause__", "__context__"):
        linked = getattr(error, link)
        record[link] = None if linked is None else _record(linked, records, seen, dumps)
    return index


def _take_apart(
    error: BaseException,
    record: dict[str, Any],
    records: list[dict[str, Any]],
    seen: dict[int, int],
    dumps: Dumps,
) -> None:
    """File the pieces of an error whose class does not say itself how to pickle it."""
    record["type"] = _piece(type(error), dumps)
    arguments, state = _builtin_state(error)
    record["state"] = {name: _piece(value, dumps) for name, value in state.items()}
    if isinstance(error, BaseExceptionGroup):
        record["arguments"] = [_piece(error.message, dumps)]
        record["args"] = None
        record["children"] = [_record(child, records, seen, dumps) for child in error.exceptions]
    else:
        record["arguments"] = [_piece(each, dumps) for each in arguments]
        record["args"] = [_piece(each, dumps) for each in error.args]
        record["children"] = None


def _builtin_state(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Constructor arguments and attributes as the *builtin* part of the type reports them."""
    state = dict(getattr(error, "__dict__", None) or {})
    for cls in type(error).__mro__:  # slots of the user's classes
        slots = vars(cls).get("__slots__", ()) if cls.__flags__ & 1 << 9 else ()
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                state[name] = getattr(error, name)
            except AttributeError:
                continue
    try:
        # Not the object that lacks an attribute, though: it may be anything, and Python 3.11 does not pickle it either.
        reduced: Any = _builtin_base(type(error)).__reduce__(error)
        arguments = reduced[1]
        more = reduced[2] if len(reduced) > 2 else None  # name and path of an ImportError, ...
        more = {**more, **state} if isinstance(more, dict) else state
        if isinstance(error, (AttributeError, NameError)):
            more = {name: value for name, value in more.items() if name != "obj"} | {"name": error.name}
        return arguments, more
    except Exception:
        return error.args, state


def _builtin_base(kind: type[BaseException]) -> type[BaseException]:
    """The first type on the way up that is compiled in: its constructor runs no code of the user's.

    The way up is that of the memory layout: of several such bases only this one's constructor will do.
    """
    base: type = kind
    while base.__flags__ & 1 << 9:
        assert base.__base__ is not None
        base = base.__base__
    return base


def _whole(error: BaseException, dumps: Dumps) -> bytes | None:
    """The pickle of an exception whose class says itself how to pickle it, if a round trip gives that class."""
    kind = type(error)
    own = [cls for cls in kind.__mro__ if cls.__flags__ & 1 << 9]
    if not any(name in vars(cls) for cls in own for name in ("__reduce__", "__reduce_ex__", "__getstate__")):
        return None
    try:
        blob = dumps(error)
        return blob if type(loads(blob)) is kind else None
    except Exception:
        return None


def _piece(value: Any, dumps: Dumps) -> Piece:
    try:
        blob = dumps(value)
        loads(blob)
        return True, blob
    except Exception:
        return False, _safe_repr(value)


# ----------------------------------------------------------------------------- putting together


def _rebuild(record: dict[str, Any], made: dict[int, BaseException]) -> BaseException:
    try:
        if record["whole"] is not None:
            return _load_whole(record["whole"])
        return _rebuild_bare(record, made)
    except Exception as failure:
        return RemoteError(record["name"], record["text"], f"{type(failure).__name__}: {failure}")


def _load_whole(blob: bytes) -> BaseException:
    whole = loads(blob)
    if not isinstance(whole, BaseException):
        raise TypeError(f"it was unpickled as a {type(whole).__name__}")
    return whole


def _rebuild_bare(record: dict[str, Any], made: dict[int, BaseException]) -> BaseException:
    can_be_sent, blob = record["type"]
    if not can_be_sent:
        return RemoteError(record["name"], record["text"], "it cannot be pickled")
    kind = loads(blob)
    base = _builtin_base(kind)
    arguments = [_unpiece(piece) for piece in record["arguments"]]
    if record["children"] is not None:
        arguments.append([made[child] for child in record["children"] if child is not None])
    error: BaseException = base.__new__(kind, *arguments)
    base.__init__(error, *arguments)
    if record["args"] is not None:
        _set(error, "args", tuple(_unpiece(piece) for piece in record["args"]))
    for name, piece in record["state"].items():
        try:
            _set(error, name, _unpiece(piece))
        except (AttributeError, TypeError):  # a read-only attribute, or replaced by a repr of the wrong type
            continue
    return error


def _link(error: BaseException, record: dict[str, Any], made: dict[int, BaseException]) -> None:
    cause, context = record["__cause__"], record["__context__"]
    _set(error, "__cause__", None if cause is None else made[cause])
    _set(error, "__context__", None if context is None else made[context])
    _set(error, "__suppress_context__", record["suppress"])


def _unpiece(piece: Piece) -> Any:
    is_pickle, value = piece
    return loads(value) if is_pickle else value


# ------------------------------------------------------------------------------------ helpers

#: Past any ``__setattr__`` of the user's, such as that of a frozen dataclass.
_set = object.__setattr__


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _safe_text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<its str() raised {type(failure).__name__}>"


def _safe_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as failure:
        return f"<{type(value).__qualname__} whose repr() raised {type(failure).__name__}>"
    return text if len(text) <= _REPR_CHARS_MAX else text[:_REPR_CHARS_MAX] + "..."
