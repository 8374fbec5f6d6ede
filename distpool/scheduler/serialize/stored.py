"""Big buffers beside a pickle, in the node's object store: the frame that names them, and what a store must do.

::

    pack(pieces, buffers)  ── all of it small ──────────► the pieces, joined                       (in band)
          │ buffers >= STORED_BYTES_MIN, or the stream
          └─► Store.put, one copy ─► Held, into ``keep``
                    └─► 02 | flags | count | ids | inner blob ── anywhere ──► load ─► Store.map ─► pickle

    02 | flags, 1 byte | count, carried, 4 bytes each | ids, their sizes, 8 bytes each | inner blob      (little endian)

With flag 1 there is no inner blob: the last id *is* it, a stream that was too big to be sent. The first ids are those
that references in the pickle carry (``carried.py``): they are kept, not mapped. The others are the pickle's
out-of-band buffers, in its order; one that occurs twice is mapped twice, so that each reader of it can write.

    03 | slab, 8 bytes | offset, 8 bytes | size, 4 bytes

is an argument of some kilobytes, copied to a slab of its sender, and out of it by its receiver.

What it is not: the store (``distpool/scheduler/store``); without one (``current()`` is None) everything is in band. And
what goes to another node (``parcels.py``).
"""

from __future__ import annotations

import os
import sys
import weakref
from _thread import _local
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pickle import PickleBuffer
from struct import Struct, unpack_from
from struct import pack as pack_struct
from typing import Any, NamedTuple, Protocol

from distpool.scheduler.serialize import carried as carrying
from distpool.scheduler.serialize.carried import REFS_MARK, Carried
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.on_device import Arrived, OnDevice

#: Buffers and pickle streams of at least this size are objects of their own. Below it a mapping costs more than a copy.
STORED_BYTES_MIN = 256 * 1024
#: Arguments of at least this size are copied through shared memory, not through a socket.
BRIEF_BYTES_MIN = 16 * 1024

MARK, BRIEF_MARK, PARCEL_MARK = 0x02, 0x03, 0x04
_BRIEF = Struct("<BQQI")
_IS_STREAM = 1
_IDS_START = 10

#: Bytes, bytearray, memoryview, PickleBuffer: one contiguous buffer.
Buffer = Any
Blob = bytes | bytearray | memoryview
#: Buffers, to be laid one behind the other; or what lies on a device.
Object = Sequence[Buffer] | OnDevice


class Spot(NamedTuple):
    """Where a payload lies."""

    slab: int
    offset: int
    size: int


class Held(Protocol):
    """Keeps objects in the store for as long as this Python object lives. Must take weak references."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Their numbers."""


class Store(Protocol):
    """What pickling needs of a node's store. Thread-safe."""

    def put(self, objects: Sequence[Object], *, holder: int = 0, label: str = "") -> Held:
        """Copy each object, a concatenation of buffers. Raises what says that there is no room."""

    def map(self, ids: Sequence[int]) -> list[memoryview | Arrived]:
        """Private writable views, one for each id given; an object stays while a view of it lives."""

    def reading(self, number: int) -> AbstractContextManager[memoryview]:
        """A look at one object, out of which things are copied at once; it is not to be kept."""

    def put_brief(self, pieces: Sequence[Buffer], size: int) -> tuple[Spot, Any] | None:
        """Copy a payload that is read soon, and keep it until the Held goes; None: in band, please."""

    def read_brief(self, spot: Spot) -> bytes:
        """A copy of such a payload."""

    def hold(self, ids: Sequence[int]) -> Held:
        """Hold what somebody else holds at this moment."""

    def hand(self, ids: Sequence[int], holder: int) -> None:
        """Pass on to another process, which will claim it, what this one holds."""

    def take_back(self, ids: Sequence[int], holder: int) -> None:
        """It will not hear of what was put for it, or handed to it."""

    def claim(self, ids: Sequence[int]) -> Held:
        """Take over what another process has put for this one."""


#: "store": this process's. A dictionary, so that it can stand among the globals that a cached blob depends on.
STATE: dict[str, Any] = {"store": None}


def use(store: Store | None) -> None:
    """From now on this process's big buffers go into ``store``; None: into the blobs, as where there is no store."""
    STATE["store"] = store


def current() -> Store | None:
    """This process's store."""
    return STATE["store"]  # type: ignore[no-any-return]


class Refused(Exception):
    """Carries what ``Store.put`` raised past those who look for the part of an object that cannot be pickled."""

    def __init__(self, reason: Exception) -> None:
        super().__init__("the store has no room")
        self._reason = [reason]

    def take(self) -> Exception:
        """What was raised, once: raised again, it would refer to this exception, which must not refer to it."""
        return self._reason.pop()


# -------------------------------------------------------------------------------------- sending


def out_of_band(buffers: list[PickleBuffer], chunks: list[Any]) -> Callable[[PickleBuffer], bool]:
    """A pickler's ``buffer_callback``, which collects in ``buffers`` what should go into the store.

    It also appends an empty chunk, so that output of a single chunk means that there is nothing else to see to.
    """

    def is_in_band(buffer: PickleBuffer) -> bool:
        view = memoryview(buffer)
        if view.nbytes < STORED_BYTES_MIN or STATE["store"] is None or not view.contiguous:
            return True
        buffers.append(buffer)
        chunks.append(b"")
        return False

    return is_in_band


def pack(
    pieces: Sequence[Buffer],
    buffers: Sequence[PickleBuffer],
    keep: list[Any],
    shared: Shared | None = None,
    holder: int = 0,
    carried: Sequence[Carried] = (),
    brief: bool = False,
) -> bytes:
    """The blob of a pickle whose output is ``pieces``; what is big goes into the store, and its Held into ``keep``.

    The ``carried`` references are kept as well, and what they hold is handed to the ``holder``. ``brief``: it is
    loaded soon, once, by one who answers.

    Raises:
        Refused: the store has no room.
        SerializationError: there are buffers, but the store was closed since they were collected.
    """
    size = 0
    for piece in pieces:
        size += len(piece) if type(piece) is bytes else memoryview(piece).nbytes
    is_stream = size >= STORED_BYTES_MIN
    store = current()
    if (
        brief
        and BRIEF_BYTES_MIN <= size < STORED_BYTES_MIN
        and store is not None
        and not (buffers or carried)
    ):
        put = store.put_brief(pieces, size)
        if put is not None:
            spot, held = put
            keep.append(held)
            return _BRIEF.pack(BRIEF_MARK, *spot)
    names = carrying.describe(carried, keep)  # first: what has a value by now must be among the ids
    ids = [number for reference in carried for number in ids_of(reference.blob)] if carried else []
    sizes = [size for reference in carried for size in sizes_of(reference.blob)] if carried else []
    if store is None or not (is_stream or buffers or ids):
        if buffers:
            raise SerializationError("the object store was closed while something was pickled for it")
        keep += carried
        return carrying.frame(names, join(pieces))
    carried_count = len(ids)
    flags = is_stream * _IS_STREAM
    objects: list[Object] = []
    sent: list[int] = []  # to the holder, who hears of it by the blob alone
    try:
        keep += carried
        if holder and ids:
            store.hand(ids, holder)
            sent += ids
        if shared is None:
            objects += [_object(buffer) for buffer in buffers]
        else:
            for buffer in buffers:
                held = shared.put(store, buffer)
                keep.append(held)
                ids += held.ids
                sizes.append(memoryview(buffer).nbytes)
        if is_stream:
            objects.append([_contiguous(piece) for piece in pieces])
        if objects:
            held = store.put(objects, holder=holder)
            keep.append(held)
            ids += held.ids
            sizes += [_size(parts) for parts in objects]
            sent += held.ids if holder else ()
        head = _head(flags, carried_count, ids, sizes)
        return carrying.frame(names, head if is_stream else join((head, *pieces)))
    except BaseException as reason:
        if sent:
            store.take_back(sent, holder)
        if not isinstance(reason, Exception):
            raise
        raise Refused(reason) from None


def _object(buffer: PickleBuffer) -> Object:
    owner = memoryview(buffer).obj
    return owner if type(owner) is OnDevice else (buffer.raw(),)


def _size(parts: Object) -> int:
    return len(parts) if type(parts) is OnDevice else sum([memoryview(part).nbytes for part in parts])


def pack_stream(blob: bytes, keep: list[Any]) -> bytes:
    """A blob that stands for another one, which is put into the store; only where there is one."""
    store = current()
    assert store is not None
    held = store.put([(blob,)])
    keep.append(held)
    return _head(_IS_STREAM, 0, held.ids, (len(blob),))


def _head(flags: int, carried: int, ids: Sequence[int], sizes: Sequence[int]) -> bytes:
    count = len(ids)
    return pack_struct(f"<BBII{2 * count}Q", MARK, flags, count, carried, *ids, *sizes)


def with_carried(blob: bytes, values: Sequence[bytes]) -> bytes:
    """A blob as ``pack`` has made it, less its references' names; their values are now these."""
    ids = [number for value in values for number in ids_of(value)]
    sizes = [size for value in values for size in sizes_of(value)]
    carried, flags, inner = len(ids), 0, blob
    if blob[0] == MARK:
        flags, _, before = unpack_from("<BII", blob, 1)
        ids += ids_of(blob)[before:]
        sizes += sizes_of(blob)[before:]
        inner = blob[inner_start(blob) :]
    return _head(flags, carried, ids, sizes) + inner if ids else inner


def in_band(pieces: Sequence[Buffer], carried: Sequence[Carried]) -> bytes:
    """The blob of a pickle of which nothing lies in a store but what its references hold."""
    return carrying.frame(carrying.describe(carried), join(pieces))


def join(pieces: Sequence[Buffer]) -> bytes:
    """One blob of all pieces."""
    return b"".join([_contiguous(piece) for piece in pieces])


def _contiguous(piece: Buffer) -> Buffer:
    """In Fortran's order a buffer is contiguous for C's pickler, but not for who is offered its axes as well."""
    return piece.raw() if type(piece) is PickleBuffer else piece


class Shared:
    """Which buffers one ``map`` call has stored: each is stored once, in however many of its calls it occurs.

    A buffer is known again by its place in memory, since libraries make new views and wrappers for each pickle; its
    owner is kept alive for as long as it is known, so that the place cannot become another's. What occurs once is
    forgotten when the call that needs it is over: a map over many different arrays stores no more of them than are
    pending. What occurs a second time is held until this object goes. Between two occurrences nobody may write.
    """

    def __init__(self) -> None:
        self._entries: dict[Any, _Entry] = {}

    def put(self, store: Store, buffer: PickleBuffer) -> Held:
        """Store one buffer, unless it lies there already."""
        raw = buffer.raw()
        owner = memoryview(buffer).obj
        key = _place_of(owner), raw.nbytes
        entry = self._entries.get(key)
        if entry is not None:
            known: Held | None = entry()
            if known is not None and entry.store is store:
                entry.held = known
                return known
        held = store.put([_object(buffer)])
        self._entries[key] = _Entry(held, self, key, owner, store)
        return held


class _Entry(weakref.ref[Any]):
    """A weak reference to a Held, and what its buffer is known by; ``held`` is set from the second time on."""

    __slots__ = ("held", "key", "owner", "store")

    def __new__(cls, held: Held, shared: Shared, key: Any, owner: Any, store: Store) -> _Entry:
        # The callback must not keep the table alive, which holds this entry.
        table = weakref.ref(shared)

        def forget(entry: _Entry) -> None:
            there = table()
            if there is not None and there._entries.get(entry.key) is entry:
                del there._entries[entry.key]

        return super().__new__(cls, held, forget)

    def __init__(self, held: Held, shared: Shared, key: Any, owner: Any, store: Store) -> None:
        super().__init__(held, None)  # type: ignore[call-arg]
        self.key = key
        self.owner = owner
        self.store = store
        self.held: Held | None = None


def _place_of(owner: Any) -> Any:
    """What tells a buffer from every other that exists meanwhile: its address where a view does not own its memory."""
    if type(owner) is OnDevice:
        return owner.source.place
    array: Any = getattr(sys.modules.get("numpy"), "ndarray", ())
    if isinstance(owner, array):
        return owner.__array_interface__["data"][0]
    arrow: Any = getattr(sys.modules.get("pyarrow"), "Buffer", ())
    if isinstance(owner, arrow):
        return owner.address
    return "owner", id(owner)


# ------------------------------------------------------------------------------------ receiving


def ids_of(blob: Blob) -> tuple[int, ...]:
    """The objects that must live until ``blob`` is loaded; none if all of it is in band."""
    if not len(blob):
        return ()
    start = carrying.inner_start(blob) if blob[0] == REFS_MARK else 0
    if blob[start] != MARK:
        return ()
    (count,) = unpack_from("<I", blob, start + 2)
    return unpack_from(f"<{count}Q", blob, start + _IDS_START)


def sizes_of(blob: Blob) -> tuple[int, ...]:
    """How many bytes each of ``ids_of`` has."""
    if not (count := len(ids_of(blob))):
        return ()
    start = carrying.inner_start(blob) if blob[0] == REFS_MARK else 0
    return unpack_from(f"<{count}Q", blob, start + _IDS_START + 8 * count)


class _Arrived(_local):
    """Objects that have come with the blob that this thread is loading: see ``parcels.py``."""

    def __init__(self) -> None:
        self.objects: Mapping[int, memoryview] = {}


#: They are looked for there before they are looked for in the store.
ARRIVED = _Arrived()


def is_stream(blob: Blob) -> bool:
    """Whether the inner blob of one that begins with ``MARK`` is an object itself, the last."""
    return bool(blob[1] & _IS_STREAM)


def inner_start(blob: Blob) -> int:
    """Where the inner blob begins in one that begins with ``MARK``."""
    return _IDS_START + 16 * len(ids_of(blob))


def load(blob: Blob, loads: Callable[[Blob, list[memoryview | Arrived] | None], Any]) -> Any:
    """Rebuild what ``pack`` has made of a pickle.

    Args:
        blob: begins with ``MARK``.
        loads: rebuilds an inner blob, given its out-of-band buffers.

    Raises:
        SerializationError: there is no store here, or an object is not there any more.
    """
    ids = ids_of(blob)
    flags, _, carried_count = unpack_from("<BII", blob, 1)
    streamed = flags & _IS_STREAM
    mapped = ids[carried_count : len(ids) - streamed]
    with ExitStack() as stack:
        with _naming_what_is_gone():
            views = _views(mapped) if mapped else []
            # Not left to the end of this frame, which an exception's traceback may keep for long.
            stack.callback(views.clear)
            if streamed:
                inner = stack.enter_context(reading(ids[-1]))
            else:
                inner = stack.enter_context(memoryview(blob)[inner_start(blob) :])
        return loads(inner, views)


def _views(ids: Sequence[int]) -> list[memoryview | Arrived]:
    """Writable views for the caller alone: of the store's objects, or copies of what has come with the blob."""
    came = ARRIVED.objects
    if came and ids[0] in came:
        return [memoryview(bytearray(came[number])) for number in ids]
    return _store().map(ids)


@contextmanager
def reading(number: int) -> Iterator[memoryview]:
    """A look at one object, in the store or in what has come with the blob; see ``Store.reading``.

    Raises:
        SerializationError: there is no store here, or the object is not there any more.
    """
    came = ARRIVED.objects.get(number)
    if came is not None:
        yield came
        return
    with ExitStack() as stack:
        with _naming_what_is_gone():
            view = stack.enter_context(_store().reading(number))
        yield view


def load_brief(blob: Blob) -> bytes:
    """The pickle that a blob which begins with ``BRIEF_MARK`` stands for."""
    _, slab, offset, size = _BRIEF.unpack(blob)
    with _naming_what_is_gone():
        return _store().read_brief(Spot(slab, offset, size))


def _store() -> Store:
    store = current()
    if store is None:
        raise SerializationError(
            "this value lies in the object store of the node where it was made, and this process has no store: "
            "load it in a worker of that pool, or in the program that made the pool"
        )
    return store


@contextmanager
def _naming_what_is_gone() -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError, SerializationError):
        raise
    except Exception as error:
        raise SerializationError(
            f"a value's data is not in the object store any more: {error}; "
            "whoever passes a value on must hold it until it has been loaded"
        ) from error


#: A forked child is not the process that the store knows.
os.register_at_fork(after_in_child=lambda: use(None))
