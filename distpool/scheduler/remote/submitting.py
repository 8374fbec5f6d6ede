"""Remote calls: which workers run them, what becomes of references among their arguments, and another attempt.

::

    call(plan, f, args) ─► ObjectRef            arguments that are references, at the top level only:
          │                                        all ready ──► their values, undecoded, beside the pickled rest
          ▼ Plan.shape                             pending ────► the task waits; the last one to come offers it
    shared pool of that shape ── Task(token=ref) ──► OwnerCore                a failed one fails the call, as it failed
                                   │
                                   └── raised, and may be tried again: ``Attempts`` submits it anew

A **shape** is what makes workers of one call fit for another: resources, environment, strategy, how many calls until
they are replaced. Each has a pool of shared leases, which come with the work and go when there is none.

Stands in for what ``ray.remote`` functions do when they are called.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distpool import worker_hooks
from distpool.engines.protocol import PoolSpec, Promise
from distpool.errors import Failure
from distpool.scheduler import client
from distpool.scheduler.client import NativePool, Session
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import CancelTasks, Contact, Lingers, Preload, Read, Strategy, encode
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.following import EARLY_S, Following
from distpool.scheduler.remote.generators import ObjectRefGenerator, Stream
from distpool.scheduler.remote.lineage import Lineage, Origin, durable_copy
from distpool.scheduler.remote.records import About, Records
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import PLAIN_TYPES, Exporter, is_plain, stored
from distpool.scheduler.serialize.carried import Pending
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells import actor_calls, worker_start
from distpool.scheduler.store.ledger_table import store_of

#: Leases of one shape, at most. What they ask of a node bounds them, or for those that ask nothing, this.
LEASES_MAX = 1024
FREE_LEASES_MAX = 32
#: How often a retired worker looks whether it may go.
LINGER_LOOK_S = 0.05
#: Stands for "without end" among retries.
ENDLESS = 1 << 40


@dataclass(frozen=True)
class Shape:
    """What workers must be like. Equal shapes share their workers."""

    resources: tuple[tuple[str, float], ...] = (("CPU", 1.0),)
    max_calls: int = 0
    environment: str = ""  # the key of ``Plan.setup``
    strategy: Strategy = Strategy()  # noqa: RUF009  # it is frozen
    linger_s: float = 0.0  # see ``PoolSpec``


@dataclass(eq=False)
class Plan:
    """How calls of a remote function are made; one for each set of options.

    ``setup``, with its arguments, runs once on each worker of the shape. ``retry_on`` says whether what a call has
    raised may be tried again. ``returns``: how many values a call gives, 1 unless it is split. ``yields``: it yields
    its values one by one, and this many may lie unread (0: any number).
    """

    name: str = ""
    label: str = ""  # what the call was named, if it was: the worker is to know
    shape: Shape = field(default_factory=Shape)
    retries: int = 3
    retry_on: Callable[[Failure], bool] | None = None
    returns: int = 1
    yields: int | None = None
    setup: tuple[Callable[..., Any], Any] | None = None
    kept: Any = None  # what must live as long as workers of the shape may start
    version: int = 0  # of the driver's own modules, when it was made
    link: Any = None  # of an actor's method: ``actors.Link``
    pool: NativePool | None = None  # the last one used

    def __post_init__(self) -> None:
        self.about = about(self)
        self.simple = self.returns == 1 and self.yields is None and self.retry_on is None and not self.label


def about(plan: Plan) -> About:
    """What is told of its calls to who asks."""
    link = plan.link
    if link is None:
        function = plan.name.rpartition(".")[2]  # without what it is defined in
        return About(plan.label or function, function, resources=dict(plan.shape.resources))
    return About(plan.name, plan.name, link.actor_id, side_by_side=link.side_by_side)


#: So much more of a call's data must lie on another node than on this one for it to be made there.
NEAR_BYTES_MIN = 1 << 20
#: What workers of remote calls need, and would have to import one by one.
PRELOADED = ("distpool.tasks", "distpool.objects", "distpool.actors", "distpool.scheduler.shells.actor_loop")


def _recovering(session: Session) -> Any:
    from distpool.scheduler.remote.recovering import Recovering  # likewise

    return Recovering(session)


def _adopting(session: Session) -> Any:
    from distpool.scheduler.remote.adopting import Adopting  # which stands on this module

    return Adopting(session)


class Remote:
    """What a session has of remote calls."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.leading = session.leading
        self.following = Following(session)
        self.adopting: Any = _adopting(session)
        self.records = Records(session)
        self.lineage = Lineage(session)
        self.recovering: Any = _recovering(session)
        self.waiting: dict[
            ObjectRef, _Waiting
        ] = {}  # calls that wait for their arguments, by their (first) result
        self._pools: dict[Shape, NativePool] = {}
        self._near: dict[tuple[int, str], NativePool] = {}  # number of the pool beside it, node
        if worker_start.this_worker is None:
            preload = encode(Preload(PRELOADED))
            self.leading.tell(lambda: session.shell.say(session.shell.home, preload))
        self._lock = threading.RLock()

    def pool(self, plan: Plan) -> NativePool:
        """The pool of a plan's shape."""
        shape = plan.shape
        with self._lock:
            pool = self._pools.get(shape)
            if pool is None or pool.failure is not None:
                needs = dict(shape.resources)
                setup = plan.setup or (None, ())
                pool = self._pools[shape] = self.session.open_pool(
                    PoolSpec(
                        size=LEASES_MAX if any(needs.values()) else FREE_LEASES_MAX,
                        initializer=setup[0],
                        initargs=setup[1],
                        max_tasks=shape.max_calls or None,
                        resources=needs,
                        strategy=shape.strategy,
                        name="RemoteWorker-%d",
                        dedicated=False,
                        self_contained=True,
                        linger_s=shape.linger_s,
                    )
                )
        plan.pool = pool
        return pool

    def near(self, pool: NativePool, values: Sequence[Any]) -> NativePool:
        """The pool for a call that needs these: the one beside ``pool`` of the node where most of the data lies."""
        weights: Counter[int] = Counter()
        for value in values:
            if type(value) is Kept:
                for number, size in zip(stored.ids_of(value.blob), stored.sizes_of(value.blob), strict=True):
                    weights[store_of(number)] += size
        if not weights or pool.spec.strategy != Strategy():
            return pool
        shell = self.session.shell
        best, most = weights.most_common(1)[0]
        node = shell.node_of_store.get(best, "")
        if (
            not node
            or best == self.session.core.store
            or most - weights[self.session.core.store] < NEAR_BYTES_MIN
        ):
            return pool
        with self._lock:
            near = self._near.get((pool.number, node))
            if near is None:
                spec = dataclasses.replace(pool.spec, strategy=Strategy("near", node))
                near = self._near[pool.number, node] = self.session.open(
                    lambda number: NativePool(self.session, number, spec, pool.size, pool)
                )
        return pool if near.closed or near.failure is not None else near

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Call ``what`` on the thread that delivers, after a while."""
        shell = self.session.shell
        self.leading.tell(lambda: shell.call_later(delay_s, what))

    def end(self) -> None:
        """The session has ended: what nobody will ever settle is lost."""
        failure = Failure(reason="the session that it was made in has ended", kind="lost")
        for waiting in list(self.waiting.values()):
            waiting.task.token.reject(0, failure)
        self.waiting.clear()
        self.following.end(failure)
        self.recovering.end(failure)

    def unfinished(self) -> bool:
        """Whether this process must stay: it has calls under way, or owes others values or actors. In a delivery."""
        for pool in list(self.session.core.pools.values()):
            actor = pool.actor
            if pool.pending or pool.offered or pool.resting:
                return True
            if actor is not None and actor.borrow is None and pool.live:
                return True
        return bool(self.waiting) or self.following.owes


def here() -> Remote:
    """This process's, of its session, which the first call starts."""
    session = client.session()
    remote: Remote | None = session.remote
    if remote is None:
        with _making:
            remote = session.remote
            if remote is None:
                remote = session.remote = Remote(session)
    return remote


_making = threading.RLock()


def call(plan: Plan, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run ``function(*args, **kwargs)`` somewhere; the arguments are copied before this returns.

    Returns:
        An ObjectRef; or a list of as many as ``plan.returns`` says, None for none.

    Raises:
        What pickling the function or its arguments raises, StoreFull, DiskFull.
    """
    pool = plan.pool
    if pool is None or pool.closed or pool.failure is not None:
        pool = here().pool(plan)
    exporter = pool.exporter
    keep: Any
    number, blob, keep = exporter.function(function)
    if plan.simple and not kwargs and all_plain(args):  # what most calls are like
        ref = ObjectRef(plan)
        ref.task = task = Task(pool.number, ref, made_by(), number, blob, list(args), 64, plan.retries, keep)
        pool.leading.submit(task)
        return ref
    return Call(plan, pool, number, blob, keep, args, kwargs).submit()


def made_by() -> int:
    """The attempt whose call this is, the key of its task, so that it can be cancelled with that; 0 in a driver."""
    start = worker_start.this_worker
    return 0 if start is None else actor_calls.running.get() or start.slot[0]


def all_plain(values: Sequence[Any]) -> bool:
    """Whether none of them must be pickled."""
    for value in values:  # noqa: SIM110  # a generator would cost as much as all the rest
        if type(value) not in PLAIN_TYPES or not is_plain(value):
            return False
    return True


class Call:
    """A call that is not of the simplest kind."""

    def __init__(
        self,
        plan: Plan,
        pool: NativePool,
        number: int,
        blob: bytes,
        keep: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.number = number
        self.function_blob = blob
        self.keep: list[Any] = [keep]
        self.places: list[int | str] = []  # of the arguments that are references
        self.needed: list[ObjectRef] = []  # those
        self.origin: Origin | None = None  # it is made again
        self.sent: Sequence[Any] = ()  # the values of the needed ones, as they were when it was offered
        self.fields: dict[str, Any] = {}
        rest, named = self._take_out_references(args, kwargs)
        if named or not all_plain(rest):
            brief = not self.needed  # with references it may be long until it is read
            self.fields["a"] = pool.exporter.dumps((tuple(rest), named), keep=self.keep, brief=brief)
        else:
            self.fields["a"] = rest
        if plan.label:
            self.fields["t"] = plan.label
        if plan.yields is not None:
            self.fields["g"] = plan.yields
        elif plan.returns != 1:
            self.fields["n"] = plan.returns

    @classmethod
    def of_task(cls, task: Task, plan: Plan) -> Call:
        """One of the simplest kind, to be made again: the core has left arguments and what keeps them."""
        call = cls.__new__(cls)
        payload, keep = task.origin
        call.plan, call.number, call.function_blob = plan, task.function, task.blob
        pool: NativePool | None = plan.pool if plan.link is None else plan.link.actor
        assert pool is not None  # it has made a call
        call.pool = pool
        call.keep, call.places, call.needed, call.origin, call.sent = [keep], [], [], None, ()
        call.fields = {"a": payload}
        return call

    def _take_out_references(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        rest, named = list(args), dict(kwargs)
        for position, value in enumerate(args):
            if isinstance(value, ObjectRef):
                self.places.append(position)
                self.needed.append(value)
                rest[position] = None
        for name, value in kwargs.items():
            if isinstance(value, ObjectRef):
                self.places.append(name)
                self.needed.append(value)
                named[name] = None
        return rest, named

    def submit(self) -> Any:
        """Make the references of the results, and offer the task as soon as its arguments are there."""
        plan = self.plan
        if plan.yields is not None:
            return self._submit_stream(plan.yields)
        results = [ObjectRef(plan) for _ in range(plan.returns)]
        token: Promise = results[0] if plan.returns == 1 else Parts(results, plan)
        if plan.retry_on is not None and plan.retries:
            token = Attempts(self, token, plan.retries)
        self.start(token, plan.retries, results)
        if plan.returns == 1:
            return results[0]
        return results or None

    def _submit_stream(self, unread_max: int) -> ObjectRefGenerator:
        leading = self.pool.leading

        def consumed(count: int) -> None:
            if (task := stream.done.task) is not None:
                leading.tell(Read(task, count))

        stream = Stream(self.plan, consumed if unread_max else None)
        self.start(stream, self.plan.retries, [stream.done])
        return ObjectRefGenerator(stream)

    def start(self, token: Promise, retries: int, results: Sequence[ObjectRef]) -> None:
        """Make an attempt; what is left of ``retries`` is for deaths of workers."""
        task = Task(
            self.pool.number, token, made_by(), self.number, self.function_blob, None, 64, retries, self.keep
        )
        task.origin = self.origin or (self, results)
        for ref in results:
            ref.task = task
        self.start_waiting(task, results)

    def start_waiting(self, task: Task, results: Sequence[ObjectRef]) -> None:
        """Offer it as soon as its arguments are there."""
        if all(ref.settled for ref in self.needed):
            self.offer(task)
        else:
            _Waiting(self, task, results)

    def offer(self, task: Task) -> None:
        """All arguments are there; if one has left the store meanwhile, once it is there again."""
        lineage = here().lineage
        if gone := [ref for ref in self.needed if lineage.is_lost(ref.value, here=True)]:
            lineage.then(gone, lambda: self.offer(task))
            return
        values = []
        for ref in self.needed:
            value = ref.value
            if type(value) is Failure:
                reject(task, of_an_argument(value, ref))
                return
            values.append(refs.passed_on(value, []) if type(value) is Kept else value)
        self.sent = values
        if values and self.plan.link is None:
            task.pool = here().near(self.pool, [ref.value for ref in self.needed]).number
        if values:
            task.keep = [*self.keep, *self.needed]
            task.payload = {**self.fields, "p": self.places, "v": values}
        else:
            task.payload = self.fields["a"] if len(self.fields) == 1 else self.fields
        task.size = 64 + sum([len(value) for value in (self.fields["a"], *values) if type(value) is bytes])
        self.pool.leading.submit(task)


def reject(task: Task, failure: Failure) -> None:
    """A call fails before anybody was to run it."""
    if (session := client.current()) is not None and session.remote is not None:
        session.remote.records.failed_before(task.token, failure)
    task.token.reject(0, failure)


def of_an_argument(failure: Failure, ref: ObjectRef) -> Failure:
    """Why a call has failed whose argument has."""
    if failure.call or ref.maker is None:
        return failure
    return dataclasses.replace(failure, call=ref.maker.name)


class _Waiting:
    """A task some of whose arguments are pending."""

    def __init__(self, made: Call, task: Task, results: Sequence[ObjectRef]) -> None:
        self.task = task
        self._made = made
        self._results = results
        self._lock = threading.Lock()
        pending = [ref for ref in made.needed if not ref.settled]
        self._left = len(pending) + 1
        self.needed = made.needed
        self._remote = here()
        for ref in results:
            self._remote.waiting[ref] = self
        for ref in pending:
            ref.watch(self._one_ready)
        self._one_ready(None)

    def _one_ready(self, ref: ObjectRef | None) -> None:
        failed = ref is not None and ref.failure is not None  # no need to wait for the others
        with self._lock:
            self._left -= 1
            go = self._left == 0 or (failed and self._left > 0)
            if go:
                self._left = 0 if self._left == 0 else -1
        if go and self._leave():
            if ref is not None and failed:
                failure = ref.failure
                assert failure is not None
                reject(self.task, of_an_argument(failure, ref))
            else:
                self._made.offer(self.task)

    def _leave(self) -> bool:
        """Returns whether it was still waiting."""
        waiting = self._remote.waiting  # not ``here``: it may have ended, and that would start another
        was = [waiting.pop(ref, None) for ref in self._results]
        return not was or any(was)

    def cancel(self) -> None:
        """Its arguments are not there yet, and are not needed any more."""
        if self._leave():
            with self._lock:
                self._left = -1
            reject(self.task, Failure(cancelled=True))


class Parts(Promise):
    """The promise of a call that gives several values: each goes to a reference of its own."""

    __slots__ = ("maker", "number", "refs", "settled", "wakeups")

    raw = True

    def __init__(self, results: list[ObjectRef], plan: Plan) -> None:
        self.refs = results
        self.maker = plan
        self.number = results[0].number if results else refs.next_number()
        self.settled = False
        self.wakeups = None

    @property
    def quick(self) -> bool:  # type: ignore[override]
        """Whether settling it runs nothing of others."""
        return all(ref.quick for ref in self.refs)

    def fulfil(self, key: int, value: Any) -> None:
        """A list of values, as the worker has taken its result apart."""
        for ref, part in zip(self.refs, value or (), strict=True):
            ref.fulfil(0, part)
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        """None of them has a value."""
        for ref in self.refs[:1]:
            ref.reject(0, failure)
            if not ref.settled:
                return  # the call is made again
        for ref in self.refs[1:]:
            ref.task = None
            ref.reject(0, failure)
        self.settle()


class Attempts(Promise):
    """The promise of a call that is made again if it raises; ``promise`` gets how it ended at last."""

    raw = True
    quick = False

    def __init__(self, made: Call, promise: Promise, retries: int) -> None:
        self._made = made
        self._promise = promise
        self._left = ENDLESS if retries < 0 else retries

    @property
    def number(self) -> int:
        """That of the call's (first) result."""
        number: int = self._promise.number  # type: ignore[attr-defined]
        return number

    @property
    def maker(self) -> Plan:
        """How it is called."""
        return self._made.plan

    def fulfil(self, key: int, value: Any) -> None:
        """Done."""
        self._promise.fulfil(0, value)

    def reject(self, key: int, failure: Failure) -> None:
        """Try again, if that may help."""
        may = self._made.plan.retry_on
        assert may is not None
        if self._left > 0 and failure.error is not None and may(failure):
            self._left -= 1
            results = self._promise.refs if isinstance(self._promise, Parts) else [self._promise]
            self._made.start(self, self._left, results)  # type: ignore[arg-type]
        else:
            self._promise.reject(0, failure)


def cancel(ref: ObjectRef | ObjectRefGenerator, *, force: bool, recursive: bool = True) -> None:
    """Cancel the call that makes this reference, if it is not done: before it starts, or where it runs."""
    if isinstance(ref, ObjectRefGenerator):
        ref = ref.completed()
    remote = here()
    waiting = remote.waiting.get(ref)
    if waiting is not None:
        waiting.cancel()
        return
    task = ref.task
    link = getattr(ref.maker, "link", None)
    if link is not None and link.cancel_waiting(ref):
        return
    if task is not None and not ref.settled:
        remote.leading.tell(CancelTasks([task], True, force, recursive))


_exporter: Exporter | None = None


def put(value: Any, *, durable: bool = False) -> ObjectRef:
    """A reference to a copy of a value, complete when this returns; what is big goes into this node's store.

    ``durable``: what goes there is written to a file as well.

    Raises:
        What pickling it raises; StoreFull, DiskFull.
    """
    global _exporter
    if worker_start.this_worker is None and client.current() is None:
        here()
    ref = ObjectRef()
    if type(value) in PLAIN_TYPES and is_plain(value):
        ref.fulfil(0, value)
        return ref
    if stored.current() is None and worker_start.this_worker is None:
        client.session()  # it brings the store
    if _exporter is None:
        _exporter = Exporter(snapshot=False, stores_units=False)
    keep: list[Any] = []
    blob = _exporter.dumps(value, label="object", keep=keep)
    if keep:
        inner = [held for held in keep if isinstance(held, ObjectRef)]
        ref.value = Kept(blob, keep, inner)
    elif durable and len(blob) > refs.TRAVELS_BYTES_MAX and stored.current() is not None:
        ref.value = Kept(stored.pack_stream(blob, keep), keep, None)  # now, not only when it travels
    else:
        ref.value = blob
    if durable and type(ref.value) is Kept:
        ref.value.origin = durable_copy(ref.value.blob)
    ref.settle()
    return ref


# ------------------------------------------------------------------------------------- in a worker


def _make_safe() -> None:
    here().following.wait_safe()


def _hand_over(keep: list[Any], whom: tuple[str, str, str, int]) -> None:
    # Not what is pending now: what was pending when the answer was written.
    pending = [ref for held in keep if type(held) is Pending for ref in held.refs]
    if pending:
        here().following.hand_over(pending, Contact(*whom))


def _cancel_calls(attempt: int) -> None:
    """On the second thread: the attempt is cancelled, and what it has called with it."""
    session = client.current()
    if session is None or session.remote is None:
        return
    remote: Remote = session.remote

    def find() -> None:
        """In a step."""
        core = session.core
        called = [task for task in core.unfinished(*core.pools.values()) if task.key == attempt]
        if called:
            session.leading.tell(CancelTasks(called, True))

    for waiting in [waiting for waiting in list(remote.waiting.values()) if waiting.task.key == attempt]:
        waiting.cancel()
    session.leading.tell(find)


class _Over(Promise):
    """Ready when a retired worker may go."""

    quick = False


def _linger() -> None:
    """On the main thread of a worker that was told to retire."""
    session = client.current()
    if session is None or session.remote is None:
        return
    remote: Remote = session.remote
    over = _Over()
    said = False

    def look() -> None:
        nonlocal said
        if not remote.unfinished():
            over.settle()
            return
        if not said:
            said = True
            session.leading.tell(lambda: session.shell.say(session.shell.home, encode(Lingers())))
        remote.later(LINGER_LOOK_S, look)

    session.leading.tell(lambda: session.shell.deliveries.append(look))
    session.wait(over)


def _arrived(ref: ObjectRef, expected: bool, via: Contact | None) -> None:
    here().following.follow(ref, expected, via)


def _keep_a_while(unkept: list[ObjectRef]) -> None:
    """An exception with references in it is loaded when somebody asks for it; whoever raised it has let go by then."""
    session = client.current()
    if session is not None and session.remote is not None:
        session.remote.later(EARLY_S, unkept.clear)


def _returned(ref: ObjectRef) -> None:
    session = client.current()
    if session is not None and session.remote is not None:
        session.remote.following.came_back(ref)


def _forget_exporter() -> None:
    global _exporter
    _exporter = None


def _remember(ref: ObjectRef, task: Task) -> Origin | None:
    return here().lineage.remember(ref, task)


def _failed(task: Task, failure: Failure) -> bool:
    return here().lineage.failed(task, failure)


def _gone(ref: ObjectRef, whom: Contact) -> None:
    here().recovering.arrived(ref, whom)


refs.on_arrival.append(_arrived)
refs.on_stored.append(_remember)
refs.on_gone.append(_gone)
refs.on_failed.append(_failed)
refs.on_return.append(_returned)
refs.on_unkept.append(_keep_a_while)
worker_hooks.make_safe = _make_safe
worker_hooks.hand_over = _hand_over
worker_hooks.cancel_calls = _cancel_calls
worker_hooks.linger = _linger
os.register_at_fork(after_in_child=_forget_exporter)
