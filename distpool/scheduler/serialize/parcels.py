"""Blobs for a process that does not see the store where their data lies: on another node, until objects move there.

::

    self_contained(blob) ── brief: a copy ───────────────────────────────► the pickle
                         └─ names objects: copies of them all, beside it ─► 04 | ... | blob | data ── anywhere ──► load
                                                                                      │
                        buffers are copies of their own; a reference keeps its data ◄─┘

    04 | count, 4 bytes | blob length, 8 bytes | (id, 8 bytes; length, 8 bytes) each | blob | data      (little endian)

The blob inside is as ``stored.py`` made it. While it is loaded, this thread finds the objects that it names in the
parcel (``stored.ARRIVED``) before it looks into a store. Each is in a parcel once, but in every parcel that needs it. A
reference that comes in one is a parcel itself from then on: its value is carried along wherever it goes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import Any

from distpool.scheduler.serialize import carried, stored
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.stored import BRIEF_MARK, MARK, PARCEL_MARK, Blob, Buffer

#: What one message can hold, less what stands around it.
PARCEL_BYTES_MAX = (1 << 32) - (1 << 20)

_HEAD = Struct("<BIQ")
_OBJECT = Struct("<QQ")
_FRAMED = 0x01
_FRAME_PREFIX_BYTES = 5


def self_contained(blob: bytes) -> bytes:
    """A blob that can be loaded without a store, by a process on whatever node.

    Whoever has the blob must hold what it names until this returns.

    Raises:
        SerializationError: something that it names is not there any more, or all of it is more than fits into one
            message (4 GiB).
    """
    if len(blob) and blob[0] == BRIEF_MARK:
        return stored.load_brief(blob)
    names: dict[int, None] = {}
    _collect(blob, names)
    return _parcel(blob, list(names)) if names else blob


def pieces(blob: bytes) -> Iterator[Buffer]:
    """The same, piece by piece, without a copy of what lies in the store: for a file. Raises SerializationError."""
    names: dict[int, None] = {}
    _collect(blob, names)
    sizes = []
    for number in names:
        with stored.reading(number) as view:
            sizes.append(len(view))
    yield _HEAD.pack(PARCEL_MARK, len(names), len(blob))
    for number, size in zip(names, sizes, strict=True):
        yield _OBJECT.pack(number, size)
    yield blob
    for number in names:
        with stored.reading(number) as view:
            yield view


def _parcel(blob: bytes, names: list[int]) -> bytes:
    objects: list[Buffer] = []
    for number in names:
        with stored.reading(number) as view:
            objects.append(bytes(view))
    size = len(blob) + sum(map(len, objects))
    if size > PARCEL_BYTES_MAX:
        raise SerializationError(
            f"{size >> 20:,} MiB cannot be sent to or from another node in one piece: at most 4 GiB can; "
            "pass it in parts, or let the work run on the node where the data is"
        )
    return _join(blob, names, objects)


def _join(blob: bytes, names: Sequence[int], objects: Sequence[Buffer]) -> bytes:
    head = [_HEAD.pack(PARCEL_MARK, len(names), len(blob))]
    head += [_OBJECT.pack(number, len(data)) for number, data in zip(names, objects, strict=True)]
    return b"".join([*head, blob, *objects])


def _collect(blob: Blob, names: dict[int, None]) -> None:
    """Note every object that must be there when ``blob`` is loaded: those of the definitions in it, too."""
    mark = blob[0] if len(blob) else None
    if mark == carried.REFS_MARK:
        _collect(memoryview(blob)[carried.inner_start(blob) :], names)
    elif mark == MARK:
        ids = stored.ids_of(blob)
        names.update(dict.fromkeys(ids))
        if stored.is_stream(blob):
            with stored.reading(ids[-1]) as view:
                _collect(view, names)
        else:
            _collect(memoryview(blob)[stored.inner_start(blob) :], names)
    elif mark == _FRAMED:
        view = memoryview(blob)
        end = _FRAME_PREFIX_BYTES + int.from_bytes(view[1:_FRAME_PREFIX_BYTES], "big")
        for _, _, _, data in pickle.loads(view[_FRAME_PREFIX_BYTES:end]):
            _collect(data, names)


def load(blob: Blob, loads: Callable[[Blob], Any]) -> Any:
    """Rebuild what a parcel holds; ``loads`` rebuilds the blob inside."""
    objects, inner = _open(blob)
    with _arriving(objects):
        return loads(inner)


def _open(blob: Blob) -> tuple[dict[int, memoryview], memoryview]:
    view = memoryview(blob)
    _, count, length = _HEAD.unpack_from(view)
    table = [_OBJECT.unpack_from(view, _HEAD.size + place * _OBJECT.size) for place in range(count)]
    start = _HEAD.size + count * _OBJECT.size
    at = start + length
    objects = {}
    for number, size in table:
        objects[number] = view[at : at + size]
        at += size
    return objects, view[start : start + length]


@contextmanager
def _arriving(objects: dict[int, memoryview]) -> Iterator[None]:
    before = stored.ARRIVED.objects
    stored.ARRIVED.objects = {**before, **objects}
    try:
        yield
    finally:
        stored.ARRIVED.objects = before


def kept(blob: bytes, ids: tuple[int, ...]) -> bytes:
    """The blob of a reference whose data has arrived, with that data: a parcel of its own."""
    return _join(blob, ids, [stored.ARRIVED.objects[number] for number in ids])


def failing(error: Exception) -> bytes:
    """A blob whose loading says why its data could not be sent: whoever loads it tells whom it concerns."""
    what = "" if isinstance(error, SerializationError) else f"{type(error).__name__}: "
    return pickle.dumps(_Failing(f"{what}{error}"), 5)


class _Failing:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, (self._reason,)


def _fail(reason: str) -> None:
    raise SerializationError(f"this could not be sent to another node: {reason}")
