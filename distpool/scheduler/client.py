"""The process's session: its owner, its engine thread, and the embedded cluster that they started.

::

    session() ─► Session ── engine thread ── OwnerShell ── OwnerCore
                    │                            │
                    │ exec                       │ DEALER
                    ▼                            ▼
                 agent (head + node) ──► nursery ──► workers ──► ROUTER of the OwnerShell

``Session`` is the native implementation of ``engines.protocol.Engine``. There is one a process: made by the first
pool, ended at exit, abandoned in a forked child (whose first pool makes its own). When the embedded agent
dies, another is started and the pools go on; that is bounded, and then every pool is broken, with the reason.
"""

from __future__ import annotations

import atexit
import dataclasses
import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import zmq

from distpool import errors
from distpool.engines.protocol import Call, PoolSpec, Promise, Terms, WorkerAccount, WorkerInfo
from distpool.errors import ClusterError, Failure
from distpool.scheduler.cores.ahead import tasks_ahead
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task, TimeLimit
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    DRIVER,
    CancelTasks,
    ClosePool,
    ClusterLost,
    Contact,
    FactsQuery,
    FactsReport,
    Local,
    NodeLost,
    OpenPool,
    OwnerBye,
    PoolBroken,
    PoolGone,
    Question,
    ResizePool,
    TerminatePool,
    WorkerGone,
    WorkerUp,
    encode,
)
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.serialize import PLAIN_TYPES, Exporter, is_plain, stored
from distpool.scheduler.shells import questions, worker_start
from distpool.scheduler.shells.accounts import PoolAccounts
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.fetching import Fetching
from distpool.scheduler.shells.inquiries import Inquiries, Knowledge
from distpool.scheduler.shells.joined import JoinedCluster
from distpool.scheduler.shells.leading import Leading
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.owner import OwnerShell
from distpool.scheduler.shells.preparation import make_setup
from distpool.scheduler.store.store import ObjectStore
from distpool.worker_hooks import POOL_HOOKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.attached import AttachedCluster
    from distpool.scheduler.shells.bridged import BridgedCluster
    from distpool.scheduler.shells.outlook import Outlook

    Cluster = EmbeddedCluster | JoinedCluster | AttachedCluster | BridgedCluster

#: An agent answers at once, and so does a head; one that does not is stopped, or out of reach.
ASK_S = 30.0
AnswerKind = TypeVar("AnswerKind")
PoolKind = TypeVar("PoolKind", bound="NativePool")
#: Ended workers whose exit codes a pool remembers.
GONE_KEPT = 256


class NativePool:
    """A pool of dedicated workers (``engines.protocol.EnginePool``).

    ``beside``: one that differs only in its strategy; each can take the other's tasks (``OpenPool.beside``).
    """

    def __init__(
        self, session: Session, number: int, spec: PoolSpec, size: int, beside: NativePool | None = None
    ) -> None:
        self.size = size
        self.number = number
        self.spec = spec
        self.exporter: Exporter = Exporter(snapshot=spec.snapshot) if beside is None else beside.exporter
        self._beside = 0 if beside is None else beside.number
        self.setup_keep: Any = None  # what every new worker's set-up refers to
        self.gone = threading.Event()
        self.failure: Failure | None = None
        self._session = session
        self.leading = session.leading
        self._workers: dict[str, WorkerInfo] = {}
        self._accounts = PoolAccounts()
        self._retries = spec.retries
        self.closed = False

    # -------------------------------------------------------------------------------- submitting

    def submit(
        self,
        promise: Promise,
        key: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        terms: Terms | None = None,
    ) -> Task:
        """See ``EnginePool.submit``."""
        if self.closed:
            raise self._closed_error()
        retries, limit = (self._retries, None) if terms is None else self._apply(terms, function, many=False)
        keep: Any
        number, blob, keep = self.exporter.function(function)
        if not kwargs:
            for argument in args:
                if type(argument) not in PLAIN_TYPES or not is_plain(argument):
                    break
            else:
                task = Task(self.number, promise, key, number, blob, list(args), 64, retries, keep, limit)
                self.leading.submit(task)
                return task
        kept: list[Any] = []
        payload = self.exporter.dumps((tuple(args), dict(kwargs)), keep=kept, brief=True)
        if kept:
            keep = (keep, kept)
        task = Task(self.number, promise, key, number, blob, payload, len(payload), retries, keep, limit)
        self.leading.submit(task)
        return task

    def submit_many(
        self,
        promise: Promise,
        first_key: int,
        function: Callable[..., Any],
        arguments: Sequence[Sequence[Any]],
        shared: stored.Shared | None = None,
        terms: Terms | None = None,
    ) -> list[Call]:
        """See ``EnginePool.submit_many``."""
        if self.closed:
            raise self._closed_error()
        retries, limit = (self._retries, None) if terms is None else self._apply(terms, function, many=True)
        number, blob, keep = self.exporter.function(function, shared)
        pool, dumps = self.number, self.exporter.dumps
        tasks: list[Task] = []
        for key, args in enumerate(arguments, first_key):
            payload: Any
            held: Any = keep
            for argument in args:
                if type(argument) not in PLAIN_TYPES or not is_plain(argument):
                    kept: list[Any] = []
                    try:
                        payload = dumps((tuple(args), {}), keep=kept, shared=shared, brief=True)
                    except Exception as error:
                        payload = None
                        promise.reject(key, Failure(exception=error))
                    if kept:
                        held = (keep, kept)
                    break
            else:
                payload = list(args)
            if payload is not None:
                size = len(payload) if type(payload) is bytes else 64
                tasks.append(Task(pool, promise, key, number, blob, payload, size, retries, held, limit))
        self.leading.submit_all(tasks)
        return list[Call](tasks)

    def _apply(
        self, terms: Terms, function: Callable[..., Any], *, many: bool
    ) -> tuple[int, TimeLimit | None]:
        retries = self._retries if terms.retries is None else terms.retries
        if terms.limit_s is None:
            return retries, None
        return retries, TimeLimit(terms.limit_s, name_of(function), many)

    def share(self) -> stored.Shared:
        """See ``EnginePool.share``."""
        return stored.Shared()

    @property
    def ahead(self) -> int:
        """How many calls are worth lying with one of its workers, by how long they have been measured to take."""
        pool = self._session.core.pools.get(self.number)
        return tasks_ahead(0.0 if pool is None else pool.mean_s, self._session.limits)

    def _closed_error(self) -> Exception:
        if os.getpid() != self._session.pid:
            return ClusterError("this pool is the parent process's; make one of your own after the fork")
        return RuntimeError("the pool is closed")

    def cancel(self, calls: Sequence[Call], *, running: bool) -> None:
        """See ``EnginePool.cancel``."""
        self.leading.tell(CancelTasks(list(calls), running))

    def give_up(self, promise: Promise, *, running: bool = True) -> None:
        """See ``EnginePool.give_up``."""
        self.leading.tell(lambda: self._cancel_all_of(promise, running))

    def _cancel_all_of(self, promise: Promise, running: bool) -> None:
        """In a step: only the core knows which calls there are; promises do not keep theirs."""
        pool = self._session.core.pools.get(self.number)
        if pool is not None:
            tasks = [task for task in self._session.core.unfinished(pool) if task.token is promise]
            self.leading.tell(CancelTasks(tasks, running))

    # ----------------------------------------------------------------------------------- its life

    def opening(self) -> OpenPool:
        """What the core is told of it. Raises what pickling the initializer raises."""
        spec = self.spec
        setup, self.setup_keep = make_setup(
            self.exporter,
            spec.name,
            spec.initializer,
            spec.arguments(self.exporter.dumps),
            spec.closures,
            spec.environment,
            self._session.hooks_of_pools(),
        )
        return OpenPool(
            self.number,
            self.size,
            setup,
            max_tasks=spec.max_tasks or 0,
            setup_attempts=spec.setup_attempts,
            memory_bytes_max=spec.memory_bytes_max or 0,
            resources=dict(spec.resources),
            strategy=spec.strategy,
            dedicated=spec.dedicated,
            self_contained=spec.self_contained,
            beside=self._beside,
            linger_s=spec.linger_s,
        )

    def close(self) -> None:
        """See ``EnginePool.close``. Safe in ``__del__``: it only appends to a deque."""
        if not self.closed:
            self.closed = True
            self.leading.tell(ClosePool(self.number))

    def terminate(self) -> None:
        """See ``EnginePool.terminate``."""
        self.closed = True
        self.leading.tell(TerminatePool(self.number))

    def wait_gone(self, timeout_s: float | None = None) -> bool:
        """See ``EnginePool.wait_gone``."""
        gone = self.gone.wait(timeout_s)
        reissue = self._session.shell.reissue
        if gone and reissue.pending:
            reissue.wait_handled()
        return gone

    def resize(self, size: int) -> None:
        """See ``EnginePool.resize``."""
        if size < 1:
            raise ValueError("a pool needs at least one worker")
        self.size = size
        self._accounts.asked()
        self.leading.tell(ResizePool(self.number, size))

    def workers(self) -> list[WorkerInfo]:
        """See ``EnginePool.workers``."""
        return list(self._workers.values())

    def accounts(self) -> list[WorkerAccount]:
        """See ``EnginePool.accounts``."""
        return self._accounts.workers(self._session.cluster.node)

    def abandon(self) -> None:
        """In a forked child: the workers are the parent's, and so is whoever waits for them."""
        self.closed = True
        self.gone = threading.Event()  # a thread that is not here may hold the old one's lock
        self.gone.set()

    def on_event(self, event: Local) -> None:
        """A word of the core about this pool, on the leading thread."""
        match event:
            case WorkerUp():
                self._workers[event.lease] = WorkerInfo(event.lease, event.pid, event.node)
                account = self._session.shell.accounts.take(event.lease)
                self._accounts.up(event.lease, event.pid, event.node, account)
                self._tell_workers()
            case WorkerGone():
                self._accounts.gone(event.lease)
                self._leave(event)
                self._tell_workers()
            case PoolBroken():
                self.failure = Failure(
                    error=event.error, death=event.death, reason=event.reason, kind=event.kind
                )
                if self.spec.on_broken is not None:
                    self.spec.on_broken(self.failure)
            case PoolGone():
                self.setup_keep = None
                self.exporter.forget()
                self.gone.set()
            case _:
                pass  # PoolReady

    def _leave(self, event: WorkerGone) -> None:
        """Remember how a worker ended, for those who ask for its exit code; the latest ones only."""
        workers = self._workers
        if (info := workers.pop(event.lease, None)) is not None:
            workers[event.lease] = dataclasses.replace(info, exit_code=event.exit_code)
        gone = [lease for lease, info in workers.items() if info.exit_code is not None]
        for lease in gone[:-GONE_KEPT]:
            del workers[lease]

    def _tell_workers(self) -> None:
        if self.spec.on_workers is not None:
            self.spec.on_workers()


class Session:
    """One process's owner and engine thread, on an embedded cluster (``engines.protocol.Engine``)."""

    def __init__(self, cluster: Cluster, limits: Limits = DEFAULTS) -> None:
        worker = worker_start.this_worker
        self.limits = limits
        self.pid = os.getpid()
        self.cluster = cluster
        owner = f"{self.pid}-{os.urandom(4).hex()}"
        self.store = cluster.open_store(owner)
        stored.use(self.store)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.core = OwnerCore(
            owner,
            "",
            self.pid,
            limits,
            node=current_node() if not cluster.guest else f"program-{owner}",
            worker=worker.worker if worker else 0,
        )
        self.shell = OwnerShell(self.core, self._context, self._on_event, self.store)
        if self.store is not None:
            self.core.store = self.store.number
            if isinstance(self.store, ObjectStore):
                self.store.reach_others(Fetching(lambda: cluster.address("agent"), self.store.process))
        self.inquiries = Inquiries(self._outlook)
        self.inquiries.knowledge.names_of_pools = self._names_of_pools
        self.inquiries.knowledge.name_of = self._name_of
        self.shell.on_inquiry = self.inquiries.answer
        if cluster.guest:
            self.shell.attach(cluster.node, cluster.keys, self._on_link_lost)
        self.leading = Leading(self.shell)
        if self.store is not None:
            self.store.on_dropped = self.leading.wake_if_asleep
        self._pools: dict[int, NativePool] = {}
        self._next_pool = 1
        self._lock = threading.RLock()  # an allocation under it may run a __del__ that comes here too
        self._starts: deque[float] = deque(maxlen=limits.agent_restarts_max + 1)
        self._closed = False
        self._bound = threading.Event()  # its socket is there, or never will be
        self.lost = ""  # why there is no cluster, nor will be
        self.remote: Any = None  # see ``scheduler.remote``: what it has of this session
        self._thread = threading.Thread(target=self._run, name="distpool-engine", daemon=True)
        self._thread.start()

    @property
    def contact(self) -> Contact:
        """Where other owners find this one. Waits until its socket is bound."""
        self._bound.wait()
        self._refuse_if_closed()
        return self.shell.contact()

    # ------------------------------------------------------------------------------------- Engine

    @property
    def spans_machines(self) -> bool:
        """Whether its workers may be where this machine's files are not."""
        return self.cluster.guest or self.shell.has_port

    def hooks_of_pools(self) -> tuple[Any, ...]:
        """What a pool's workers are to do before the initializer."""
        if not self.spans_machines:
            return ()
        own_modules = importlib.import_module("distpool.runtime_env_modules")  # a layer above
        return (own_modules.Carried(self.cluster.directory),)

    def open_pool(self, spec: PoolSpec) -> NativePool:
        """See ``Engine.open_pool``. Raises what pickling the initializer raises."""
        size = spec.size or worker_count()
        return self.open(lambda number: NativePool(self, number, spec, size))

    def open(self, make: Callable[[int], PoolKind]) -> PoolKind:
        """Open what is a pool to the core, and has the number that ``make`` is given."""
        with self._lock:
            self._refuse_if_closed()
            number = self._next_pool
            self._next_pool += 1
            pool = self._pools[number] = make(number)
        try:
            message = pool.opening()
            self._refuse_if_closed()  # it may have been shut down meanwhile
        except BaseException:
            self._pools.pop(number, None)
            pool.gone.set()
            raise
        self.leading.tell(message)
        for tell in POOL_HOOKS:
            tell(pool)
        return pool

    def _refuse_if_closed(self) -> None:
        if self.lost and not self._closed:
            raise ClusterError(self.lost)
        if self._closed:
            raise ClusterError("the session has ended: it was shut down, or the program is exiting")

    def wake(self) -> None:
        """See ``Engine.wake``."""
        self.leading.wake()

    def wait(self, promise: Promise, timeout_s: float | None = None) -> bool:
        """See ``Engine.wait``."""
        if promise.settled:
            return True
        reissue = self.shell.reissue
        if reissue.pending and reissue.is_handler():
            with reissue.lifted():
                return self.leading.wait(promise, timeout_s)
        ready = self.leading.wait(promise, timeout_s)
        if ready and reissue.asking and not self.leading.is_engine_thread():
            reissue.wait_handled()
        return ready

    def ask(self, question: Question, kind: type[AnswerKind], timeout_s: float | None = ASK_S) -> AnswerKind:
        """Ask this node's agent, and through it the head, and wait for the answer, of the type ``kind``. Any thread.

        Raises:
            ClusterError: there will be no answer: the agent died, or the session has ended.
            TimeoutError: there was none within ``timeout_s`` seconds (None: wait for as long as it takes).
        """
        asked = self.begin_ask(question)
        if not self.leading.wait(asked, timeout_s):
            self.shell.questions.forget(asked)
            raise errors.TimeoutError(
                f"the cluster has not answered within {timeout_s:g} s: its agent or its head is stopped, or too busy"
            )
        answer = asked.value()
        assert isinstance(answer, kind), f"{question} was answered by {answer}"
        return answer

    def begin_ask(
        self, question: Question, then: Callable[[questions.Question], None] | None = None
    ) -> questions.Question:
        """Ask, without waiting: the promise's ``value`` is the answer when it is ready.

        ``then`` is called with it at that moment, on whatever thread and perhaps in a step, so it must be quick.
        """
        self._refuse_if_closed()
        asked = self.shell.questions.put(question, then)
        self.leading.tell(lambda: self.shell.questions.say(asked))
        return asked

    def shutdown(self) -> None:
        """End every pool, then the cluster. Idempotent; bounded by ``Limits.farewell_s`` for each of the two."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.terminate()
        until = time.monotonic() + self.limits.farewell_s
        for pool in pools:
            pool.wait_gone(max(0.0, until - time.monotonic()))
        self.shell.questions.lose("the session has ended")
        self.leading.tell(self._say_bye)
        self.leading.stop()
        self._thread.join(self.limits.farewell_s + self.limits.start_s)
        if self.remote is not None:
            self.remote.end()
        self.shell.reissue.drain()
        self.leading.close(int(self.limits.farewell_s * 1000))
        self._context.destroy(linger=int(self.limits.farewell_s * 1000))
        self.cluster.wait_gone(self.limits.farewell_s)
        self._leave_store()

    def _leave_store(self) -> None:
        """A driver's store ends with its session; a worker's does not."""
        store = self.store
        if store is not None:
            store.on_dropped = None
            if store.process == DRIVER:
                stored.use(None)
                store.close()

    def abandon(self) -> None:
        """In a forked child: all this is the parent's. Its pools say so, instead of waiting for ever."""
        self._closed = True
        stored.use(None)
        self.leading.abandon()
        for pool in self._pools.values():
            pool.abandon()

    def _say_bye(self) -> None:
        for node in self.core.agents:
            self.shell.say(node, encode(OwnerBye()))

    def _on_event(self, event: Local) -> None:
        number: int = event.pool  # type: ignore[attr-defined]
        pool = self._pools.get(number)
        if pool is not None:
            pool.on_event(event)
            if isinstance(event, PoolGone):
                del self._pools[number]

    # ------------------------------------------------------------------- what others may want to know

    def _outlook(self, knowledge: Knowledge) -> Outlook:
        from distpool.scheduler.shells.outlook import Outlook

        return Outlook(self.core, self.shell.inbox, self.shell.accounts.done_on, knowledge)

    def _names_of_pools(self) -> dict[int, tuple[str, str]]:
        return {
            number: (pool.spec.name.removesuffix("-%d"), "") for number, pool in list(self._pools.items())
        }

    def _name_of(self, task: Task) -> str:
        pool = self._pools.get(task.pool)
        function = None if pool is None else pool.exporter.find(task.function)
        return "" if function is None else name_of(function)

    # ------------------------------------------------------------------------------ engine thread

    def _run(self) -> None:
        try:
            self._start_cluster()
            self.leading.run()
        except BaseException as error:
            self._fail(f"the engine failed: {error!r}")
            raise  # its traceback is the bug report

    def _fail(self, reason: str) -> None:
        """Nothing of this session can be trusted any more: tell everybody who waits. The next pool gets a new one."""
        self._closed = True
        self.shell.questions.lose(reason)
        for pool in list(self._pools.values()):
            pool.on_event(PoolBroken(pool.number, None, None, reason))
            pool.on_event(PoolGone(pool.number))
        self.cluster.reap()

    def _start_cluster(self) -> None:
        """Start the embedded agent and link up with it, or break every pool with the reason."""
        self._starts.append(time.monotonic())
        try:
            self.cluster.start()
            self.leading.exclusively(self._link_up)
        except Exception as error:  # whatever it is: without a cluster nothing may wait
            self.cluster.reap()
            self._lose_cluster(f"{self.cluster.title} did not start: {error}")

    def _lose_cluster(self, reason: str) -> None:
        self.lost = reason
        self._bound.set()
        self.shell.questions.lose(reason)
        self.leading.tell(ClusterLost(reason))

    def _link_up(self) -> None:
        if not self.cluster.guest:
            self._bind()
        self._bound.set()
        if self.cluster.agent_fd >= 0:
            self.shell.watch(self.cluster.agent_fd, self._on_agent_death)
        self.shell.dial(self.cluster.node, self.cluster.home_address)

    def _bind(self) -> None:
        """Have the socket that workers dial. A guest has none: they reach it by its home."""
        address = self.cluster.address(f"owner-{self.core.owner}")
        self.shell.use_router(router(self._context, address))
        self.core.address = address

    def _on_link_lost(self) -> None:
        """In a step: the link to the cluster is gone, and with it all that we had there."""
        self._lose_cluster(
            "the link to the cluster was lost: the node that it led to, or the network, is down"
        )

    def _on_agent_death(self) -> None:
        """In a step: the agent died, and all its workers with it. Mending that takes long."""
        self.shell.unwatch(self.cluster.agent_fd)
        self.shell.questions.fail("the agent that was asked has died; ask again")
        self.leading.add_chore(self._replace_cluster)

    def _replace_cluster(self) -> None:
        nodes = self.shell.nodes  # the session ends with its head, so other nodes leave it now

        def hang_up() -> None:
            for node in nodes:
                self.shell.hang_up(node)

        self.leading.exclusively(hang_up)
        self.cluster.reap()
        if self._closed:
            return
        if self.store is not None and self.store.process == DRIVER:
            self.store.mend_all_others()  # its workers died with it
        for node in nodes:
            self.leading.tell(NodeLost(node, "its agent died"))
        window_s = self.limits.agent_restarts_window_s
        recent = [start for start in self._starts if start > time.monotonic() - window_s]
        if len(recent) > self.limits.agent_restarts_max:
            self._lose_cluster(f"its agent died {len(recent)} times within {window_s:.0f} s")
        else:
            self._start_cluster()


def name_of(function: Callable[..., Any]) -> str:
    """What to call a function's tasks: its own name; that of what a partial, or the like, is made of."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name)


_session: Session | None = None
_secret = ""
_session_lock = threading.Lock()
_abandoned: list[Any] = []  # of the parent process: ZeroMQ must never see these again


def session() -> Session:
    """This process's session, started by the first call."""
    global _session
    current = _session
    if current is not None and not current._closed and not current.lost:
        return current
    with _session_lock:
        if _session is not None and _session.lost:
            _session.shutdown()  # nothing can be had of its cluster any more: the next one is worth a try
        if _session is None or _session._closed:
            _session = Session(_cluster())
        return _session


def _cluster() -> Cluster:
    """Where a session goes that nobody has said more about."""
    worker = worker_start.this_worker
    if worker is not None:
        return JoinedCluster(worker)
    if address := os.environ.get("DISTPOOL_ADDRESS"):
        if is_elsewhere(address):
            return elsewhere(address)
        from distpool.scheduler.shells.attached import AttachedCluster  # for clusters: others need none of it

        return AttachedCluster(address, secret_of_environment())
    return EmbeddedCluster()


def is_elsewhere(address: str | None) -> bool:
    """Whether this is the address of another kind of cluster than ours. Raises ValueError if there is no such kind."""
    if not address or ":" not in address:
        return False
    from distpool.scheduler.shells import bridged

    return bridged.is_elsewhere(address)


def elsewhere(address: str) -> BridgedCluster:
    """Another kind of cluster. Raises ValueError, ClusterError: it cannot be used, and why."""
    from distpool.scheduler.shells.bridged import BridgedCluster

    return BridgedCluster(address)


def secret_of_environment() -> str:
    """The cluster's secret, from DISTPOOL_SECRET, or the file that DISTPOOL_SECRET_FILE names. Raises ClusterError.

    It leaves the environment, which workers are given; here it is remembered.
    """
    global _secret
    _secret = os.environ.pop("DISTPOOL_SECRET", "") or _secret
    if _secret:
        return _secret
    path = os.environ.get("DISTPOOL_SECRET_FILE")
    if not path:
        raise ClusterError(
            "a cluster lets nobody in who does not know its secret: set DISTPOOL_SECRET_FILE to the file that it is "
            "in, or DISTPOOL_SECRET"
        )
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise ClusterError(f"the cluster's secret cannot be read: {error}") from None


def current() -> Session | None:
    """This process's session, if it has one."""
    known = _session
    return known if known is not None and not known._closed and not known.lost else None


def worker_count() -> int:
    """How many workers a pool has that does not say: one for each CPU of the cluster in use, or of this machine."""
    from distpool.cpus import cpu_count

    in_use = current()
    if in_use is None and os.environ.get("DISTPOOL_ADDRESS") and worker_start.this_worker is None:
        in_use = session()
    if in_use is not None and in_use.cluster.guest:
        nodes = in_use.ask(FactsQuery(), FactsReport).nodes
        return max(1, int(sum(node.total.get("CPU", 0.0) for node in nodes)))
    return cpu_count()


def start(cluster: EmbeddedCluster | AttachedCluster | BridgedCluster) -> Session:
    """Start this process's session on a cluster with settings of its own. Raises RuntimeError if there is one."""
    global _session
    with _session_lock:
        if current() is not None:
            raise RuntimeError(
                "this process has a session already: end it first, or leave the settings as they are"
            )
        _session = Session(cluster)
        return _session


def shutdown() -> None:
    """End this process's session, if it has one."""
    current = _session
    if current is not None:
        current.shutdown()


def _after_fork_in_child() -> None:
    """A forked child starts afresh: the parent's sockets and cluster are not its own."""
    global _session, _session_lock
    if _session is not None:
        _abandoned.append(_session)
        _session.abandon()
    _session = None
    _session_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(shutdown)
