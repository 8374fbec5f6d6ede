"""What a checkpoint knows functions and items by: digests that are the same in the next run of the program.

::

    function ─► name, code, defaults, captured values, and the globals that it reads if it travels by value ─┐
    item ─────► its pickle, without memo and with its sets in order ─────────────────────────────────────────┴─► blake2b

The code counts without line numbers and comments. A function that workers import counts with its own code, but not with
what it calls: as far as distpool's serializer looks, and no further. Another version of Python compiles to other code,
so nothing is recognised then; that costs time, and never gives a wrong result.

What it is not: proof against what neither shows, such as a data file that has changed. Delete the folder then.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
from collections.abc import Callable
from hashlib import blake2b
from types import CodeType, FunctionType, ModuleType
from typing import Any, ClassVar

from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize.codes import used_names
from distpool.scheduler.serialize.importable import is_by_reference

__all__ = ["Digester"]

#: The pickles of sets: their order depends on the hashes of this run.
_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)
#: What is written in larger pieces is data, and holds no opcodes.
_FRAME_BYTES_MAX = 128 << 10
#: What can be told apart by its repr.
_PLAIN = frozenset((int, float, str, bytes, bool, type(None)))
_UNREAD = frozenset(("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__"))


_CALL = "__call__"  # as a class has it, which may be inherited


class Digester:
    """One for each map; not thread-safe. ``bytes_max`` of a digest is 16."""

    def __init__(self) -> None:
        self._names: dict[
            int, tuple[Any, bytes]
        ] = {}  # functions and classes that were taken apart, kept alive
        self._active: set[int] = set()
        self._idle: dict[type, Any] = {}

    def function(self, function: Callable[..., Any]) -> bytes:
        """The identity of what is mapped.

        Raises:
            TypeError: it holds something that cannot be pickled, so that it could be taken for another.
        """
        parts = [self.value(function)]
        if isinstance(function, FunctionType):
            parts.append(self._function(function))
        elif isinstance(call := getattr(type(function), _CALL, None), FunctionType):
            parts.append(self._function(call))
        inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
        if isinstance(function, functools.partial):
            inner = function.func
        if inner is not None:
            parts.append(self.function(inner))
        return _digest(*parts)

    def value(self, value: Any) -> bytes:
        """The digest of a value.

        Raises:
            TypeError: it cannot be pickled.
        """
        if type(value) is tuple and all(type(part) in _PLAIN for part in value):
            with contextlib.suppress(
                ValueError
            ):  # a whole number of thousands of digits, half of a character
                return blake2b(b"plain" + repr(value).encode(), digest_size=16).digest()
        for kind in (_Fast, _InOrder, _WithMemo):
            pickler = self._idle.pop(kind, None) or kind(
                self
            )  # not there: one is at work on what this is part of
            pickler.sink.clear()
            try:
                pickler.dump(value)
            except (ValueError, RecursionError):
                continue  # it refers to itself
            except Exception as error:
                raise TypeError(f"checkpoint: {type(value).__name__} cannot be pickled: {error}") from error
            digest = pickler.sink.hash.digest()
            if kind is _Fast:
                self._idle[kind] = pickler
                if pickler.sink.has_sets:
                    continue
            return digest
        raise TypeError(f"checkpoint: {type(value).__name__} cannot be pickled: it is too deep")

    # ----------------------------------------------------------------- what is not just pickled

    def reduce(self, obj: Any) -> Any:
        """What stands for an object in a pickle that is only made to be digested."""
        if isinstance(obj, functools._lru_cache_wrapper) and not is_by_reference(obj):
            return bytes, (self.value((obj.__wrapped__, obj.cache_parameters()["typed"])),)
        if isinstance(obj, FunctionType):
            return None if is_by_reference(obj) else (bytes, (self._once(obj, self._function),))
        if isinstance(obj, type):
            named = obj.__module__ == "builtins" or is_by_reference(obj)
            return None if named else (bytes, (self._once(obj, self._class),))
        if isinstance(obj, ModuleType):
            return str, (obj.__name__,)
        if isinstance(obj, CodeType):
            return bytes, (_code(obj),)
        if (
            isinstance(obj, ObjectRef) and obj.settled and obj.failure is None
        ):  # its name is another in each run
            return bytes, (self.value(obj.load()),)
        return None

    def _once(self, obj: Any, take_apart: Callable[[Any], bytes]) -> bytes:
        known = self._names.get(id(obj))
        if known is None:
            known = self._names[id(obj)] = (obj, take_apart(obj))
        return known[1]

    def _function(self, function: FunctionType) -> bytes:
        name = f"{function.__module__}:{function.__qualname__}".encode()
        if id(function) in self._active:
            return name  # it calls itself
        self._active.add(id(function))
        try:
            cells = [_content(cell) for cell in function.__closure__ or ()]
            read: dict[str, Any] = {}
            if not is_by_reference(function):
                names = used_names(function.__code__).globals
                read = {name: function.__globals__[name] for name in names if name in function.__globals__}
            captured = (function.__defaults__, function.__kwdefaults__, cells, read)
            return _digest(name, _code(function.__code__), self.value(captured))
        finally:
            self._active.discard(id(function))

    def _class(self, cls: type) -> bytes:
        name = f"{cls.__module__}:{cls.__qualname__}".encode()
        if id(cls) in self._active:
            return name
        self._active.add(id(cls))
        try:
            parts = [name, *(self.value(base) for base in cls.__bases__)]
            for key, member in sorted(vars(cls).items()):
                if key not in _UNREAD:
                    parts += [key.encode(), self._member(member)]
            return _digest(*parts)
        finally:
            self._active.discard(id(cls))

    def _member(self, member: Any) -> bytes:
        if isinstance(member, property):
            return self.value((member.fget, member.fset, member.fdel))
        if isinstance(member, functools.cached_property):
            return self.value((member.func, member.attrname))
        try:
            return self.value(getattr(member, "__func__", member))
        except TypeError:  # a slot, a lock: classes have such things, and they are made anew
            return type(member).__qualname__.encode()


class _Sink:
    """Where a pickler writes; only the digest is kept."""

    def clear(self) -> None:
        """Begin anew."""
        self.hash = blake2b(digest_size=16)
        self.has_sets = False

    def write(self, data: Any) -> None:
        """What picklers call."""
        self.hash.update(data)
        if not self.has_sets and len(data) < _FRAME_BYTES_MAX:
            piece = bytes(data)
            self.has_sets = _SETS[0] in piece or _SETS[1] in piece


class _Fast(pickle.Pickler):
    """Without a memo it is of no consequence which equal strings are one object; but nothing may refer to itself."""

    def __init__(self, digester: Digester) -> None:
        self.sink = _Sink()
        super().__init__(self.sink, 5)
        self.fast = True
        self._reduce = digester.reduce

    def reducer_override(self, obj: Any) -> Any:
        """What the serializer would take apart is digested by its parts."""
        found = self._reduce(obj)
        return NotImplemented if found is None else found


class _WithMemo(_Fast):
    """For what refers to itself."""

    def __init__(self, digester: Digester) -> None:
        super().__init__(digester)
        self.fast = False


_SlowPickler: Any = pickle._Pickler


class _InOrder(_SlowPickler):  # type: ignore[misc]
    """The slow one, for what has sets in it."""

    dispatch: ClassVar[dict[Any, Any]] = dict(_SlowPickler.dispatch)

    def __init__(self, digester: Digester) -> None:
        self.sink = _Sink()
        super().__init__(self.sink, 5)
        self.fast = True
        self._digester = digester

    def reducer_override(self, obj: Any) -> Any:
        """As of the fast one."""
        found = self._digester.reduce(obj)
        return NotImplemented if found is None else found

    def _save_sorted(self, obj: Any) -> None:
        self.save((type(obj).__name__, sorted(self._digester.value(item) for item in obj)))

    dispatch[set] = dispatch[frozenset] = _save_sorted


def _code(code: CodeType) -> bytes:
    """Code without where it stands."""
    parts = [
        code.co_name.encode(),
        code.co_code,
        code.co_exceptiontable,
        repr((code.co_flags, code.co_argcount)).encode(),
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_kwonlyargcount)
    parts.append(repr(names).encode())
    for const in code.co_consts:
        if isinstance(const, CodeType):
            parts.append(_code(const))
        else:
            parts.append(repr(sorted(map(repr, const)) if isinstance(const, frozenset) else const).encode())
    return _digest(*parts)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "an empty cell"


def _digest(*parts: bytes) -> bytes:
    whole = blake2b(digest_size=16)
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
