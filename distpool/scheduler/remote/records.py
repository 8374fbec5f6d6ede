"""What this process can tell of its calls, its actors and its references, if somebody in the cluster asks.

::

    a call is pending, lies with a worker ──► read off the OwnerCore when asked, in a step
    Done, Failed ──► ``note``, once for a batch ──► the latest ``ENDED_MAX``
    an actor ends ─► ``actor_ended`` ──► the latest ``ACTORS_MAX``
    references ───► looked for among the collector's objects when asked: nobody keeps a list of them

    Inquire(topic) ──► ``answer`` ──► Told, encoded
    what is it called, what does it wait for (``inquiries.Knowledge``) ──► ``name_of``, ``waiting_outside``, ...

No message is sent for a call, and nothing is kept for one but a number and what is common to all calls of its kind
(``About``). What is told is bounded; ``left_out`` says how much more there is. Which of a worker's calls *runs*, only
its slot shows: whoever asks puts the two together (``distpool.state_sources``).
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from distpool import worker_hooks
from distpool.errors import Failure, describe_death
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import Done, Failed, Inquire
from distpool.scheduler.messages.insights import Ended, Needed
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import ids_of, stored
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells import mishaps, worker_start

if TYPE_CHECKING:
    from distpool.scheduler.remote.actors import Link
    from distpool.scheduler.session import Session
    from distpool.scheduler.shells.inquiries import Outside

#: Calls, actors and references that are told of, of each sort: what goes on, and what has ended of late.
TOLD_MAX = 10_000
ENDED_MAX = 10_000
ACTORS_MAX = 1_000
FAILED_MAX = 1_000
#: Of why a call has failed, so many characters are kept; of a pickled error that is bigger than this, nothing.
REASON_CHARS_MAX = 2_000
ERROR_BYTES_MAX = 64 << 10

#: States of a call.
WAITS, PENDING, OFFERED, FINISHED, FAILED = range(5)


class About(msgspec.Struct, frozen=True, array_like=True):
    """What calls of a kind have in common."""

    name: str
    function: str
    actor: str = ""  # whose method it is
    resources: dict[str, float] = {}
    side_by_side: bool = False  # its actor runs several calls at once


class TaskFacts(msgspec.Struct, array_like=True):
    """A call. ``about`` is its place in ``Told.abouts``; ``lease`` and ``attempt`` name it to its worker."""

    number: int
    about: int
    state: int
    lease: str = ""
    attempt: int = 0
    ended_s: float = 0.0
    error_type: str = ""
    error: str = ""


class ActorFacts(msgspec.Struct, array_like=True):
    """An actor that this process has created, or taken over; ``key`` is its name in the head, "" for none."""

    actor: str
    name: str  # of its class
    state: str
    key: str
    pid: int
    node: str
    restarts: int
    resources: dict[str, float]
    detached: bool
    group: str = ""
    reason: str = ""


class ObjectFacts(msgspec.Struct, array_like=True):
    """A reference. ``bytes`` is -1 while it has no value."""

    name: str
    bytes: int
    state: int
    made_by: str


class Told(msgspec.Struct, array_like=True):
    """An owner's answer."""

    owner: str
    pid: int
    node: str
    base: str
    abouts: list[About] = []
    tasks: list[TaskFacts] = []
    actors: list[ActorFacts] = []
    objects: list[ObjectFacts] = []
    left_out: int = 0


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Told).decode

#: When, the lease, numbers and makers of calls that have ended well together.
_Batch = tuple[float, str, list[int], list[About]]


class Records:
    """A session's. All but ``actor_ended`` runs in a step."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._done: deque[_Batch] = deque()
        self._done_count = 0
        self._failed: deque[tuple[float, str, int, About, Failed]] = deque(maxlen=FAILED_MAX)
        self._actors: deque[ActorFacts] = deque(maxlen=ACTORS_MAX)
        session.shell.on_outcome = self.note
        for topic in ("tasks", "actors", "objects"):
            session.inquiries.topics[topic] = self.answer
        knowledge = session.inquiries.knowledge
        self._pools_names, self._others_name = knowledge.names_of_pools, knowledge.name_of
        knowledge.names_of_pools, knowledge.name_of = self._names_of_pools, self._name_of
        knowledge.id_of, knowledge.matcher = _id_of, _matcher
        knowledge.waiting_outside, knowledge.ended = self._waiting_outside, self._ended

    # -------------------------------------------------------------------------------- what has ended

    def note(self, message: Done | Failed, sender: str) -> None:
        """Tasks have ended, of one pool. The hot path: nothing is looked at but what they are called."""
        lease = sender.partition(":")[2]
        if isinstance(message, Done):
            tasks = message.tasks
            if tasks[0].token.raw:
                tokens = [task.token for task in tasks]
                self._done.append(
                    (
                        time.time(),
                        lease,
                        [token.number for token in tokens],
                        [token.maker.about for token in tokens],
                    )
                )
                self._done_count += len(tasks)
                while self._done_count > ENDED_MAX and len(self._done) > 1:
                    self._done_count -= len(self._done.popleft()[2])
        elif message.task.token.raw:
            self._note_failed(message, lease)

    def _note_failed(self, message: Failed, lease: str) -> None:
        token = message.task.token
        kept = message
        if message.error is not None and len(message.error) > ERROR_BYTES_MAX:
            kept = Failed(None, reason=f"its error is too big to be kept here: {len(message.error)} bytes")
        else:
            kept = msgspec.structs.replace(message, task=None)
        self._failed.append((time.time(), lease, token.number, token.maker.about, kept))

    def failed_before(self, token: Any, failure: Failure) -> None:
        """A call has failed before it was offered to anybody. Any thread."""
        about = None if token.maker is None else token.maker.about
        if about is not None:
            reason = "cancelled" if failure.cancelled else failure.reason
            failed = Failed(None, failure.error, failure.death, reason, kind=failure.kind)
            self._failed.append((time.time(), "", token.number, about, failed))

    def actor_ended(self, link: Link) -> None:
        """An actor of this process's has ended, or has nobody left who calls it."""
        self._actors.append(_of_actor(link))

    # ----------------------------------------------------------------------------------- being asked

    def answer(self, question: Inquire, say: Callable[[bytes], None]) -> None:
        """Somebody asks. ``say`` is to be called in a step."""
        session, topic = self._session, question.topic
        told = Told(session.core.owner, os.getpid(), session.core.node, refs.base())
        if topic == "tasks":
            self._tell_tasks(told)
        elif topic == "actors":
            self._tell_actors(told)
        elif topic == "objects" and worker_start.this_worker is None:  # workers are asked themselves

            def look() -> None:  # takes long where there are many
                found = tell_objects()
                session.leading.tell(lambda: say(found))

            session.shell.deliveries.append(look)
            return
        else:
            say(b"")
            return
        say(encode(told))

    # ------------------------------------------------------------------------------------------ tasks

    def _tell_tasks(self, told: Told) -> None:
        places: dict[int, int] = {}

        def place(about: About) -> int:
            known = places.get(id(about))
            if known is None:
                known = places[id(about)] = len(told.abouts)
                told.abouts.append(about)
            return known

        for token, state, lease, attempt in self._living():
            if len(told.tasks) == TOLD_MAX:
                told.left_out += 1
            elif token.maker is not None:
                told.tasks.append(TaskFacts(token.number, place(token.maker.about), state, lease, attempt))
        going_on = {facts.number for facts in told.tasks}
        for when_s, lease, numbers, abouts in self._done:
            for number, about in zip(numbers, abouts, strict=True):
                if number not in going_on:
                    told.tasks.append(TaskFacts(number, place(about), FINISHED, lease, 0, when_s))
        for when_s, lease, number, about, failed in list(self._failed):
            if number not in going_on:
                kind, text = _why(failed, about)
                told.tasks.append(TaskFacts(number, place(about), FAILED, lease, 0, when_s, kind, text))

    def _living(self) -> Iterator[tuple[Any, int, str, int]]:
        """Calls that have not ended: token, state, lease and attempt."""
        session = self._session
        for task in _lines(session):
            yield task.token, WAITS, "", 0
        for waiting in dict.fromkeys(list(session.remote.waiting.values())):
            yield waiting.task.token, WAITS, "", 0
        for task in list(session.shell.inbox):
            if type(task) is Task and task.token.raw:
                yield task.token, PENDING, "", 0
        for task in session.core.outcomes.resting:
            if task.token.raw:
                yield task.token, PENDING, "", 0
        for pool in session.core.pools.values():
            for task in pool.queue:
                if not task.token.raw:
                    break  # tasks of one pool are of one kind
                if not task.cancel:
                    yield task.token, PENDING, "", 0
            for lease in pool.leases.values():
                for attempt, task in lease.offered.items():
                    if task.token.raw:
                        yield task.token, OFFERED, lease.lease, attempt

    # ----------------------------------------------------------------------------- why something waits

    def _names_of_pools(self) -> dict[int, tuple[str, str]]:
        links = [*_own_links(self._session), *_borrowed_links()]
        named = {link.native.number: (link.name, link.actor_id) for link in links if link.native is not None}
        return {**self._pools_names(), **named}

    def _name_of(self, task: Task) -> str:
        token = task.token
        if token.raw:
            return "" if token.maker is None else str(token.maker.about.name)
        return self._others_name(task)

    def _waiting_outside(self) -> Iterator[Outside]:
        """Calls of methods in their lines, and calls that wait for arguments."""
        for link in [*_own_links(self._session), *_borrowed_links()]:
            for before, turn in enumerate(link.turns()):
                needs, more = _needs(turn.call.needed)
                yield turn.task, "arguments" if needs else "line", before, needs, more
        for waiting in dict.fromkeys(list(self._session.remote.waiting.values())):
            yield waiting.task, "arguments", 0, *_needs(waiting.needed)

    def _ended(self, about: str) -> list[Ended]:
        """The latest first."""
        number = _number_in(about)
        found = []
        for _, _, told, maker, failed in reversed(list(self._failed)):
            if number == told or maker.name == about:
                kind, text = _why(failed, maker)
                found.append(Ended(_hex_id(told), maker.name, f"{kind}: {text}"))
        for _, _, numbers, makers in reversed(list(self._done)):
            for told, maker in zip(numbers, makers, strict=True):
                if number == told or maker.name == about:
                    found.append(Ended(_hex_id(told), maker.name))
        return found

    # ----------------------------------------------------------------------------------------- actors

    def _tell_actors(self, told: Told) -> None:
        told.actors += self._actors
        for link in _own_links(self._session):
            if len(told.actors) < TOLD_MAX:
                told.actors.append(_of_actor(link))
            else:
                told.left_out += 1


#: Of the values that a call waits for, so many are told.
NEEDED_TOLD_MAX = 5


def _needs(refs_needed: Iterable[ObjectRef]) -> tuple[tuple[Needed, ...], int]:
    pending = [ref for ref in refs_needed if not ref.settled]
    told = [
        Needed(str(ref.task_id()), "" if ref.maker is None else str(ref.maker.name))
        for ref in pending[:NEEDED_TOLD_MAX]
    ]
    return tuple(told), len(pending) - len(told)


def _base_digits() -> str:
    return refs.base().replace("-", "").rjust(32, "0")


def _hex_id(number: int) -> str:
    """The name of a call of this process: see ``ObjectRef.task_id``."""
    return f"{_base_digits()}{number:024x}"[8:]


def _id_of(task: Task) -> str:
    return _hex_id(task.token.number) if task.token.raw and task.token.maker is not None else ""


def _number_in(about: str) -> int:
    """Of a task's name, or its result's, the number that it has in this process; -1 if it is none of this one's."""
    if len(about) in (48, 56) and about[-48:-24] == _base_digits()[8:]:
        try:
            return int(about[-24:], 16)
        except ValueError:
            pass
    return -1


def _matcher(about: str) -> Callable[[Task, str], bool]:
    number = _number_in(about)
    if number >= 0:
        return lambda task, _name: (
            task.token.raw and task.token.maker is not None and task.token.number == number
        )
    return lambda _task, name: name == about


def tell_objects() -> bytes:
    """This process's references, encoded. Any thread."""
    told = Told("", os.getpid(), current_node(), refs.base())
    first = refs.first_number
    for ref in gc.get_objects():
        if type(ref) is not ObjectRef or (ref.base is None and ref.number < first):
            continue
        if len(told.objects) == TOLD_MAX:
            told.left_out += 1
            continue
        state = FAILED if ref.failure is not None else FINISHED if ref.settled else WAITS
        made_by = "" if ref.maker is None else ref.maker.name
        told.objects.append(ObjectFacts(ref.hex(), _size(ref), state, made_by))
    return encode(told)


def _size(ref: ObjectRef) -> int:
    """How many bytes its value takes: in the store, or here."""
    value = ref.value
    if not ref.settled:
        return -1
    blob = value.blob if type(value) is Kept else value
    if type(blob) is not bytes:
        return 8
    size = len(blob)
    store: Any = stored.current()
    if store is not None:
        size += store.size_of(ids_of(blob))
    return size


worker_hooks.tell_objects = tell_objects


def _of_actor(link: Link) -> ActorFacts:
    native = link.actor
    spec = native.actor_spec
    ended = link.ended
    if ended is not None or native.closed:
        state = "DEAD"
    elif native.pid:
        state = "ALIVE"
    else:
        state = "RESTARTING" if link.reconstructions else "PENDING_CREATION"
    reason = "" if ended is None else ended.reason or describe_death("", ended.death, "")
    return ActorFacts(
        link.actor_id,
        link.name,
        state,
        link.key,
        native.pid,
        native.node,
        link.reconstructions,
        dict(spec.resources),
        link.detached,
        spec.strategy.group,
        reason[:REASON_CHARS_MAX],
    )


def _own_links(session: Session) -> Iterable[Link]:
    from distpool.scheduler.remote import actors  # which stands on this module

    links = [*list(actors.OWN.values()), *list(actors.ADOPTED.values())]
    return [link for link in links if link.native is not None and link.native.session is session]


def _borrowed_links() -> list[Link]:
    return [ref.maker for ref in refs.borrowed() if ref.is_actor]


def _lines(session: Session) -> Iterator[Task]:
    """Calls of methods that wait for their turn."""
    for link in itertools.chain(_own_links(session), _borrowed_links()):
        yield from [turn.task for turn in link.turns()]


def _why(failed: Failed, about: About) -> tuple[str, str]:
    kind, text = mishaps.why(
        about.name, failed.error, failed.death, failed.reason, failed.kind, of_actor=bool(about.actor)
    )
    return kind, text[-REASON_CHARS_MAX:] if failed.error is not None else text[:REASON_CHARS_MAX]
