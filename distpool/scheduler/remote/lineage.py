"""How a value that has left the store is made again: the call that made it runs once more, and those before it.

::

    fulfil: the value lies in the store ─► Kept.origin: Origin ─┬─ the call: function, arguments
                                                                └─ Parent, for each argument that was a reference
    somebody finds the data gone ─► again(ref) ─► the parents' data, the same way ─► the call ─► the new value takes
                                                                                               the old one's place
    a file of ``put(durable=True)`` ─► read, checked, put into the store again
    its node is gone, a copy is here ─► put into the store here, so that others find it too

A reference that is ready stays so meanwhile. Whoever needs its value waits for a *successor*, one for all who ask;
when that is ready, the value is in the reference again, or why there is none.

**What is kept** is only for values that lie in the store: one that is in this process cannot be lost. An Origin lives
as long as a value that it has made, or one that was made of that. It does not keep the data of arguments that were
references, but their Origins. What is pickled into the arguments it does keep. All that is counted in one table for
the process; beyond ``Limits.lineage_bytes_max`` the oldest are forgotten, and an error says so.

**Of a call that yields** only what is lost is made again: it runs once more, skips what is still there, and ends behind
the last that is wanted. What is found lost meanwhile is made by another run.

**Bounded**: a call is made again for what it has lost as often as it may be repeated (``max_retries``; of an actor's
method ``max_task_retries``), and not at all if it may not. What was let go of, and is made again for another call's
sake, is no loss: it is made as often as that is.

What it is not: how another process asks for this (``following``, ``Recover``).
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distpool.engines.protocol import Promise
from distpool.errors import CannotUnpickle, Failure, StoreError
from distpool.scheduler.messages import Contact
from distpool.scheduler.remote.generators import Stream, StreamAgain
from distpool.scheduler.remote.origins import (
    ORIGIN_BYTES,
    Item,
    Origin,
    Parent,
    held_in,
    made_by,
    parent_of,
    unfold,
    weight,
)
from distpool.scheduler.remote.outcomes import Parts
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import parcels, stored
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.store import files
from distpool.scheduler.store.durable import DIRECTORY_VARIABLE, DurableCopy
from distpool.scheduler.store.files import show_size
from distpool.scheduler.store.patience import FetchLate

if TYPE_CHECKING:
    from distpool.scheduler.cores.tasks import Task
    from distpool.scheduler.remote.recovering import Recovering
    from distpool.scheduler.session import Session

#: Who finds a value gone again and again gives up after so many turns.
TURNS_MAX = 20

#: What a worker raises for an argument whose data has gone.
_CANNOT_BE_READ = (CannotUnpickle, StoreError)

LOST = "lost"
RECONSTRUCTION = "reconstruction"


class Lineage:
    """A session's share in it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.RLock()
        self._known: deque[weakref.ref[Origin]] = deque()  # the oldest first
        self._gone: deque[int] = deque()  # the weights of those that have been let go of
        self.size_bytes = 0
        self._to_start: deque[tuple[Any, Promise, int, list[ObjectRef]]] = deque()
        self.remade = 0  # calls that were made again, in all

    # ------------------------------------------------------------------------------- remembering

    def remember(self, ref: ObjectRef, task: Task) -> Origin | Item | None:
        """How this value in the store was made; called when it comes."""
        origin = task.origin
        if type(origin) is not Origin:
            if not task.retries or not _can_be_made_again(ref, task):
                return None
            origin = task.origin = self._make(ref, task)
        if origin.streamed is None:
            return origin
        stream = task.token
        if isinstance(stream, Stream):  # not one that is made again: there it is for the one that was lost
            origin.streamed[stream.arriving] = ref
        return Item(origin, stream.arriving)

    def _make(self, ref: ObjectRef, task: Task) -> Origin:
        from distpool.scheduler.remote import submitting

        known, results = task.origin
        if isinstance(known, submitting.Call):
            call, needed = copy.copy(known), known.needed
            call.needed, call.sent = [], ()
            unfold(call)
        else:
            call, needed, results = submitting.Call.of_task(task, ref.maker), [], [ref]
        parents = [parent_of(argument) for argument in needed]
        origin = Origin(call, parents, task.retries, self._gone)
        origin.refs = [weakref.ref(result) for result in results]
        size = ORIGIN_BYTES + weight(call.fields["a"]) + sum([weight(parent.value) for parent in parents])
        for ids in held_in(call.keep[1:]):
            size += self._stored_bytes(ids)
        origin.size_bytes = size
        with self._lock:
            self.size_bytes += size
            self._known.append(weakref.ref(origin))
            self._forget_the_oldest()
        return origin

    def _forget_the_oldest(self) -> None:
        while self._gone:
            self.size_bytes -= self._gone.popleft()
        while self.size_bytes > self._session.core.limits.lineage_bytes_max and self._known:
            oldest = self._known.popleft()()
            if oldest is not None:
                self.size_bytes -= oldest.size_bytes
                oldest.size_bytes = 0
                oldest.forget()
        while self._known and self._known[0]() is None:
            self._known.popleft()

    def _stored_bytes(self, ids: Iterable[int]) -> int:
        store = self._session.shell.store
        return 0 if store is None else store.size_of(ids)

    # --------------------------------------------------------------------------------- recovering

    def is_lost(self, value: Any, *, here: bool = False) -> bool:
        """Whether the data of a value that is a reference's is gone from the store.

        ``here``: only if it was on this node; what was elsewhere must be asked for, and whoever needs it will tell.
        """
        store = self._session.shell.store
        if type(value) is not Kept or store is None or value.held is None:
            return False
        try:
            return not store.are_there(stored.ids_of(value.blob), here=here)
        except StoreError:
            return True

    def is_only_here(self, value: Any) -> bool:
        """Whether its data was on a node that is gone, and only this node has a copy: others cannot read it."""
        store = self._session.shell.store
        if type(value) is not Kept or store is None or value.held is None:
            return False
        try:
            return store.are_only_here(stored.ids_of(value.blob))
        except StoreError:
            return False

    def is_out_of_reach(self, value: Any) -> bool:
        """Whether a call elsewhere cannot read it, for the one reason or the other."""
        return self.is_lost(value) or self.is_only_here(value)

    def restore(self, ref: ObjectRef, wait: Callable[[Promise], Any]) -> bool:
        """Have the data of a ready reference there again, or in its place why it is not. Any thread that may wait.

        False: it is lost again and again.
        """
        for _ in range(TURNS_MAX):
            if not self.is_lost(ref.value):
                return True
            wait(self.again(ref))
        return False

    def then(self, gone: Sequence[ObjectRef], what: Callable[[], None]) -> None:
        """Call ``what`` when these have their data again, or a failure in its place."""
        left = [len(gone) + 1]

        def one_less(_: ObjectRef | None) -> None:
            with self._lock:
                left[0] -= 1
                last = not left[0]
            if last:
                what()

        for ref in gone:
            self.again(ref).watch(one_less)
        one_less(None)

    def failed(self, task: Task, failure: Failure) -> bool:
        """A call has raised: if that was since the data of an argument had gone on the way to it, it is made again."""
        from distpool.scheduler.remote import submitting

        call, results = task.origin if type(task.origin) is tuple else (None, ())
        if not isinstance(call, submitting.Call):
            return False
        gone = [ref for ref in call.needed if self.is_out_of_reach(ref.value)]
        renewed = any(
            type(ref.value) is Kept and ref.value.blob is not sent
            for ref, sent in zip(call.needed, call.sent, strict=False)
        )  # since, for others
        if not (gone or renewed) or not isinstance(failure.to_exception(Exception), _CANNOT_BE_READ):
            return False
        self.then(gone, lambda: call.start(task.token, task.retries, results))
        return True

    def again(self, ref: ObjectRef) -> ObjectRef:
        """The successor of a reference whose data is gone: ready when the data is there again, or will not be."""
        with self._lock:
            successor = self._again(ref)
        self._start()
        return successor

    def _start(self) -> None:
        while self._to_start:  # not under the lock: an actor's calls have one of their own
            try:
                call, token, left, results = self._to_start.popleft()
            except IndexError:
                break  # another thread has taken it
            try:
                call.start(token, left, results)
            except Exception as error:
                token.reject(0, Failure(reason=str(error), kind=LOST))

    def _again(self, ref: ObjectRef) -> ObjectRef:
        value = ref.value
        if type(value) is not Kept:
            return ref
        if self.is_only_here(value) and self._put_here(ref, value):
            return ref
        origin, place = made_by(ref, value)
        if type(origin) is DurableCopy:
            self._read(ref, origin)
            return ref
        if type(origin) is Contact:
            recovering: Recovering = self._session.remote.recovering
            return recovering.recover(ref, origin)
        if type(origin) is Origin and origin.running is not None:
            return self._successor(origin, place)
        if (why := self._why_not(ref, origin)) is not None:
            ref.value = why
            return ref
        assert isinstance(origin, Origin)
        return self._successor(origin, place)

    def _successor(self, origin: Origin, place: int, *, counts: bool = True) -> ObjectRef:
        """What is ready when this result of a call is there again. ``counts``: it had been lost, not let go of."""
        if origin.running is None:
            self._make_again(origin, {place}, counts=counts)
            assert origin.running is not None
        successor = origin.later.get(place) or origin.running.get(place)
        if successor is not None and successor.settled:
            self._adopt(origin, place, successor)  # ``_made`` comes behind who was woken
            if origin.streamed is not None and self.is_lost(successor.value):
                successor = None
        if successor is None:  # of a stream: it is found lost while others of it are made
            successor = origin.later[place] = self._new_successor(origin, place)
        return successor

    def _new_successor(self, origin: Origin, place: int) -> ObjectRef:
        successor = ObjectRef(origin.call.plan)
        successor.watch(lambda ready: self._made(origin, place, ready))  # before anybody who waits for it
        return successor

    def _make_again(self, origin: Origin, places: set[int], *, counts: bool = True) -> None:
        """Have the call run, once the lock is free: for all that it returns; of what it yields, for what is lost."""
        origin.left -= counts
        self.remade += 1
        call = copy.copy(origin.call)
        plan, later, origin.later = call.plan, origin.later, {}
        if origin.streamed is None:
            places = set(range(plan.returns))
        else:
            places |= later.keys() | self._lost_of(origin.streamed)
        successors = {
            place: later.get(place) or self._new_successor(origin, place) for place in sorted(places)
        }
        results = list(successors.values())
        origin.running = successors
        call.origin = origin
        call.needed = [self._revive(parent) for parent in origin.parents]
        token: Promise
        if origin.streamed is not None:
            token = StreamAgain(successors, plan)
            call.fields = {**call.fields, "g": 0, "w": list(successors)}
        else:
            token = results[0] if plan.returns == 1 else Parts(results, plan)
        self._to_start.append((call, token, origin.left, results))

    def _lost_of(self, streamed: Mapping[int, ObjectRef]) -> set[int]:
        """Which values of a stream are gone, so that one run makes all of them: a node that is lost takes many."""
        ids = {
            place: stored.ids_of(ref.value.blob)
            for place, ref in list(streamed.items())
            if type(ref.value) is Kept and ref.value.held is not None
        }
        store = self._session.shell.store
        try:
            gone = (
                set() if store is None else store.gone([number for named in ids.values() for number in named])
            )
        except (StoreError, FetchLate):
            return set()  # each is asked for in its turn
        return {place for place, named in ids.items() if not gone.isdisjoint(named)}

    def _made(self, origin: Origin, place: int, ready: ObjectRef) -> None:
        """A successor is ready."""
        with self._lock:
            self._adopt(origin, place, ready)
            refused: list[tuple[ObjectRef, Failure]] = []
            over = origin.running is not None and _all_settled(origin.running)
            if over:
                origin.running = None
                if origin.later:
                    refused = self._make_the_rest(origin)
        for successor, reason in refused:
            successor.reject(0, reason)
        if over:
            self._start()

    @staticmethod
    def _adopt(origin: Origin, place: int, ready: ObjectRef) -> None:
        """What a successor has is the reference's."""
        value = ready.value
        if isinstance(value, Failure):
            why = value.reason or ("it raised an exception" if value.error is not None else "it failed")
            value = Failure(
                kind=RECONSTRUCTION,
                reason=f"its data was gone from the object store, and {origin.name}, run again, failed: {why}",
            )
        if (ref := origin.ref_at(place)) is not None:
            ref.value = value

    def _make_the_rest(self, origin: Origin) -> list[tuple[ObjectRef, Failure]]:
        """What was found lost while others were made is made now; or it is said why not."""
        if (why := self._why_not(None, origin)) is None:
            self._make_again(origin, set())
            return []
        refused, origin.later = origin.later, {}
        for place in refused:
            if (ref := origin.ref_at(place)) is not None:
                ref.value = why
        return [(successor, why) for successor in refused.values()]

    def _revive(self, parent: Parent) -> ObjectRef:
        """An argument of a call that is made again."""
        ref = parent.ref()
        if ref is not None and not (ref.settled and self.is_lost(ref.value)):
            return ref
        if ref is not None:
            return self._again(ref)
        new = ObjectRef()
        origin = parent.origin
        if origin is None and parent.place >= 0:
            new.fulfil(0, parent.value)
            return new
        if origin is not None and origin.running is not None:
            return self._successor(origin, parent.place)
        if (why := self._why_not(None, origin)) is not None:
            new.reject(0, why)
            return new
        assert origin is not None
        return self._successor(origin, parent.place, counts=False)

    def _why_not(self, ref: ObjectRef | None, origin: Any) -> Failure | None:
        """Why a value cannot be made again, if it cannot."""
        gone = "its data is gone from the object store"
        if type(origin) is not Origin:
            maker = None if ref is None else ref.maker
            if ref is None:
                what = "an argument that it was made of was put, and nobody has a reference to that any more"
                return Failure(kind=RECONSTRUCTION, reason=f"{gone}, and {what}")
            if maker is None:
                what = "what is put can be had again if it is put with durable=True"
                return Failure(kind=LOST, reason=f"{gone}; {what}")
            what = f"the call that has made it, {maker.name}, may not be repeated"
            if maker.retries:
                what = f"how {maker.name} has made it is not remembered: it has sent it in a message"
            return Failure(kind=LOST, reason=f"{gone}, and {what}")
        if origin.forgotten:
            limit = show_size(self._session.core.limits.lineage_bytes_max)
            what = f"how {origin.name} has made it was forgotten: this process remembers {limit} of calls at most"
            return Failure(kind=RECONSTRUCTION, reason=f"{gone}, and {what}")
        if not origin.left:
            what = f"{origin.name}, which makes it, was repeated as often as it may be (max_retries)"
            return Failure(kind=RECONSTRUCTION, reason=f"{gone}, and {what}")
        return None

    @staticmethod
    def _put_here(ref: ObjectRef, value: Kept) -> bool:
        """What there is only a copy of is an object of this node's from now on; returns whether it is."""
        try:
            keep: list[Any] = []
            renewed = Kept(stored.pack_stream(parcels.self_contained(value.blob), keep), keep, value.refs)
        except (SerializationError, StoreError):
            return False  # the copy has gone meanwhile, or there is no room for another one
        renewed.origin = value.origin
        ref.value = renewed
        return True

    @staticmethod
    def _read(ref: ObjectRef, durable: DurableCopy) -> None:
        """From its file into the store again."""
        try:
            keep: list[Any] = []
            renewed = Kept(stored.pack_stream(durable.read(), keep), keep, None)
            renewed.origin = durable
            ref.value = renewed
        except (OSError, StoreError, ValueError) as error:
            ref.value = Failure(
                kind=LOST, reason=f"its data is gone from the object store, and from its file: {error}"
            )


def _all_settled(results: dict[int, ObjectRef]) -> bool:
    """They mostly come in their order, so the last one tells."""
    return results[next(reversed(results))].settled and all(ref.settled for ref in results.values())


def _can_be_made_again(ref: ObjectRef, task: Task) -> bool:
    """Not if its function was known to a pool that has gone meanwhile.

    A call with arguments that are references may have run by a pool of its data's node, beside its own.
    """
    from distpool.scheduler.remote import submitting

    plan = ref.maker
    pool = plan.pool if plan.link is None else plan.link.actor
    call = task.origin[0]
    number = call.pool.number if isinstance(call, submitting.Call) else task.pool
    return pool is not None and bool(pool.number == number)


def durable_copy(blob: bytes) -> DurableCopy | None:
    """A file with all that a blob names, if it names anything. Raises DiskFull, StoreError."""
    if not stored.ids_of(blob):
        return None
    directory = os.environ.get(DIRECTORY_VARIABLE) or files.disk_directory(os.environ)
    return DurableCopy(parcels.pieces(blob), directory)
