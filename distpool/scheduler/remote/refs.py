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
from distpool.scheduler.remote.hex_ids import JobID, TaskID
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
    _pinned.clear()


#: A reference's value that is bigger than this goes into the store before the reference travels.
TRAVELS_BYTES_MAX = 16 << 10


class _Process:
    """Who counts this process's objects."""

    base = f"{os.getpid():x}-{os.urandom(6).hex()}"
    first = 0  # references that are older, and have no base, are of the process that this one was forked from

    @classmethod
    def renew(cls) -> None:
        """In a forked child: what it makes is its own."""
        global _lock
        _lock = threading.RLock()  # a thread that is not here may hold the old one
        cls.base = f"{os.getpid():x}-{os.urandom(6).hex()}"
        cls.first = next(_numbers)
        for ref in borrowed():
            if not ref.settled:
                _end_here(ref)
        EXPORTED.clear()
        BORROWED.clear()


#: References of this process that have left it, by number.
EXPORTED: weakref.WeakValueDictionary[int, ObjectRef] = weakref.WeakValueDictionary()
#: References of other processes that are here, by base and number.
BORROWED: weakref.WeakValueDictionary[tuple[str, int], ObjectRef] = weakref.WeakValueDictionary()
#: Guards the two, and every ``watchers``. Reentrant: an allocation under it may run a ``__del__`` that comes here too.
_lock = threading.RLock()
#: Told of each pending reference that arrives, whether its value is sent without being asked for, and who has sent
#: it, if that is not its owner: see ``following``.
on_arrival: list[Callable[[ObjectRef, bool, Contact | None], None]] = []
#: Told of each pending reference of this process that comes back.
on_return: list[Callable[[ObjectRef], None]] = []
#: Told of references in a blob that nobody keeps them for.
on_unkept: list[Callable[[list[ObjectRef]], None]] = []


#: Gives the name of the job that this process belongs to.
this_job: list[Callable[[], str]] = []
#: Told of each reference of this process whose value has come and lies in the store; returns its ``Kept.origin``.
on_stored: list[Callable[[ObjectRef, Any], Any]] = []
#: Told of each call of this process that has raised; returns whether it is made again.
on_failed: list[Callable[[Any, Failure], bool]] = []
#: Told of each that has arrived here with the name of a value that is in the store no more: this one is to be asked.
on_gone: list[Callable[[ObjectRef, Contact], None]] = []


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
        "settled",
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
        self.settled = False

    @property
    def quick(self) -> bool:  # type: ignore[override]
        """Whether settling it runs nothing of others."""
        return self.watchers is None

    # ----------------------------------------------------------------------------------- outcomes

    def fulfil(self, key: int, value: Any) -> None:
        """The value is there, undecoded: plain, a blob, or a blob with what keeps it."""
        if self.settled:
            return
        kind = type(value)
        if kind is Kept or (kind is bytes and value[0] == carried.REFS_MARK):
            self.take(value, expected=True)
        else:
            self.value = value
            self.task = None
            self.settle()

    def take(self, value: Any, *, expected: bool) -> None:
        """See ``fulfil``. Not ``expected``: its sender has not seen to the values of the references in it."""
        try:
            if type(value) is bytes and value[0] == carried.REFS_MARK:
                value = Kept(value, None, carried.arrive(value, expected=expected))
            elif type(value) is Kept and value.refs is None and value.blob[0] == carried.REFS_MARK:
                value.refs = carried.arrive(value.blob, expected=expected)
        except Exception as error:  # the session has ended, most likely; whoever waits must hear of it
            value = Failure(reason=f"the references in it cannot be followed: {error}", kind="lost")
        if type(value) is Kept and (task := self.task) is not None and task.origin is not None:
            value.origin = on_stored[0](self, task)
        self.value = value
        self.task = None
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        """There will be no value."""
        if not self.settled:
            task = self.task if failure.error is not None else None
            if task is not None and task.origin is not None and on_failed[0](task, failure):
                return
            self.value = failure
            self.task = None
            self.settle()

    def settle(self) -> None:
        """Let those who wait go on, then those who watch."""
        Promise.settle(self)
        self.contact = None  # not before: what is pending and has none is taken for this process's own
        if self.watchers is not None:
            self._tell_watchers()

    def watch(self, callback: Callable[[ObjectRef], None]) -> None:
        """Call back once, when the reference is ready: on whichever thread delivers, or at once. It must be quick."""
        with _lock:
            if self.watchers is None:
                self.watchers = [callback]
            else:
                self.watchers.append(callback)
        if self.settled:  # perhaps since before they were looked at
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
        return hex_of(self.base or _Process.base, self.number)

    def binary(self) -> bytes:
        """The same, as 28 bytes."""
        return bytes.fromhex(self.hex())

    def task_id(self) -> TaskID:
        """The call that makes it, or has made it: 48 hexadecimal digits."""
        return TaskID(task_id_of(self.base or _Process.base, self.number))

    def job_id(self) -> JobID:
        """The program that this is a part of: 8 hexadecimal digits."""
        return JobID(this_job[0]() if this_job else self.hex()[12:20])

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
        """A future of the running event loop, or of this thread's."""
        return awaiting.as_future(self)

    def future(self) -> concurrent.futures.Future[Any]:
        """A future of ``concurrent.futures``."""
        return awaiting.as_concurrent_future(self)

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        """Have ``callback`` called once with the value or the exception; most often on another thread."""
        self.future().add_done_callback(lambda future: callback(future.exception() or future.result()))

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
    def describe(refs: Sequence[ObjectRef], pending: list[ObjectRef]) -> bytes:
        """See ``carried.Carried``."""
        places: dict[
            tuple[str, str], int
        ] = {}  # base, and who is to be asked: mostly its process, not always
        contacts: list[Contact | None] = []
        entries: list[tuple[int, int, int, Any]] = []
        mine = _Process.base
        own: Contact | None = None
        passes_on = False
        for ref in refs:
            contact = ref.contact  # before looking whether it is ready: see ``settle``
            base = ref.base or mine
            whom: Contact | None = None
            if ref.is_actor or ref.settled:
                contact = None
                if type(ref.value) is Kept:  # who is to be asked if it is lost
                    whom = _maker_of(ref.value)
            elif contact is None:
                contact = own = own or _own_contact()
            else:
                passes_on = True
            whom = whom or contact
            key = base, "" if whom is None else whom.owner
            place = places.setdefault(key, len(places))
            if place == len(contacts):
                contacts.append(whom)
            if ref.is_actor:
                entries.append((place, ref.number, ACTOR, ref.describe_actor()))
            elif contact is not None:
                entries.append((place, ref.number, _PENDING, None))
                pending.append(ref)
            elif type(value := ref.value) is Failure:
                entries.append((place, ref.number, _FAILED, pack_failure(value)))
            else:
                value = passed_on(value, pending) if type(value) is Kept else value
                entries.append((place, ref.number, _READY, value))
        via = (own or _own_contact()) if passes_on else None
        return msgspec.msgpack.encode(_Names([base for base, _ in places], contacts, entries, via))

    @staticmethod
    def stay(refs: Sequence[ObjectRef]) -> None:
        """See ``carried.Carried``."""
        for keep_a_while in on_unkept:
            keep_a_while(list(refs))

    def __reduce__(self) -> tuple[Any, ...]:
        """Out of the engine's sight, by the standard pickle: nobody can tell for how long, so it is kept for good."""
        _pinned[self.number, self.base] = self
        prepare_to_travel(self)
        return _arrive_one, (self.describe([self], []),)

    def __copy__(self) -> ObjectRef:
        return self

    def __deepcopy__(self, memo: Any) -> ObjectRef:
        return self


_PENDING, _READY, _FAILED, ACTOR = range(4)
_pinned: dict[tuple[int, str | None], ObjectRef] = {}


class _Names(msgspec.Struct, array_like=True):
    """``entries``: which of the bases, number, state, and the value or failure.

    ``contacts`` are to be asked for what is pending; if they know nothing of it, ``via``, which has passed it on.
    """

    bases: list[str]
    contacts: list[Contact | None]
    entries: list[tuple[int, int, int, Any]]
    via: Contact | None = None


_decode_names = msgspec.msgpack.Decoder(_Names).decode


def passed_on(kept: Kept, pending: list[ObjectRef]) -> bytes:
    """A value's blob for another process, which says what the references in it have turned out to be by now.

    As it came, it names as pending what has long been finished, and what its owner then knows no more. Those that are
    pending still are added to ``pending``.
    """
    if not kept.refs or kept.is_final:
        return kept.blob
    left: list[ObjectRef] = []
    for ref in kept.refs:
        prepare_to_travel(ref)
    names = ObjectRef.describe(kept.refs, left)
    kept.blob = carried.renamed(kept.blob, names, [ref.blob for ref in kept.refs])
    kept.is_final = not left
    pending += left
    return kept.blob


def borrowed() -> list[ObjectRef]:
    """The references of other processes that are here."""
    with _lock:
        return list(BORROWED.values())


def followed(owner: str | None) -> list[ObjectRef]:
    """The pending references whose value this owner (None: any other) is to send."""
    with _lock:  # its own are those that it has forgotten, and others have brought back
        candidates = [*BORROWED.values(), *(ref for ref in EXPORTED.values() if ref.contact is not None)]
    return [
        ref
        for ref in candidates
        if not ref.settled and (contact := ref.contact) is not None and owner in (None, contact.owner)
    ]


def hex_of(base: str, number: int) -> str:
    """An object's name: 56 hexadecimal digits."""
    return f"{base.replace('-', '').rjust(32, '0')}{number:024x}"


def task_id_of(base: str, number: int) -> str:
    """The name of the call that has this object for its (first) result: 48 hexadecimal digits."""
    return hex_of(base, number)[8:]


def known(base: str, number: int) -> ObjectRef | None:
    """The reference of this name, if it is here and others may have it, too."""
    return EXPORTED.get(number) if base == _Process.base else BORROWED.get((base, number))


def borrow(ref: ObjectRef) -> None:
    """Note a reference of another process."""
    assert ref.base is not None
    with _lock:
        BORROWED[ref.base, ref.number] = ref


def end_stray(ref: ObjectRef) -> None:
    """A pending reference of the process that this one was forked from: its value never comes here."""
    if ref.base is None and ref.number < _Process.first and not ref.settled:
        _end_here(ref)


def _end_here(ref: ObjectRef) -> None:
    ref.wakeups = ref.watchers = None  # of threads and calls of the parent
    ref.reject(0, Failure(reason="the parent process waits for it, and alone gets it", kind="lost"))


def next_number() -> int:
    """A number for another object of this process."""
    return next(_numbers)


def base() -> str:
    """What this process's objects, and its calls, are named after."""
    return _Process.base


def _own_contact() -> Contact:
    from distpool.scheduler.client import session

    return session().contact


def _maker_of(value: Kept) -> Contact | None:
    """Who can make it again if it is lost: this process, if it has made it; or who is known to; None: nobody."""
    origin = value.origin
    if origin is None or type(origin) is Contact:
        return origin
    session = importlib.import_module("distpool.scheduler.client").current()
    return None if session is None or session.remote is None else session.contact


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
    back: list[ObjectRef] = []
    actors: list[tuple[int, str | None, int, bytes]] = []
    settled: list[
        tuple[ObjectRef, int, Any, Contact | None]
    ] = []  # not under the lock: what watches them is not ours
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
                if state == _PENDING:  # of ours, if we have forgotten it: who has sent it is to know
                    ref.contact = contacts[place] if base != mine else message.via
                    came.append(ref)
            elif state == _PENDING and base == mine:
                back.append(ref)
            if state != _PENDING and not ref.settled:
                settled.append((ref, state, value, contacts[place]))
            refs.append(ref)
    for index, base_or_none, number, where in actors:  # nor this: it opens something, and may have to wait
        refs[index] = _arrive_actor(base_or_none, number, where, came)
    for ref, state, value, whom in settled:
        _settle(ref, state, value, expected, whom)
    for ref in came:
        for callback in on_arrival:
            callback(ref, expected, message.via)
    for ref in back:
        for returned in on_return:
            returned(ref)
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
    ref.settled = False
    if base is None:
        EXPORTED[number] = ref
    else:
        BORROWED[base, number] = ref
    return ref


def _settle(ref: ObjectRef, state: int, value: Any, expected: bool, whom: Contact | None) -> None:
    """What came along with a reference is its value; what that needs of the store is held from now on."""
    if state == _FAILED:
        ref.reject(0, unpack_failure(value))
        return
    try:
        value = held(value)
    except Exception as error:
        if whom is not None and ref.base is not None:
            on_gone[0](ref, whom)
            return
        ref.reject(0, Failure(reason=f"its value is not in the object store any more: {error}", kind="lost"))
        return
    if not ref.settled:
        if type(value) is Kept and ref.base is not None:
            value.origin = whom
        ref.take(value, expected=expected)


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
