"""Remote calls: what is sent, what becomes of references among the arguments, and how a call is taken back.

::

    call(plan, f, args) ─► ObjectRef            arguments that are references, at the top level only:
          │                                        all ready ──► their values, undecoded, beside the pickled rest
          ▼ Plan.shape                             pending ────► the task waits; the last one to come offers it
    shared pool of that shape ── Task(token=ref) ──► OwnerCore                a failed one fails the call, as it failed
                                   │
                                   └── raised, and may be tried again: ``outcomes.Attempts`` submits it anew

Most calls are of the simplest kind: one result, plain arguments, nothing to be done when they raise. Those are made
without a ``Call``. Stands in for what ``ray.remote`` functions do when they are called.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import CancelTasks, Read
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.generators import Gathered, ObjectRefGenerator, Raised, Stream
from distpool.scheduler.remote.here import current, here
from distpool.scheduler.remote.origins import Origin
from distpool.scheduler.remote.outcomes import Attempts, Parts, Retries
from distpool.scheduler.remote.plans import Plan
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import PLAIN_TYPES, is_plain
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells import actor_calls, worker_start


def call(plan: Plan, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run ``function(*args, **kwargs)`` somewhere; the arguments are copied before this returns.

    Returns:
        An ObjectRef; or a list of as many as ``plan.returns`` says, None for none.

    Raises:
        What pickling the function or its arguments raises, StoreFull, DiskFull.
    """
    pool = plan.pool
    if pool is None or pool.closed or pool.failure is not None:
        pool = here().pools.of(plan)
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
            token = Attempts(self, token)
        self.start(token, plan.retries, results)
        if plan.returns == 1:
            return results[0]
        return results or None

    def _submit_stream(self, unread_max: int) -> ObjectRefGenerator | ObjectRef:
        leading = self.pool.leading

        def consumed(count: int) -> None:
            if (task := stream.done.task) is not None:
                leading.tell(Read(task, count))

        def again() -> None:
            self.start(stream, retries.left, [stream.done])

        plan = self.plan
        retries = Retries(plan)
        raised = None if plan.retry_on is None else Raised(retries.use_one, again)
        kind = Gathered if plan.gathers else Stream
        stream = kind(plan, consumed if unread_max else None, raised)
        self.start(stream, plan.retries, [stream.done])
        return stream.done if plan.gathers else ObjectRefGenerator(stream)

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
            Waiting(self, task, results)

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
            task.pool = here().pools.near(self.pool, [ref.value for ref in self.needed]).number
        if values:
            task.keep = [*self.keep, *self.needed]
            task.payload = {**self.fields, "p": self.places, "v": values}
        else:
            task.payload = self.fields["a"] if len(self.fields) == 1 else self.fields
        task.size = 64 + sum([len(value) for value in (self.fields["a"], *values) if type(value) is bytes])
        self.pool.leading.submit(task)


def reject(task: Task, failure: Failure) -> None:
    """A call fails before anybody was to run it."""
    if (remote := current()) is not None:
        remote.records.failed_before(task.token, failure)
    task.token.reject(0, failure)


def of_an_argument(failure: Failure, ref: ObjectRef) -> Failure:
    """Why a call has failed whose argument has."""
    if failure.call or ref.maker is None:
        return failure
    return dataclasses.replace(failure, call=ref.maker.name)


class Waiting:
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


def cancel(ref: ObjectRef | ObjectRefGenerator, *, force: bool, recursive: bool = True) -> None:
    """Cancel the call that makes this reference, if it is not done: before it starts, or where it runs."""
    if isinstance(ref, ObjectRefGenerator):
        ref = ref.completed()
    remote = here()
    waiting = remote.waiting.get(ref)
    if waiting is not None:
        waiting.cancel()
        return
    if ref.contact is not None:
        remote.following.cancel(ref, force=force, recursive=recursive)
        return
    task = ref.task
    link = getattr(ref.maker, "link", None)
    if link is not None and link.cancel_waiting(ref):
        return
    if task is not None and not ref.settled:
        remote.leading.tell(CancelTasks([task], True, force, recursive))
