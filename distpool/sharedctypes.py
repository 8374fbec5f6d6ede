"""Values and arrays of C types in memory that all processes of the node share.

::

    Value("i") ──► Synchronized ── RLock                      (distpool.synchronize)
                        └── c_int ── Place of a segment       (distpool.scheduler.shared.segment)

A raw object *is* an instance of its C type, laid over shared memory; ``Value`` and ``Array`` put a lock around one. All
of them may be arguments of tasks, lie in containers and globals, and go to child processes; what arrives is the
same memory. They live on one node: raw memory cannot be the same on two machines, so elsewhere they fail with
``SharedElsewhere``, and a manager's ``Value`` or a ``Queue`` is the remedy.

Stands in for ``multiprocessing.sharedctypes``.
"""

from __future__ import annotations

import copyreg
import ctypes
import multiprocessing.sharedctypes
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import TYPE_CHECKING, Any

from distpool.scheduler.shared import segment
from distpool.standing_aside import standard_ones

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

#: Letters of the ``array`` module, and ``c`` and ``u``, that stand for types.
typecode_to_type = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


# ------------------------------------------------------------------------------------------------ without a lock


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """An object of a C type in shared memory (``multiprocessing.sharedctypes.RawValue``).

    Args:
        typecode_or_type: a letter ("i", "d", ...) or a ctypes type, simple or a structure.
        args: for its constructor; without any it is zeros.
    """
    made = _make(_type_of(typecode_or_type))
    made.__init__(*args)
    return made


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:
    """An array of a C type in shared memory (``multiprocessing.sharedctypes.RawArray``).

    Args:
        typecode_or_type: of the elements.
        size_or_initializer: how many (zeros then), or what is in it.
    """
    kind = _type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        if size_or_initializer < 0:
            raise ValueError(f"an array cannot have {size_or_initializer} elements")
        return _make(kind * size_or_initializer)
    made = _make(kind * len(size_or_initializer))
    made.__init__(*size_or_initializer)
    return made


def copy(obj: Any) -> Any:
    """A copy of a C object, in shared memory of its own (``multiprocessing.sharedctypes.copy``)."""
    made = _make(type(obj))
    ctypes.pointer(made)[0] = obj
    return made


def _type_of(typecode_or_type: Any) -> Any:
    return typecode_to_type.get(typecode_or_type, typecode_or_type)


def _make(kind: Any) -> Any:
    return _lay_over(segment.allocate(max(1, ctypes.sizeof(kind))), kind)


def _lay_over(place: segment.Place, kind: Any) -> Any:
    made = kind.from_buffer(place.view)
    made._place = place  # which keeps its memory from being given to another
    copyreg.pickle(kind, _reduce)
    ForkingPickler.register(
        kind, _reduce
    )  # the standard module may have put its own there, for its own objects
    return made


def _reduce(obj: Any) -> Any:
    """How C objects are pickled: ours by place, the standard module's by its rules, all others by value as always."""
    if hasattr(obj, "_place"):
        return _rebuild, _parts(obj)
    if hasattr(obj, "_wrapper"):
        return multiprocessing.sharedctypes.reduce_ctype(obj)  # type: ignore[attr-defined]  # which has no stub
    return obj.__reduce_ex__(2)


def _parts(obj: Any) -> tuple[Any, Any, int | None]:
    kind: Any = type(obj)
    if issubclass(kind, ctypes.Array):  # its class has no name by which it could be found
        return obj._place, kind._type_, kind._length_
    return obj._place, kind, None


def _rebuild(place: Any, kind: Any, length: int | None) -> Any:
    return _lay_over(place, kind if length is None else kind * length)


def _rebuild_with_lock(lock: Any, place: Any, kind: Any, length: int | None) -> Any:
    return synchronized(_rebuild(place, kind, length), lock)


# ------------------------------------------------------------------------------------------------- with a lock


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """An object of a C type in shared memory, with a lock around it (``multiprocessing.sharedctypes.Value``).

    ``value.value += 1`` is two operations, each under the lock; to make them one, take the lock around both:
    ``with value.get_lock(): value.value += 1``.

    Args:
        typecode_or_type: a letter ("i", "d", ...) or a ctypes type, simple or a structure.
        args: for its constructor.
        lock: True for an ``RLock`` of its own, a lock to use that, False for none: a raw object then.
        ctx: the context that makes the lock; None for distpool's.

    Raises:
        AttributeError: ``lock`` is none of these.
    """
    return _locked(RawValue(typecode_or_type, *args), lock, ctx)


def Array(
    typecode_or_type: Any, size_or_initializer: int | Sequence[Any], *, lock: Any = True, ctx: Any = None
) -> Any:
    """An array of a C type in shared memory, with a lock around it (``multiprocessing.sharedctypes.Array``).

    Arguments are those of ``RawArray`` and ``Value``.
    """
    return _locked(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def _locked(obj: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        return synchronized(obj, ctx=ctx)
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire': lock= takes True, False or a lock")
    return synchronized(obj, lock, ctx)


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """Put a lock around a C object (``multiprocessing.sharedctypes.synchronized``).

    Structures get a property for each of their fields.
    """
    if isinstance(obj, SynchronizedBase):
        raise TypeError("this object has a lock already")
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        return (SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray)(obj, lock, ctx)
    kind = type(obj)
    if kind not in _with_fields:
        fields = {field[0]: _under_the_lock(field[0]) for field in kind._fields_}
        _with_fields[kind] = type(f"Synchronized{kind.__name__}", (SynchronizedBase,), fields)
    return _with_fields[kind](obj, lock, ctx)


_with_fields: dict[Any, Any] = {}


def _under_the_lock(name: str) -> property:
    """The property of a wrapper that stands for the attribute ``name`` of what it wraps."""

    def get(self: SynchronizedBase) -> Any:
        with self._lock:
            return getattr(self._obj, name)

    def put(self: SynchronizedBase, value: Any) -> None:
        with self._lock:
            setattr(self._obj, name, value)

    return property(get, put)


def _not_known() -> bool:
    """Of a lock of another kind."""
    return False


class SynchronizedBase:
    """A C object and its lock; ``with`` it takes the lock."""

    def __init__(self, obj: Any, lock: Any = None, ctx: Any = None) -> None:
        if not lock:
            if ctx is None:
                from distpool.synchronize import RLock

                lock = RLock()
            else:
                lock = ctx.RLock()
        self._obj = obj
        self._lock = lock
        #: Whether this thread holds the lock, so far as can be told in one call of C: then it need not be taken again.
        self._is_held = getattr(getattr(lock, "_semlock", None), "_is_mine", _not_known)
        self.acquire = lock.acquire
        self.release = lock.release

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return self._lock.__exit__(kind, error, trace)

    def __reduce__(self) -> tuple[Any, ...]:
        if not hasattr(self._obj, "_place"):
            return synchronized, (self._obj, self._lock)
        return _rebuild_with_lock, (self._lock, *_parts(self._obj))

    def get_obj(self) -> Any:
        """The C object without the lock."""
        return self._obj

    def get_lock(self) -> Any:
        """The lock."""
        return self._lock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._obj}>"


class Synchronized(SynchronizedBase):
    """A number or character."""

    @property
    def value(self) -> Any:
        """What it is; each access is under the lock, two of them are not one."""
        if self._is_held():
            return self._obj.value
        with self._lock:
            return self._obj.value

    @value.setter
    def value(self, value: Any) -> None:
        if self._is_held():
            self._obj.value = value
            return
        with self._lock:
            self._obj.value = value


class SynchronizedArray(SynchronizedBase):
    """A sequence of fixed length."""

    def __len__(self) -> int:
        return len(self._obj)

    def __getitem__(self, index: Any) -> Any:
        with self._lock:
            return self._obj[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        with self._lock:
            self._obj[index] = value

    def __getslice__(self, start: int, stop: int) -> Any:
        return self[start:stop]

    def __setslice__(self, start: int, stop: int, values: Any) -> None:
        self[start:stop] = values

    def __iter__(self) -> Iterator[Any]:
        # As the standard one: element by element, each under the lock.
        return (self[index] for index in range(len(self)))


class SynchronizedString(SynchronizedArray):
    """An array of characters, also as one string of bytes."""

    value = _under_the_lock("value")
    raw = _under_the_lock("raw")


globals().update(
    standard_ones(
        "multiprocessing.sharedctypes",
        (*__all__, "Synchronized", "SynchronizedArray", "SynchronizedBase", "SynchronizedString"),
    )
)
