"""A reference to a value that is there, or will be: the promise of the call that makes it.

::

    submit ──► ObjectRef, pending ── fulfil, reject ──► ready: a plain value, a blob, or a Failure
                  │                                       │
                  │ pickled                               │ pickled
                  ▼                                       ▼
    (base, number, contact): whoever gets it      (base, number, value): whoever gets it needs nobody
    *follows* it, and hears from its owner        for it; big data is held by the store's own count

Python counts who needs a reference in this process. ``base`` and ``number`` name an object for ever: the process that
made it, and its count. In each process there is at most one ObjectRef for an object, so references are compared by
identity. The value stays as it came, undecoded, until somebody asks (``load``), and is passed on undecoded.

What it is not: how one waits (``waiting``), and how a value gets from owner to follower (``following``).
"""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.messages import Contact
from distpool.scheduler.remote import awaiting
from distpool.scheduler.serialize import carried, dump_exception, loads, stored
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.serialize.pickler import TaskPickler, register

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

_numbers = itertools.count(1)

#: References of this process that are older are of a session that has ended.
first_number = 1


def session_ended() -> None:
    """What this process's references meant is gone."""
    global first_number
    first_number = next(_numbers)


#: A reference's value that is bigger than this goes into the store before the reference travels.
TRAVELS_BYTES_MAX = 16 << 10


class _Process:
    """Who counts this process's objects."""

    base = f"{os.getpid():x}-{os.urandom(6).hex()}"

    @classmethod
    def renew(cls) -> None:
        """In a forked child: what it makes is its own."""
        cls.base = f"{os.getpid():x}-{os.urandom(6).hex()}"
        EXPORTED.clear()
        BORROWED.clear()


#: References of this process that have left it, by number.
EXPORTED: weakref.WeakValueDictionary[int, ObjectRef] = weakref.WeakValueDictionary()
#: References of other processes that are here, by base and number.
BORROWED: weakref.WeakValueDictionary[tuple[str, int], ObjectRef] = weakref.WeakValueDictionary()
#: Guards the two, and every ``watchers``. Reentrant: an allocation under it may run a ``__del__`` that comes here too.
_lock = threading.RLock()
#: Told of each pending reference of another process that arrives: see ``following``.
on_arrival: list[Callable[[ObjectRef, bool], None]] = []


class HexId(str):
    """A name in hexadecimal digits."""

    __slots__ = ()

    def hex(self) -> str:
        """The same."""
        return str(self)

    def binary(self) -> bytes:
        """As bytes, two digits each."""
        return bytes.fromhex(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self!s})"


class ObjectRef(Promise):
    """A reference to a value, of ``put`` or of a remote call. It may be passed on, inside of anything.

    At the top level of a remote call's arguments it stands for its value; elsewhere it stays a reference. Awaiting it
    gives the value. Stands in for ``ray.ObjectRef``.
    """

    __slots__ = (
        "__weakref__",
        "base",
        "contact",
        "maker",
        "number",
        "ready",
        "task",
        "value",
        "wakeups",
        "watchers",
    )

    if not hasattr(Promise, "__slots__"):  # pragma: no cover
        raise AssertionError("a promise without slots would give each reference a dictionary")

    raw = True
    is_actor = False

    def describe_actor(self) -> bytes:
        """Where an actor is to be had: see ``actors.ActorRef``."""
        raise NotImplementedError

    def __init__(self, maker: Any = None) -> None:
        self.number = next(_numbers)
        self.base: str | None = None  # None: this process
        self.contact: Contact | None = None  # of its owner, while it is pending and that is another
        self.maker = maker  # what made it, for names in errors and for another attempt
        self.task: Any = None  # the call that makes it, while that is under way
        self.value: Any = None
        self.wakeups = None
        self.watchers: list[Callable[[ObjectRef], None]] | None = None
        self.ready = False

    @property
    def quick(self) -> bool:  # type: ignore[override]
        """Whether settling it runs nothing of others."""
        return self.watchers is None

    # ----------------------------------------------------------------------------------- outcomes

    def fulfil(self, key: int, value: Any) -> None:
        """The value is there, undecoded: plain, a blob, or a blob with what keeps it."""
        if self.ready:
            return
        if type(value) is bytes and value[0] == carried.REFS_MARK:
            value = Kept(value, None, carried.arrive(value, expected=True))
        elif type(value) is Kept and value.refs is None and value.blob[0] == carried.REFS_MARK:
            value.refs = carried.arrive(value.blob, expected=True)
        self.value = value
        self.task = None
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        """There will be no value."""
        if not self.ready:
            self.value = failure
            self.task = None
            self.settle()

    def settle(self) -> None:
        """Let those who wait go on, then those who watch."""
        self.contact = None
        Promise.settle(self)
        if self.watchers is not None:
            self._tell_watchers()

    def watch(self, callback: Callable[[ObjectRef], None]) -> None:
        """Call back once, when the reference is ready: on whichever thread delivers, or at once. It must be quick."""
        with _lock:
            if self.watchers is None:
                self.watchers = [callback]
            else:
                self.watchers.append(callback)
        if self.ready:  # perhaps since before they were looked at
            self._tell_watchers()

    def unwatch(self, callback: Callable[[ObjectRef], None]) -> None:
        """Do not call back any more."""
        with _lock:
            if self.watchers is not None and callback in self.watchers:
                self.watchers.remove(callback)

    def _tell_watchers(self) -> None:
        with _lock:
            watchers, self.watchers = self.watchers, None
        for callback in watchers or ():
            callback(self)

    @property
    def failure(self) -> Failure | None:
        """Why there is no value, if it is ready and there is none."""
        value = self.value
        return value if type(value) is Failure else None

    def load(self) -> Any:
        """A copy of the value; only where it is ready and has one. Raises what unpickling raises."""
        value = self.value
        if type(value) is bytes:
            return loads(value, label="object")
        return value.load() if type(value) is Kept else value

    # --------------------------------------------------------------------------------------- names

    def hex(self) -> str:
        """The object's name, the same in every process: 56 hexadecimal digits."""
        base = (self.base or _Process.base).replace("-", "").rjust(32, "0")
        return f"{base}{self.number:024x}"

    def binary(self) -> bytes:
        """The same, as 28 bytes."""
        return bytes.fromhex(self.hex())

    def task_id(self) -> HexId:
        """The call that makes it, or has made it: 48 hexadecimal digits."""
        return HexId(self.hex()[8:])

    def job_id(self) -> HexId:
        """The process that has made it: 8 hexadecimal digits."""
        return HexId(self.hex()[12:20])

    def owner_address(self) -> str:
        """Where its owner is found, while its value is pending."""
        return self.contact.address if self.contact is not None else ""

    def call_site(self) -> str:
        """Nothing: where references are made is not recorded."""
        return ""

    # ----------------------------------------------------------------------------------- as a future

    def __await__(self) -> Generator[Any, None, Any]:
        return awaiting.as_future(self).__await__()

    def as_future(self) -> asyncio.Future[Any]:
        """A future of the running event loop."""
        return awaiting.as_future(self)

    def future(self) -> concurrent.futures.Future[Any]:
        """A future of ``concurrent.futures``."""
        return awaiting.as_concurrent_future(self)

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __class_getitem__(cls, _item: Any) -> type[ObjectRef]:
        return cls

    # ------------------------------------------------------------------------------------ travelling

    @property
    def blob(self) -> bytes:
        """The value's blob, if that names objects in the store."""
        value = self.value
        return value.blob if type(value) is Kept else b""

    @staticmethod
    def describe(refs: Sequence[ObjectRef]) -> bytes:
        """See ``carried.Carried``."""
        places: dict[str, int] = {}
        contacts: list[Contact | None] = []
        entries: list[tuple[int, int, int, Any]] = []
        mine = _Process.base
        for ref in refs:
            base = ref.base or mine
            place = places.setdefault(base, len(places))
            if place == len(contacts):
                contacts.append(None)
            if ref.is_actor:
                entries.append((place, ref.number, ACTOR, ref.describe_actor()))
                continue
            if not ref.ready and contacts[place] is None:
                contacts[place] = ref.contact or _own_contact()
            if not ref.ready:
                entries.append((place, ref.number, _PENDING, None))
                continue
            value = ref.value
            if type(value) is Failure:
                entries.append((place, ref.number, _FAILED, pack_failure(value)))
            else:
                entries.append((place, ref.number, _READY, value.blob if type(value) is Kept else value))
        return msgspec.msgpack.encode(_Names(list(places), contacts, entries))

    def __reduce__(self) -> tuple[Any, ...]:
        """Out of the engine's sight, by the standard pickle: nobody can tell for how long, so it is kept for good."""
        _pinned[self.number, self.base] = self
        prepare_to_travel(self)
        return _arrive_one, (self.describe([self]),)

    def __copy__(self) -> ObjectRef:
        return self

    def __deepcopy__(self, memo: Any) -> ObjectRef:
        return self


_PENDING, _READY, _FAILED, ACTOR = range(4)
_pinned: dict[tuple[int, str | None], ObjectRef] = {}


class _Names(msgspec.Struct, array_like=True):
    """``entries``: which of the bases, number, state, and the value or failure."""

    bases: list[str]
    contacts: list[Contact | None]
    entries: list[tuple[int, int, int, Any]]


_decode_names = msgspec.msgpack.Decoder(_Names).decode


def next_number() -> int:
    """A number for another object of this process."""
    return next(_numbers)


def base() -> str:
    """What this process's objects are named after."""
    return _Process.base


def _own_contact() -> Contact:
    from distpool.scheduler.client import session

    return session().contact


def prepare_to_travel(ref: ObjectRef) -> None:
    """A value of some size goes into the store, so that its reference is short wherever it goes."""
    if ref.base is None and ref.number not in EXPORTED:
        with _lock:
            EXPORTED[ref.number] = ref
    value = ref.value
    if type(value) is bytes and len(value) > TRAVELS_BYTES_MAX and stored.current() is not None:
        keep: list[Any] = []
        ref.value = Kept(stored.pack_stream(value, keep), keep, None)


def _reduce(pickler: TaskPickler, ref: ObjectRef) -> tuple[Any, ...]:
    prepare_to_travel(ref)
    return carried.placed(pickler.carry(ref))


def travels(kind: type[ObjectRef]) -> None:
    """Have references of this kind pickled by what they are."""
    register(kind, _reduce)


travels(ObjectRef)
register(type(carried.TABLE), lambda _pickler, table: table.__reduce__())


def arrive(names: bytes, expected: bool = False) -> list[ObjectRef]:
    """The references that these names mean, made where there are none yet.

    ``expected``: whoever sent them has seen to it that the values of those that are pending will come.
    """
    message = _decode_names(names)
    bases, contacts, mine = message.bases, message.contacts, _Process.base
    refs: list[ObjectRef] = []
    came: list[ObjectRef] = []
    actors: list[tuple[int, str | None, int, bytes]] = []
    settled: list[tuple[ObjectRef, int, Any]] = []  # not under the lock: what watches them is not ours
    with _lock:
        for place, number, state, value in message.entries:
            base = bases[place]
            if state == ACTOR:
                actors.append((len(refs), None if base == mine else base, number, value))
                refs.append(_NO_REF)
                continue
            ref = EXPORTED.get(number) if base == mine else BORROWED.get((base, number))
            if ref is None:
                ref = _make(None if base == mine else base, number)
                if state == _PENDING and base != mine:
                    ref.contact = contacts[place]
                    came.append(ref)
                elif state == _PENDING:
                    settled.append((ref, _FAILED, pack_failure(Failure(reason=GONE, kind="lost"))))
            if state != _PENDING and not ref.ready:
                settled.append((ref, state, value))
            refs.append(ref)
    for index, base_or_none, number, where in actors:  # nor this: it opens something, and may have to wait
        refs[index] = _arrive_actor(base_or_none, number, where, came)
    for ref, state, value in settled:
        _settle(ref, state, value)
    for ref in came:
        for callback in on_arrival:
            callback(ref, expected)
    return refs


_NO_REF: Any = None
#: Makes, or finds, the reference to an actor: see ``actors``. It notes those that are new.
arrive_actor: list[Callable[[str | None, int, bytes, list[ObjectRef]], ObjectRef]] = []


def _arrive_actor(base: str | None, number: int, where: bytes, came: list[ObjectRef]) -> ObjectRef:
    if not arrive_actor:
        importlib.import_module("distpool.scheduler.remote.actors")
    return arrive_actor[0](base, number, where, came)


GONE = "its owner does not know it any more"


def _make(base: str | None, number: int) -> ObjectRef:
    ref = ObjectRef.__new__(ObjectRef)
    ref.number, ref.base = number, base
    ref.contact = ref.maker = ref.task = ref.value = ref.wakeups = ref.watchers = None
    ref.ready = False
    if base is None:
        EXPORTED[number] = ref
    else:
        BORROWED[base, number] = ref
    return ref


def _settle(ref: ObjectRef, state: int, value: Any) -> None:
    """What came along with a reference is its value; what that needs of the store is held from now on."""
    if state == _FAILED:
        ref.reject(0, unpack_failure(value))
        return
    try:
        ref.fulfil(0, held(value))
    except Exception as error:
        ref.reject(0, Failure(reason=f"its value is not in the object store any more: {error}", kind="lost"))


def held(value: Any) -> Any:
    """The value of a reference that has come in a message or a pickle, with what keeps it from now on."""
    if type(value) is not bytes or not (ids := stored.ids_of(value)):
        return value
    if ids[0] in stored.ARRIVED.objects:
        from distpool.scheduler.serialize import parcels

        return parcels.kept(value, ids)
    store = stored.current()
    if store is None:
        raise RuntimeError("this process has no object store")
    return Kept(value, store.hold(ids), None)


def _arrive_one(names: bytes) -> ObjectRef:
    return arrive(names)[0]


def pack_failure(failure: Failure) -> bytes:
    """A failure for another process."""
    if failure.exception is not None:
        failure = Failure(error=dump_exception(failure.exception), label=failure.label)
    return pickle.dumps(failure, 5)


def unpack_failure(blob: bytes) -> Failure:
    """The other way."""
    failure: Failure = pickle.loads(blob)
    return failure


os.register_at_fork(after_in_child=_Process.renew)
