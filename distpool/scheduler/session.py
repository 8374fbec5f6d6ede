"""A process's place in a cluster: its owner, its engine thread, its pools, and the cluster that it started or joined.

::

    Session ── engine thread ── OwnerShell ── OwnerCore
        │                            │
        │ exec                       │ DEALER
        ▼                            ▼
     agent (head + node) ──► nursery ──► workers ──► ROUTER of the OwnerShell

``Session`` is the native implementation of ``engines.protocol.Engine``. When the embedded agent dies, another is
started and the pools go on; that is bounded, and then every pool is broken, with the reason.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from distpool import errors
from distpool.cpus import cpu_count
from distpool.engines.protocol import PoolSpec, Promise
from distpool.errors import ClusterError
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    DRIVER,
    ClusterLost,
    Contact,
    FactsQuery,
    FactsReport,
    Local,
    NodeLost,
    OwnerBye,
    PoolBroken,
    PoolGone,
    Question,
    WorkerGone,
    encode,
)
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.serialize import stored
from distpool.scheduler.shells import questions, worker_start
from distpool.scheduler.shells.fetching import Fetching
from distpool.scheduler.shells.inquiries import Inquiries, Knowledge
from distpool.scheduler.shells.leading import Leading
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.mishaps import Mishaps
from distpool.scheduler.shells.owner import OwnerShell
from distpool.scheduler.store.store import ObjectStore
from distpool.worker_hooks import POOL_HOOKS

if TYPE_CHECKING:
    from distpool.scheduler.serialize import Exporter
    from distpool.scheduler.shells.attached import AttachedCluster
    from distpool.scheduler.shells.bridged import BridgedCluster
    from distpool.scheduler.shells.embedded import EmbeddedCluster
    from distpool.scheduler.shells.joined import JoinedCluster
    from distpool.scheduler.shells.outlook import Outlook

    Cluster = EmbeddedCluster | JoinedCluster | AttachedCluster | BridgedCluster

#: An agent answers at once, and so does a head; one that does not is stopped, or out of reach.
ASK_S = 30.0
AnswerKind = TypeVar("AnswerKind")
PoolKind = TypeVar("PoolKind", bound=NativePool)


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
        self.shell.show.wanted = cluster.prints
        if self.store is not None:
            self.core.store = self.store.number
            if isinstance(self.store, ObjectStore):
                self.store.reach_others(Fetching(lambda: cluster.address("agent"), self.store.process))
        self.inquiries = Inquiries(self._outlook)
        self.inquiries.knowledge.names_of_pools = self._names_of_pools
        self.inquiries.knowledge.name_of = self._name_of
        self.shell.on_inquiry = self.inquiries.answer
        knowledge = self.inquiries.knowledge
        self.mishaps = Mishaps(lambda task: knowledge.name_of(task), lambda task: knowledge.id_of(task))
        self.shell.on_failed = self.mishaps.note
        self.shell.name_of = self._name_of
        if cluster.guest:
            self.shell.attach(cluster.node, cluster.keys, self._on_link_lost)
        self.leading = Leading(self.shell)
        if self.store is not None:
            self.store.on_dropped = self.leading.wake_if_asleep
        self._pools: dict[int, NativePool] = {}
        self._next_pool = 1
        self._lock = threading.RLock()  # an allocation under it may run a __del__ that comes here too
        self._own_modules: Any = None  # what pools' workers are told of the program's modules
        self._starts: deque[float] = deque(maxlen=limits.agent_restarts_max + 1)
        self._closed = False
        self._bound = threading.Event()  # its socket is there, or never will be
        self.on_worker_gone: Callable[[], None] | None = None  # who waits for the last of them; in a delivery
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

    def hooks_of_pools(self, exporter: Exporter) -> tuple[tuple[bytes, list[Any]], ...]:
        """What a pool's workers are to do before the initializer: pickles of hooks, and what each must keep."""
        if not self.spans_machines:
            return ()
        with self._lock:
            if self._own_modules is None:
                layer_above = importlib.import_module("distpool.runtime_env_modules")
                self._own_modules = layer_above.Carried()
        return (self._own_modules.blob(exporter, self.cluster.directory),)

    def open_pool(self, spec: PoolSpec) -> NativePool:
        """See ``Engine.open_pool``. Raises what pickling the initializer raises."""
        size = spec.size or self.worker_count()
        return self.open(lambda number: NativePool(self, number, spec, size))

    def worker_count(self) -> int:
        """How many workers a pool has that does not say: one for each CPU of the cluster, or of this machine."""
        if not self.cluster.guest:
            return cpu_count()
        nodes = self.ask(FactsQuery(), FactsReport).nodes
        return max(1, int(sum(node.total.get("CPU", 0.0) for node in nodes)))

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
            self.shell.agents.say(node, encode(OwnerBye()))

    def _on_event(self, event: Local) -> None:
        number: int = event.pool  # type: ignore[attr-defined]
        pool = self._pools.get(number)
        if pool is not None:
            pool.on_event(event)
            if isinstance(event, PoolGone):
                del self._pools[number]
        if isinstance(event, WorkerGone) and self.on_worker_gone is not None:
            self.on_worker_gone()

    # ------------------------------------------------------------------- what others may want to know

    def _outlook(self, knowledge: Knowledge) -> Outlook:
        from distpool.scheduler.shells.outlook import Outlook

        return Outlook(self.core, self.shell.inbox, self.shell.accounts.done_on, knowledge, self.mishaps)

    def _names_of_pools(self) -> dict[int, tuple[str, str]]:
        return {
            number: (pool.spec.name.removesuffix("-%d"), "") for number, pool in list(self._pools.items())
        }

    def _name_of(self, task: Task) -> str:
        pool = self._pools.get(task.pool)
        return "" if pool is None else pool.exporter.name(task.function)

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
        self.shell.agents.dial(self.cluster.node, self.cluster.home_address)

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
        nodes = self.shell.agents.nodes  # the session ends with its head, so other nodes leave it now

        def hang_up() -> None:
            for node in nodes:
                self.shell.agents.hang_up(node)

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
