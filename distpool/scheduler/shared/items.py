"""What a queue carries: objects as bytes that any process of the program can load, and back.

::

    pack ── number, text ─────────────► bytes                                     most items: no Python in between
         ├─ multiprocessing's pickler ► bytes, or pieces: chunks of the pickle │ big buffers, where they lie
         │     names __main__? ───────► and by value besides, for those who have another __main__: pool workers
         └─ cannot (lambdas, ...) ────► by value alone

    pieces on their way   split, count │ sizes │ pickle │ buffer │ buffer ...       in one record, or cut into several
    Incoming              each is copied once, into memory of its own that the receiver may write to

A child process that is spawned finds the classes of ``__main__`` by name, as with the standard library; a pool's worker
has none of them. So in a program that knows of pools (some front door for tasks was imported) what names ``__main__``
travels in both forms, and the receiver takes the first that it can load. That costs four times as much.

Not here: rings, locks and waiting (``channel``).
"""

from __future__ import annotations

import ctypes
import pickle
import sys
from _pickle import dumps as _dumps
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from struct import Struct
from typing import TYPE_CHECKING, Any

from distpool.scheduler.store.copying import PLAIN_BYTES_MAX, address_of, copy

if TYPE_CHECKING:
    from distpool.scheduler.serialize import Exporter

#: Buffers from here on are copied where they lie instead of passing through the pickle.
APART_BYTES_MIN = 16 << 10
#: Pickles up to here are one record of one piece.
WHOLE_BYTES_MAX = 64 << 10
#: The pickler writes what is larger than its frames by itself: the user's own bytes, in which no names are.
_FRAME_BYTES_MAX = 128 << 10

_ALWAYS_SMALL = frozenset({int, float, bool, type(None)})
_SIZED = frozenset({str, bytes})
_SIZED_MAX = 4 << 10

_HEAD = Struct("<QQ")
_CANNOT = (pickle.PicklingError, AttributeError, TypeError)

_fresh: Any = ctypes.pythonapi.PyByteArray_FromStringAndSize
_fresh.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]
_fresh.restype = ctypes.py_object


class Pieces:
    """An item that is not one piece of bytes: what is to be written one after the other, and how far that has got.

    The pieces are memory of the caller's until ``own`` copies them.
    """

    __slots__ = ("_at", "_next", "_pieces", "size")

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self.size = sum(piece.nbytes for piece in self._pieces)
        self._next = self._at = 0

    def fill(self, target: memoryview) -> None:
        """Copy as much as ``target`` takes, from where the last call ended."""
        done = 0
        while done < len(target):
            piece = self._pieces[self._next]
            size = min(len(piece) - self._at, len(target) - done)
            copy(target[done : done + size], piece[self._at : self._at + size])
            done += size
            self._at += size
            if self._at == len(piece):
                self._next += 1
                self._at = 0

    def own(self) -> Pieces:
        """The same in memory of its own, if nothing of it was written yet."""
        joined = _fresh(None, self.size)
        self.fill(memoryview(joined))
        return Pieces([joined])


Item = bytes | Pieces


class Incoming:
    """An item that arrives in pieces, in one record or in several."""

    __slots__ = ("_filled", "_next", "_parts", "_split", "_target")

    def __init__(self) -> None:
        self._split = -1
        self._parts: list[bytearray] = []
        self._target = memoryview(bytearray(_HEAD.size))
        self._filled = self._next = 0

    @classmethod
    def whole(cls, source: memoryview) -> Incoming:
        """One that has arrived in a single record."""
        made = cls.__new__(cls)
        made._split, count = _HEAD.unpack_from(source)
        at = _HEAD.size + 8 * count
        made._parts = []
        for size in source[_HEAD.size : at].cast("Q"):
            if size <= PLAIN_BYTES_MAX:
                part = bytearray(source[at : at + size])
            else:
                part = _fresh(None, size)
                copy(memoryview(part), source[at : at + size])
            made._parts.append(part)
            at += size
        return made

    def take(self, source: memoryview) -> None:
        """Copy what a record holds."""
        at = 0
        while at < len(source):
            while self._filled == len(self._target):
                self._advance()
            size = min(len(self._target) - self._filled, len(source) - at)
            copy(self._target[self._filled : self._filled + size], source[at : at + size])
            self._filled += size
            at += size

    def _advance(self) -> None:
        """The target is full: use it, and have the next."""
        self._filled = 0
        if self._split < 0:
            self._split, count = _HEAD.unpack(self._target)
            self._target = memoryview(bytearray(8 * count))
            return
        if not self._parts:
            self._parts = [_fresh(None, size) for size in self._target.cast("Q")]
        self._target = memoryview(self._parts[self._next])
        self._next += 1

    def parts(self) -> list[bytearray]:
        """The pickle and the buffers, once all has been taken."""
        return self._parts

    def flat(self) -> bytes:
        """The same as it was written, once all has been taken."""
        pickled, *buffers = self._parts
        return flat(_framed(self._split, len(pickled), [pickled], [memoryview(b) for b in buffers]))[0]

    def load(self) -> Any:
        """The object, once all has been taken."""
        pickled, *buffers = self._parts
        view = memoryview(pickled)
        by_name, by_value = view[: self._split], view[self._split :]
        if by_name:
            if not by_value:
                return pickle.loads(by_name, buffers=buffers)
            try:
                return pickle.loads(by_name, buffers=buffers)
            except (AttributeError, ImportError):
                pass  # the receiver's __main__ is not the sender's
        from distpool.scheduler.serialize import loads

        return loads(by_value, buffers)


# ------------------------------------------------------------------------------------------------ pickling


class _Sink:
    """A file for the C pickler: its ``write`` is a list's ``append``."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Any], None]) -> None:
        self.write = write


class _Pickler:
    """A pickler of multiprocessing's, used again and again, since making one takes longer than most items do."""

    __slots__ = ("buffers", "chunks", "clear", "dump", "met_readonly")

    def __init__(self, protocol: int = 5) -> None:
        self.chunks: list[Any] = []
        self.buffers: list[memoryview] = []
        self.met_readonly = False
        apart = self._is_in_band if protocol == 5 else None
        pickler = ForkingPickler(_Sink(self.chunks.append), protocol, True, apart)
        self.dump = pickler.dump
        self.clear = pickler.clear_memo

    def _is_in_band(self, buffer: pickle.PickleBuffer) -> bool:
        self.met_readonly = self.met_readonly or memoryview(buffer).readonly
        return not _set_apart(buffer, self.buffers)


_free: list[_Pickler] = []


def pack(obj: Any) -> Item:
    """An object as an item. Big buffers in it are still the caller's: write it, or ``own`` it, before they change.

    Raises:
        Whatever pickling raises.
    """
    kind = type(obj)
    if kind in _ALWAYS_SMALL or (kind in _SIZED and len(obj) < _SIZED_MAX):
        return _dumps(obj, 5)
    try:
        pickler = _free.pop()
    except IndexError:
        pickler = _Pickler()
    chunks = pickler.chunks
    try:
        pickler.dump(obj)  # if it raises, the pickler is not used again
        if pickler.met_readonly:
            return _writable(obj)
    except _CANNOT as error:
        return _by_value(obj, error)
    pickler.clear()
    if len(chunks) == 1 and not pickler.buffers:
        data: bytes = chunks[0]
        if len(data) <= WHOLE_BYTES_MAX and (b"__main__" not in data or not _knows_of_pools()):
            chunks.clear()
            _free.append(pickler)
            return data
    item = _with_buffers(obj, chunks.copy(), pickler.buffers.copy())
    chunks.clear()
    pickler.buffers.clear()
    _free.append(pickler)
    return item


def in_pieces(data: bytes) -> Pieces:
    """The same item, to be cut."""
    return _framed(len(data), len(data), [data], [])


def flat(item: Item) -> tuple[bytes, bool]:
    """An item as bytes, and whether it was that before."""
    if isinstance(item, bytes):
        return item, True
    joined = bytearray(item.size)
    item.fill(memoryview(joined))
    return bytes(joined), False


def load(data: bytes | Incoming) -> Any:
    """The object of an item that has arrived."""
    if not isinstance(data, bytes):
        return data.load()
    try:
        return pickle.loads(data)
    except AttributeError as error:
        if b"__main__" in data and _knows_of_pools():
            error.add_note(
                "the item names something of __main__, and was put before its process knew of any pool: "
                "import Pool (or whatever runs the task that reads it) before the queue is filled"
            )
        raise


def _knows_of_pools() -> bool:
    """Whether a pool's worker may receive what this process sends, or this is one."""
    return "distpool.engines" in sys.modules or "distpool.scheduler.shells.worker" in sys.modules


def _with_buffers(obj: Any, chunks: list[Any], buffers: list[memoryview]) -> Pieces:
    split = sum(map(len, chunks))
    size = split
    if _knows_of_pools() and any(len(chunk) < _FRAME_BYTES_MAX and b"__main__" in chunk for chunk in chunks):
        by_value = _value_of(obj, buffers)
        chunks.append(by_value)
        size += len(by_value)
    return _framed(split, size, chunks, buffers)


def _writable(obj: Any) -> Item:
    """An item of which all arrays arrive writable, as they do by way of a standard queue, and so does protocol 4."""
    pickler = _Pickler(4)
    pickler.dump(obj)
    return _with_buffers(obj, pickler.chunks, [])


def _framed(split: int, size: int, chunks: list[Any], buffers: list[memoryview]) -> Pieces:
    sizes = [size, *map(len, buffers)]
    table = _HEAD.pack(split, len(sizes)) + b"".join(n.to_bytes(8, "little") for n in sizes)
    if not buffers and size <= WHOLE_BYTES_MAX:
        return Pieces([b"".join((table, *chunks))])
    return Pieces([table, *chunks, *buffers])


def _value_of(obj: Any, buffers: list[memoryview]) -> bytes:
    """The other form of what was pickled with these buffers; it shares them if it has the same."""
    try:
        if not buffers:
            return _exporter().dumps(obj, label="item")
        others: list[memoryview] = []
        data = _exporter().dumps(obj, lambda buffer: not _set_apart(buffer, others), label="item")
        if [(address_of(b), len(b)) for b in others] == [(address_of(b), len(b)) for b in buffers]:
            return data
        return _exporter().dumps(obj, label="item")
    except Exception:  # by name it can be sent
        return b""


def _by_value(obj: Any, error: Exception) -> Item:
    buffers: list[memoryview] = []
    try:
        data = _exporter().dumps(obj, lambda buffer: not _set_apart(buffer, buffers), label="item")
    except Exception:
        raise error from None
    return _framed(0, len(data), [data], buffers)


def _set_apart(buffer: pickle.PickleBuffer, buffers: list[memoryview]) -> bool:
    view = memoryview(buffer)
    if view.nbytes < APART_BYTES_MIN or not view.contiguous:
        return False
    buffers.append(buffer.raw())
    return True


def _exporter() -> Exporter:
    global _exporter_of_queues
    if _exporter_of_queues is None:
        from distpool.scheduler.serialize import Exporter

        _exporter_of_queues = Exporter(snapshot=False)
    return _exporter_of_queues


_exporter_of_queues: Exporter | None = None
