"""The one small protocol that every front door speaks, and every engine implements.

A front door (Pool, ProcessPoolExecutor, ...) never sees a socket, a message or a worker: it opens an
``EnginePool``, submits calls, and is told how each ended::

    front door                          engine
    ----------                          ------
    open_pool(PoolSpec)          ->     dedicated workers, set up once each
    submit(promise, key, f, a)   ->     ...runs it somewhere...
      promise.fulfil(key, value) <-     it returned value
      promise.reject(key, Failure) <-   it raised, died, was cancelled
    wait(promise, timeout)       ->     sleeps, or drives the engine itself meanwhile

``fulfil`` and ``reject`` run on whichever thread drives the engine, never under its lock; they must be quick and
must not raise. ``key`` is the caller's own number for the call (an index within a ``map``), so that one
promise can stand for a million calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from distpool.errors import Failure
from distpool.scheduler.messages import Strategy

__all__ = [
    "Call",
    "Engine",
    "EnginePool",
    "Failure",
    "PoolSpec",
    "Promise",
    "Terms",
    "WorkerAccount",
    "WorkerInfo",
]


class Promise:
    """What a call's outcome is delivered to. Subclasses say what to do with it.

    (A subclass with ``__slots__`` names ``settled``, ``wakeups`` and ``quick`` in them and sets them when it is made.)

    A subclass sets ``settled`` last, through ``settle``, when whoever waits for it may go on. ``wakeups`` are
    the locks of threads asleep in ``Engine.wait``; the order (``settled``, then look at ``wakeups``; the waiter adds
    its lock, then looks at ``settled``) makes a lost wake-up impossible.
    """

    if not TYPE_CHECKING:
        __slots__ = ()  # so that a subclass may have slots; to the type checker the names below are attributes

    settled: bool = False
    wakeups: list[Any] | None = None
    #: Whether fulfil and reject run no user code but unpickling: then the waiting thread itself may call them.
    quick: bool = True
    #: Whether fulfil is to get values undecoded, as they came: a blob, or ``serialize.Kept``.
    raw: bool = False
    #: Somebody may wait for this one instead, to hear of many at once: what ``fulfil`` and ``reject`` settle as well.
    group: Promise | None = None

    def fulfil(self, key: int, value: Any) -> None:
        """The call with this key returned ``value``."""
        raise NotImplementedError

    def reject(self, key: int, failure: Failure) -> None:
        """The call with this key will return nothing, for this reason."""
        raise NotImplementedError

    def settle(self) -> None:
        """Everything that was promised is there: let the waiting threads go on."""
        self.settled = True
        wakeups = self.wakeups
        if wakeups is not None:
            self.wakeups = None
            for lock in wakeups:
                lock.release()


class Call(Protocol):
    """A submitted call, as far as its submitter needs to know it."""

    key: int

    @property
    def offered(self) -> bool:
        """Whether it lies with a worker (and may be running)."""


@dataclass(frozen=True)
class WorkerInfo:
    """One worker process of a pool."""

    lease: str
    pid: int
    node: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What some calls have otherwise than their pool's. ``limit_s``: how long each may run (None: without end)."""

    retries: int | None = None
    limit_s: float | None = None


@dataclass(frozen=True)
class WorkerAccount:
    """What one worker of a pool has done: times in seconds, data in messages, peak memory; see ``insight``."""

    pid: int
    node: str
    start_s: float
    setup_s: float
    wait_s: float
    work_s: float
    tasks: int
    items: int
    bytes_in: int
    bytes_out: int
    peak_bytes: int
    gone: bool


@dataclass(frozen=True)
class PoolSpec:
    """What a pool is: ``size`` workers (None: the CPUs there are), each set up once by ``initializer(*initargs)``.

    ``max_tasks`` replaces a worker after so many calls (None: never). ``retries`` is how often a call whose worker
    died is run again. ``setup_attempts`` consecutive workers may fail in their set-up before the pool counts as
    broken. ``name`` is a pattern for the workers' ``current_process().name`` ("ForkPoolWorker-%d"). A worker that has
    more than ``memory_bytes_max`` of memory for itself after a call (None: no bound) is replaced. ``environment`` has
    variables that its workers have beyond the program's own, before they load anything. Captured globals are those of
    the moment when the pool is opened, or without ``snapshot`` when a call is submitted.
    """

    size: int | None = None
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] | Callable[[Callable[[Any], bytes]], tuple[Any, ...]] = ()
    max_tasks: int | None = None
    retries: int = 2
    setup_attempts: int = 3
    resources: Mapping[str, float] = field(default_factory=dict)
    name: str = "PoolWorker-%d"
    closures: bool = True  # whether results may hold lambdas and closures
    on_broken: Callable[[Failure], None] | None = None
    memory_bytes_max: int | None = None
    on_workers: Callable[[], None] | None = None  # a worker came or went; called like fulfil
    strategy: Strategy = Strategy()  # noqa: RUF009  # on which nodes; it is frozen
    dedicated: bool = True  # False: workers as there is work for them, given back when idle; ``size`` at most
    self_contained: bool = False  # whether results can be passed on undecoded to any process
    environment: Mapping[str, str] = field(default_factory=dict)
    snapshot: bool = True
    linger_s: float = (
        0.0  # so long a shared worker without work is kept while nobody else wants one; 0: a moment
    )

    def arguments(self, dumps: Callable[[Any], bytes]) -> tuple[Any, ...]:
        """Of the initializer; they may be made only now, by means of what pickles the pool's calls."""
        return self.initargs(dumps) if callable(self.initargs) else self.initargs


class EnginePool(Protocol):
    """A set of dedicated workers, until it is closed or terminated."""

    size: int

    def submit(
        self,
        promise: Promise,
        key: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        terms: Terms | None = None,
    ) -> Call:
        """Run ``function(*args, **kwargs)``. The arguments are copied before this returns.

        A call that runs for longer than its ``terms`` allow is rejected at once; then it is interrupted, and after a
        second its worker killed.

        Raises whatever pickling them raises (with a note naming the path), RuntimeError after close.
        """

    def submit_many(
        self,
        promise: Promise,
        first_key: int,
        function: Callable[..., Any],
        arguments: Sequence[Sequence[Any]],
        shared: Any = None,
        terms: Terms | None = None,
    ) -> list[Call]:
        """Run ``function(*a)`` for each of ``arguments``, with keys ``first_key``, ``first_key + 1``, ...

        A call whose arguments cannot be pickled is rejected on its own; the others run. With ``shared`` (from
        ``share``) an array that occurs in many of these calls, or of later ones with the same memo, is moved once.
        """

    def share(self) -> Any:
        """A memo for calls whose arguments nobody changes until the last of them is submitted; may be None."""

    def cancel(self, calls: Sequence[Call], *, running: bool) -> None:
        """Take back calls that have not started; with ``running`` interrupt the others, kill after 1 s.

        Each is rejected with a cancelled Failure, or ends as it would have if it was too late.
        """

    def give_up(self, promise: Promise, *, running: bool = True) -> None:
        """Nobody wants more of this promise: cancel all of its calls, with ``running`` also those that run."""

    def close(self) -> None:
        """No more calls; the workers go when the last one is done."""

    def terminate(self) -> None:
        """Reject every unfinished call as cancelled and kill the workers."""

    def wait_gone(self, timeout_s: float | None = None) -> bool:
        """Wait until every worker process of the closed pool has been reaped; False on time-out."""

    def resize(self, size: int) -> None:
        """Have ``size`` workers from now on; surplus ones finish what they run."""

    def workers(self) -> list[WorkerInfo]:
        """The workers that are there, oldest first; and the latest that ended, with their exit codes."""

    def accounts(self) -> list[WorkerAccount]:
        """What the pool's workers have done, oldest first, also when it is closed; nothing if that is not counted."""


class Engine(Protocol):
    """A place where pools can be opened."""

    def open_pool(self, spec: PoolSpec) -> EnginePool:
        """Returns at once; workers start in the background."""

    def wait(self, promise: Promise, timeout_s: float | None = None) -> bool:
        """Wait until ``promise.settled``; False on time-out. May drive the engine on the calling thread."""

    def wake(self) -> None:
        """A promise was settled by somebody else: let the one who waits for it look, if that one drives the engine."""

    def shutdown(self) -> None:
        """Terminate every pool and leave (an embedded cluster ends with it)."""
