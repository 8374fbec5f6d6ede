"""OwnerCore: decides which task goes to which leased worker, and what becomes of it when things go wrong.

It is a driver's, or a worker's that submits tasks itself. It is not a queue of messages, knows no socket and no clock:
``receive(sender, message, now)`` returns what is to be sent. The states of a task and what moves it are drawn in
ARCHITECTURE.md; the records are in ``tasks.py``; how much lies ahead on a worker is policy, in ``ahead.py``.

::

    OpenPool ──► WantLeases ──► LeaseHello ──► Setup ──► SetupDone ──► READY
    Submit ──► queue ──► _fill: Execute ──► Results ──► Done
                 ▲            │
                 └────────────┴── Recalled, WorkerDied, LinkLost, NodeLost

Batches are the hot path: ``Submit`` and ``Results`` carry thousands of tasks, and the loops over them (``_offer`` and
``_on_results``) touch nothing that they need not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distpool.scheduler.cores.ahead import fair_level, silence_s, tasks_ahead, updated_mean_s
from distpool.scheduler.cores.tasks import Cancel, Lease, LeaseState, Pool, PoolState, Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AgentWelcome,
    CancelTasks,
    ClosePool,
    ClusterLost,
    ControlHello,
    Death,
    Dial,
    Done,
    DropPool,
    Execute,
    Failed,
    Interrupt,
    KillWorker,
    LeaseElsewhere,
    LeaseHello,
    LeaseRefused,
    LinkLost,
    NodeLost,
    OpenPool,
    OwnerHello,
    PoolBroken,
    PoolDropped,
    PoolGone,
    PoolReady,
    Recall,
    Recalled,
    ResizePool,
    Results,
    Retire,
    ReturnLease,
    Setup,
    SetupDone,
    Submit,
    TerminatePool,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
    WorkerGone,
    WorkerUp,
)

#: Arguments below this weight are not counted against ``Limits.ahead_bytes_max``.
HEAVY_BYTES = 4096
#: Answers that may lie in a worker's mailbox before it must run dry and empty it.
CAREFUL_ANSWERS_MAX = 256
#: So many times as often may workers die in their set-up while another worker of the pool is ready.
DEATHS_BESIDE_A_READY_ONE = 10
#: Functions that a worker keeps at hand for one owner, at most.
FUNCTIONS_KEPT = 512

Output = list[tuple[str, Any]]


class OwnerCore:
    """The state machine of one owner. ``address`` is where its workers dial it.

    An owner that is itself a worker says so (``node``, ``worker``), so that what it has goes when it dies.
    """

    def __init__(
        self, owner: str, address: str, pid: int, limits: Limits, node: str = "", worker: int = 0
    ) -> None:
        self.owner = owner
        self.address = address
        self.pid = pid
        self.limits = limits
        self.node = node
        self.worker = worker
        self.incarnation = 0
        self.lost = ""  # why there is no cluster, and none will come
        self.home = ""  # the agent to ask first: the first that said welcome
        self.agents: dict[str, str] = {}  # node -> address of an agent that said welcome
        self.pools: dict[int, Pool] = {}
        self.leases: dict[str, Lease] = {}
        self.next_attempt = 1
        self.kill_at: dict[
            int, tuple[float, str]
        ] = {}  # attempt -> when its lease is killed, if it still runs
        self.wake_at = 0.0  # the Tick that was asked for; 0: none
        self.out: Output = []
        self.handlers: dict[type, Callable[[str, Any, float], None]] = {
            OpenPool: self._on_open_pool,
            Submit: self._on_submit,
            CancelTasks: self._on_cancel,
            ClosePool: self._on_close,
            TerminatePool: self._on_terminate,
            ResizePool: self._on_resize,
            AgentWelcome: self._on_welcome,
            LeaseElsewhere: self._on_elsewhere,
            LeaseRefused: self._on_refused,
            PoolDropped: self._on_pool_dropped,
            WorkerDied: self._on_worker_died,
            LeaseHello: self._on_lease_hello,
            ControlHello: self._on_control_hello,
            SetupDone: self._on_setup_done,
            Results: self._on_results,
            Recalled: self._on_recalled,
            LinkLost: self._on_link_lost,
            NodeLost: self._on_node_lost,
            ClusterLost: self._on_cluster_lost,
            Tick: self._on_tick,
        }

    def receive(self, sender: str, message: Any, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        self.handlers[type(message)](sender, message, now)
        out, self.out = self.out, []
        return out

    def hello(self) -> OwnerHello:
        """The first word on a new link to an agent."""
        self.incarnation += 1
        held = tuple(self.leases)
        return OwnerHello(self.owner, self.pid, self.incarnation, self.address, held, self.node, self.worker)

    # ------------------------------------------------------------------------------- tasks come

    def _on_submit(self, _sender: str, message: Submit, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or pool.state is not PoolState.OPEN:
            for task in message.tasks:
                self._fail_unwanted(pool, task)
            return
        pool.queue.extend(message.tasks)
        self._spread(pool, now)

    def _fail_unwanted(self, pool: Pool | None, task: Task) -> None:
        """A task for a pool that takes none: it crossed the pool's end on its way here."""
        if pool is not None and pool.failure is not None:
            broken = pool.failure
            self._fail(task, error=broken.error, death=broken.death, reason=broken.reason)
        else:
            self._fail(task, reason="the pool is closed")

    def _spread(self, pool: Pool, now: float) -> None:
        """Offer what is pending to the workers that have least, so that n tasks meet on n idle workers."""
        if not pool.dedicated:
            self._ask_for_leases(pool)
        if not pool.queue:
            return
        leases = [lease for lease in pool.leases.values() if lease.state is LeaseState.READY]
        if not leases:
            return
        leases.sort(key=_load)
        share = self._share(pool)
        for lease in leases:
            self._fill(lease, share, now)
            if not pool.queue:
                break

    def _share(self, pool: Pool) -> int:
        """What each worker would hold if all of the pool's work were spread evenly."""
        return fair_level(pool.pending, pool.offered, max(1, pool.staying))

    def _fill(self, lease: Lease, share: int, now: float) -> None:
        """Top a worker up to its share of the pending work, if enough of what it had is done."""
        held = len(lease.offered)
        if held and (lease.stalled or self._must_settle(lease)):
            return
        level = tasks_ahead(lease.pool.mean_s, self.limits)
        if held > level // 2:
            return  # batches, not a trickle
        level = min(level, share)
        if lease.tasks_left >= 0:
            level = min(level, held + lease.tasks_left)
        if level > held:
            self._offer(lease, level - held, now)

    def _must_settle(self, lease: Lease) -> bool:
        """Whether a worker must run dry, so that it can empty its mailbox of answers that we have by now."""
        answers = lease.received - lease.settled
        return lease.careful and (
            answers >= CAREFUL_ANSWERS_MAX or lease.unsettled_bytes > self.limits.ahead_bytes_max
        )

    def _offer(self, lease: Lease, room: int, now: float) -> None:
        """Send up to ``room`` pending tasks to this worker, as one batch of consecutive attempts."""
        pool = lease.pool
        queue, offered, known = pool.queue, lease.offered, lease.functions
        functions: list[int] = []
        payloads: list[Any] = []
        blobs: dict[int, bytes] = {}
        was_idle = not offered
        first = attempt = self.next_attempt
        careful: bool | None = None
        bytes_left = self.limits.ahead_bytes_max - lease.heavy_bytes
        while room and queue:
            task = queue[0]
            if task.cancel:
                queue.popleft()
                pool.stale -= 1
                continue
            if task.careful is not careful:
                if functions:
                    break
                careful = task.careful
            if task.size > HEAVY_BYTES:
                if task.size > bytes_left and offered:
                    break
                bytes_left -= task.size
                lease.heavy_bytes += task.size
            queue.popleft()
            room -= 1
            function = task.function
            if function not in known:
                blobs[function] = task.blob
                if function > 0:
                    known[function] = None
            functions.append(function)
            payloads.append(task.payload)
            task.attempt = attempt
            task.lease = lease
            offered[attempt] = task
            attempt += 1
        if not functions:
            return
        self.next_attempt = attempt
        pool.offered += len(functions)
        lease.careful = bool(careful)
        if was_idle:
            lease.heard_s = now  # its silence counts from here
            lease.settled, lease.unsettled_bytes = lease.received, 0
        if lease.tasks_left > 0:
            lease.tasks_left -= len(functions)
        forget = self._forgotten(lease, functions) if len(known) > FUNCTIONS_KEPT else ()
        self.out.append(
            (lease.data, Execute(first, functions, payloads, blobs, forget, bool(careful), lease.received))
        )
        if len(offered) > 1:
            self._wake(now + self.limits.silent_s)

    def _forgotten(self, lease: Lease, needed: list[int]) -> tuple[int, ...]:
        """Half of the functions that the worker keeps, the oldest, but none that is about to run."""
        keep = set(needed)
        oldest = list(lease.functions)[: FUNCTIONS_KEPT // 2]
        forget = tuple([function for function in oldest if function not in keep])
        for function in forget:
            del lease.functions[function]
        return forget

    # -------------------------------------------------------------------------------- tasks end

    def _on_results(self, sender: str, message: Results, now: float) -> None:
        lease = self.leases.get(_lease_of(sender))
        if lease is None:
            return  # of a worker that is no longer ours
        self._take_results(lease, message, now)
        self._after_work(lease, now)

    def _take_results(self, lease: Lease, message: Results, now: float) -> None:
        offered = lease.offered
        had = len(offered)
        tasks: list[Task] = []
        values: list[Any] = []
        for attempt, value in zip(message.attempts, message.values, strict=True):
            task = offered.pop(attempt, None)
            if task is None:
                continue  # a late answer names an attempt that this worker no longer has
            if task.size > HEAVY_BYTES:
                lease.heavy_bytes -= task.size
            task.lease = task.payload = None
            if task.cancel is Cancel.RUNNING:
                self._cancelled(task)
                continue
            tasks.append(task)
            values.append(value)
        lease.pool.offered -= had - len(offered)
        if tasks:
            self.out.append(("app", Done(tasks, values)))
        for attempt, error in message.failed:
            task = offered.pop(attempt, None)
            if task is not None:
                self._release(lease, task)
                if task.cancel is Cancel.RUNNING:
                    self._cancelled(task)
                else:
                    self._fail(task, error=error)
        count = len(message.attempts) + len(message.failed)
        lease.received += count
        if lease.careful:
            lease.unsettled_bytes += sum([len(v) for v in message.values if type(v) is bytes])
        if message.busy_s > 0.0:
            lease.pool.mean_s = updated_mean_s(lease.pool.mean_s, message.busy_s, count)
        lease.heard_s = now
        lease.stalled = False

    def _after_work(self, lease: Lease, now: float) -> None:
        """A worker has room again: give it more, or take some from another for it, or let it go."""
        pool = lease.pool
        if pool.state is PoolState.CLOSING:
            self._drop_if_done(pool)
        if pool.state not in (PoolState.OPEN, PoolState.CLOSING):
            return
        if pool.queue and lease.state is LeaseState.READY:
            self._fill(lease, self._share(pool), now)
        if lease.offered:
            return
        if lease.tasks_left == 0 and lease.state is LeaseState.READY:
            self._retire(lease)
        elif not pool.pending and not (pool.offered and self._steal(pool)) and not pool.dedicated:
            self._retire(lease)

    def _steal(self, pool: Pool) -> bool:
        """A worker is idle: recall half of what the fullest other one has not started."""
        if len(pool.leases) < 2:
            return False
        victim = max(pool.leases.values(), key=_load)
        if len(victim.offered) < 2 or victim.recalling or victim.state is LeaseState.SETTING_UP:
            return len(victim.offered) > 1
        victim.recalling = True
        self.out.append((victim.control, Recall(len(victim.offered) // 2)))
        return True

    def _on_recalled(self, sender: str, message: Recalled, now: float) -> None:
        lease = self.leases.get(_lease_of(sender))
        if lease is None:
            return
        lease.recalling = False
        back = [task for attempt in message.attempts if (task := lease.offered.pop(attempt, None))]
        if lease.tasks_left >= 0:
            lease.tasks_left += len(back)
        self._requeue(lease, back)
        lease.stalled = bool(lease.offered)
        self._spread(lease.pool, now)
        if not lease.offered:
            self._after_work(lease, now)
        elif len(lease.offered) > 1:
            self._wake(now + self.limits.silent_s)  # the Recall may have overtaken what it was meant for
        if not lease.pool.dedicated and not lease.pool.pending:
            self._let_idle_go(lease.pool, now)

    def _let_idle_go(self, pool: Pool, now: float) -> None:
        """What idle workers of a shared pool were waiting to have recalled for them has gone to others."""
        for lease in list(pool.leases.values()):
            if lease.state is LeaseState.READY and not lease.offered:
                self._after_work(lease, now)

    def _requeue(self, lease: Lease, tasks: Iterable[Task]) -> None:
        """Tasks that did not start go back to the head of the queue, in the order in which they came."""
        back = sorted(tasks, key=_attempt)
        keep = []
        for task in back:
            self._unoffer(lease, task)
            if task.cancel:
                self._cancelled(task)
            else:
                keep.append(task)
        lease.pool.queue.extendleft(reversed(keep))

    def _unoffer(self, lease: Lease, task: Task) -> None:
        if task.size > HEAVY_BYTES:
            lease.heavy_bytes -= task.size
        self.kill_at.pop(task.attempt, None)
        task.lease = None
        lease.pool.offered -= 1

    def _release(self, lease: Lease, task: Task) -> None:
        self._unoffer(lease, task)
        task.payload = None

    def _fail(
        self, task: Task, *, error: bytes | None = None, death: Death | None = None, reason: str = ""
    ) -> None:
        task.payload = None
        self.out.append(("app", Failed(task, error, death, reason)))

    def _cancelled(self, task: Task) -> None:
        self.kill_at.pop(task.attempt, None)
        self._fail(task, reason="cancelled")

    # ------------------------------------------------------------------------------- cancelling

    def _on_cancel(self, _sender: str, message: CancelTasks, now: float) -> None:
        wanted = Cancel.RUNNING if message.running else Cancel.UNSTARTED
        recalls: dict[str, list[int]] = {}
        for task in message.tasks:
            pool = self.pools.get(task.pool)
            if task.payload is None or task.cancel >= wanted or pool is None:
                continue  # done, or on its way out already
            was, task.cancel = task.cancel, wanted
            if task.lease is None and not was:
                pool.stale += 1
                self._fail(task, reason="cancelled")
            elif task.lease is not None:
                recalls.setdefault(task.lease.control, []).append(task.attempt)
                if message.running:
                    self.kill_at[task.attempt] = (now + self.limits.cancel_grace_s, task.lease.lease)
                    self._wake(now + self.limits.cancel_grace_s)
        for control, attempts in recalls.items():
            self.out.append((control, Recall(0, tuple(attempts))))
            if message.running:
                self.out.extend((control, Interrupt(attempt)) for attempt in attempts)
        for number in {task.pool for task in message.tasks}:
            self._sweep(self.pools.get(number))

    def _sweep(self, pool: Pool | None) -> None:
        """Drop the cancelled tasks from a queue that is mostly made of them."""
        if pool is None:
            return
        if pool.stale * 2 > len(pool.queue):
            pool.queue = type(pool.queue)(task for task in pool.queue if not task.cancel)
            pool.stale = 0
        if pool.state is PoolState.CLOSING:
            self._drop_if_done(pool)

    def _on_tick(self, _sender: str, _message: Tick, now: float) -> None:
        self.wake_at = 0.0
        for attempt, (at_s, number) in list(self.kill_at.items()):
            if at_s > now:
                self._wake(at_s)
                continue
            del self.kill_at[attempt]
            lease = self.leases.get(number)
            if lease is not None and attempt in lease.offered:
                self._kill(lease, "its task was cancelled and did not stop")
        for lease in self.leases.values():
            if len(lease.offered) > 1 and not lease.recalling:
                self._recall_if_silent(lease, now)

    def _recall_if_silent(self, lease: Lease, now: float) -> None:
        """What lies behind a task that runs for long comes back, and may run elsewhere."""
        due_s = lease.heard_s + silence_s(lease.pool.mean_s, self.limits)
        if now >= due_s:
            lease.recalling = True
            self.out.append((lease.control, Recall(len(lease.offered))))
        else:
            self._wake(max(due_s, now + self.limits.silent_s))

    def _wake(self, at_s: float) -> None:
        if not self.wake_at or at_s < self.wake_at:
            self.wake_at = at_s
            self.out.append(("timer", WakeAt(at_s)))

    # ------------------------------------------------------------------------ leases come and go

    def _ask_for_leases(self, pool: Pool) -> None:
        """Say the level of leases wanted, where it has changed. Shared pools want as many as they have tasks for."""
        if not self.home or pool.state not in (PoolState.OPEN, PoolState.CLOSING):
            return
        level = pool.size
        if not pool.dedicated:
            have = len(pool.leases)
            level = min(
                pool.size, max(have, _power_of_two_above(have + pool.pending) if pool.pending else have)
            )
        elsewhere = sum(count for node, count in pool.wanted.items() if node != self.home)
        level = max(0, level - elsewhere)
        if pool.wanted.get(self.home) != level:
            self._want(pool, self.home, level)

    def _want(self, pool: Pool, node: str, count: int) -> None:
        pool.wanted[node] = count
        want = WantLeases(pool.pool, count, pool.dedicated, pool.resources, spilled=node != self.home)
        if node in self.agents:
            self.out.append((f"agent:{node}", want))

    def _on_lease_hello(self, _sender: str, message: LeaseHello, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or pool.state in (PoolState.DROPPED, PoolState.BROKEN):
            self.out.append(
                (f"worker:{message.lease}", Retire())
            )  # it crossed our word that the pool is dropped
            return
        lease = Lease(message.lease, pool, message.node, message.pid, pool.max_tasks or -1, now)
        self.leases[message.lease] = pool.leases[message.lease] = lease
        pool.staying += 1
        self.out.append((lease.data, Setup(pool.setup)))
        self.out.append(("app", WorkerUp(pool.pool, lease.lease, lease.pid, lease.node)))

    def _on_control_hello(self, _sender: str, _message: ControlHello, _now: float) -> None:
        """The control link needs no state: what is sent before it is up waits in the shell."""

    def _on_setup_done(self, sender: str, message: SetupDone, now: float) -> None:
        lease = self.leases.get(_lease_of(sender))
        if lease is None or lease.state is not LeaseState.SETTING_UP:
            return
        pool = lease.pool
        if message.error is not None:
            self._setup_failed(pool, message.error, None)
            if pool.state is not PoolState.BROKEN:
                self._retire(lease)
            return
        pool.setup_failures = 0
        self._enter(lease, LeaseState.READY)
        lease.heard_s = now
        self._look_whether_ready(pool)
        if pool.state is PoolState.DROPPED:
            return  # it was closed, and waited only for its workers' set-up
        if pool.staying > pool.size:
            self._retire(lease)  # the pool was made smaller meanwhile
            return
        self._after_work(lease, now)

    def _look_whether_ready(self, pool: Pool) -> None:
        """Say so once, when every worker has done its set-up; a pool that was closed before that may go now."""
        ready = sum([lease.state is LeaseState.READY for lease in pool.leases.values()])
        if not pool.ready_once and ready >= pool.size:
            pool.ready_once = True
            self.out.append(("app", PoolReady(pool.pool)))
            if pool.state is PoolState.CLOSING:
                self._drop_if_done(pool)

    def _setup_failed(self, pool: Pool, error: bytes | None, death: Death | None) -> None:
        """Count a worker that never got ready. Where another works, the set-up can succeed, and a death was bad luck."""
        pool.setup_failures += 1
        attempts = pool.setup_attempts
        if death is not None and any(le.state is LeaseState.READY for le in pool.leases.values()):
            attempts *= DEATHS_BESIDE_A_READY_ONE
        if pool.setup_failures >= attempts:
            self._break(pool, error, death, "its workers fail in their set-up")

    def _enter(self, lease: Lease, state: LeaseState) -> None:
        if lease.state <= LeaseState.READY < state:
            lease.pool.staying -= 1
        lease.state = state

    def _retire(self, lease: Lease) -> None:
        """Let a worker finish what it has and go. The level stands, so the agent replaces it where that is wanted."""
        self._enter(lease, LeaseState.RETIRING)
        pool = lease.pool
        if not pool.dedicated:
            pool.wanted[lease.node] = max(0, pool.wanted.get(lease.node, 0) - 1)
            self._want(pool, lease.node, pool.wanted[lease.node])
        self.out.append((lease.data, Retire()))
        self.out.append((f"agent:{lease.node}", ReturnLease(lease.lease)))

    def _kill(self, lease: Lease, reason: str) -> None:
        self.out.append((f"agent:{lease.node}", KillWorker(lease.lease, reason)))

    def _on_worker_died(self, _sender: str, message: WorkerDied, now: float) -> None:
        lease = self.leases.get(message.lease)
        pool = self.pools.get(message.pool)
        if lease is None:
            if pool is not None and pool.state in (PoolState.OPEN, PoolState.CLOSING):
                self._setup_failed(pool, None, message.death)  # it died before its first word
            return
        for answers in message.answers:
            self._take_results(lease, answers, now)
        if not message.certain:
            self._lose(lease, "its node does not know it any more")
            self._after_loss(lease.pool, now)
            return
        was_setting_up = lease.state is LeaseState.SETTING_UP
        self._forget_lease(lease, message.death.exit_code)
        running = lease.offered.pop(message.running, None)
        self._requeue(lease, lease.offered.values())
        lease.offered = {}
        if running is not None:
            self._charge(lease, running, message.death)
        if was_setting_up and lease.pool.state in (PoolState.OPEN, PoolState.CLOSING):
            self._setup_failed(lease.pool, None, message.death)
        self._after_loss(lease.pool, now)

    def _charge(self, lease: Lease, task: Task, death: Death) -> None:
        """Only the running task pays for its worker's death; one that ended the process itself fails at once."""
        self._unoffer(lease, task)
        if task.cancel:
            self._cancelled(task)
        elif task.retries > 0 and death.signal:
            task.retries -= 1
            lease.pool.queue.appendleft(task)
        else:
            self._fail(task, death=death)

    def _forget_lease(self, lease: Lease, exit_code: int) -> None:
        self._enter(lease, LeaseState.LOST)
        del self.leases[lease.lease]
        del lease.pool.leases[lease.lease]
        self.out.append(("app", WorkerGone(lease.pool.pool, lease.lease, lease.pid, exit_code)))

    def _after_loss(self, pool: Pool, now: float) -> None:
        if pool.state is PoolState.CLOSING:
            self._drop_if_done(pool)
        elif pool.state is PoolState.OPEN:
            self._spread(pool, now)

    def _lose(self, lease: Lease, reason: str) -> None:
        """A lease is lost and nobody can tell what ran: repeat what may be repeated, charge nothing."""
        self._forget_lease(lease, 0)
        unsafe = [task for task in lease.offered.values() if task.careful and not task.cancel]
        for task in unsafe:
            del lease.offered[task.attempt]
            self._release(lease, task)
            self._fail(task, reason=f"{reason}, and it may have run (retries=0)")
        self._requeue(lease, lease.offered.values())
        lease.offered = {}

    # ------------------------------------------------------------------------- links and nodes

    def _on_link_lost(self, sender: str, _message: LinkLost, _now: float) -> None:
        """A worker's link is gone though nobody saw it die. It gets nothing more; its agent will say what it ran."""
        lease = self.leases.get(_lease_of(sender))
        if lease is not None:
            self._enter(lease, LeaseState.LOST)
            self._kill(lease, "its link to the owner was lost")

    def _on_node_lost(self, _sender: str, message: NodeLost, now: float) -> None:
        node = message.node
        self.agents.pop(node, None)
        for lease in [lease for lease in self.leases.values() if lease.node == node]:
            self._lose(lease, f"node {node} was lost")
        if node == self.home:
            self.home = next(iter(self.agents), "")
        for pool in list(self.pools.values()):
            pool.wanted.pop(node, None)
            if node in pool.dropping:
                pool.dropping.discard(node)
                self._gone_if_dropped(pool)
            else:
                self._ask_for_leases(pool)
                self._after_loss(pool, now)

    def _on_welcome(self, sender: str, message: AgentWelcome, now: float) -> None:
        self.agents[message.node] = sender
        self.lost = ""
        if not self.home:
            self.home = message.node
        for lease in self.leases.values():
            if lease.state is LeaseState.LOST and lease.node == message.node:
                self._kill(
                    lease, "its link to the owner was lost"
                )  # what was said before may not have arrived
        for pool in self.pools.values():
            if message.node in pool.dropping:
                self.out.append((sender, DropPool(pool.pool, pool.killing)))
            if pool.state not in (PoolState.OPEN, PoolState.CLOSING):
                continue
            if message.node in pool.wanted:
                self._want(pool, message.node, pool.wanted[message.node])
            self._ask_for_leases(pool)

    def _on_elsewhere(self, sender: str, message: LeaseElsewhere, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or pool.state not in (PoolState.OPEN, PoolState.CLOSING):
            return
        asked = sender.partition(":")[2]
        moved = min(message.count, pool.wanted.get(asked, 0))
        if not moved or message.node == asked:
            return
        self._want(pool, asked, pool.wanted[asked] - moved)
        if message.node not in self.agents:
            self.out.append(("links", Dial(message.node, message.address)))
        self._want(pool, message.node, pool.wanted.get(message.node, 0) + moved)

    def _on_refused(self, _sender: str, message: LeaseRefused, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None and pool.state in (PoolState.OPEN, PoolState.CLOSING):
            self._break(pool, None, None, message.reason)

    def _on_cluster_lost(self, _sender: str, message: ClusterLost, _now: float) -> None:
        self.lost = message.reason
        for pool in list(self.pools.values()):
            if pool.state in (PoolState.OPEN, PoolState.CLOSING):
                self._break(pool, None, None, message.reason)
            pool.dropping.clear()
            self._gone_if_dropped(pool)

    # ------------------------------------------------------------------------ pools come and go

    def _on_open_pool(self, _sender: str, message: OpenPool, _now: float) -> None:
        pool = Pool(
            message.pool,
            message.size,
            message.setup,
            message.max_tasks,
            message.setup_attempts,
            message.dedicated,
            message.resources,
        )
        self.pools[pool.pool] = pool
        if self.lost:
            self._break(pool, None, None, self.lost)
        elif pool.dedicated:
            self._ask_for_leases(pool)

    def _on_resize(self, _sender: str, message: ResizePool, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or pool.state is not PoolState.OPEN:
            return
        pool.size = message.size
        surplus = pool.staying - pool.size
        self._ask_for_leases(pool)
        for lease in sorted(pool.leases.values(), key=_load):
            if surplus <= 0:
                break
            if lease.state is LeaseState.READY:
                surplus -= 1
                self._retire(lease)
        self._look_whether_ready(pool)
        self._spread(pool, now)

    def _on_close(self, _sender: str, message: ClosePool, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None:
            self.out.append(("app", PoolGone(message.pool)))
        elif pool.state is PoolState.OPEN:
            pool.state = PoolState.CLOSING
            self._drop_if_done(pool)
        elif pool.state is PoolState.BROKEN:
            self._bury(pool)

    def _bury(self, pool: Pool) -> None:
        """A broken pool that is closed too need not be remembered for later tasks."""
        pool.state = PoolState.DROPPED
        self._gone_if_dropped(pool)

    def _drop_if_done(self, pool: Pool) -> None:
        """The last task of a closed pool is done: its workers may finish, and go.

        Each worker of a pool gets its set-up once, even if the pool is closed right after it was opened.
        """
        if pool.pending or any(lease.offered for lease in pool.leases.values()):
            return
        if pool.dedicated and not pool.ready_once:
            return
        self._drop(pool, kill=False)  # first, or the agent replaces those that leave
        for lease in pool.leases.values():
            if lease.state is not LeaseState.RETIRING:
                self._enter(lease, LeaseState.RETIRING)
                self.out.append((lease.data, Retire()))

    def _on_terminate(self, _sender: str, message: TerminatePool, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None:
            self.out.append(("app", PoolGone(message.pool)))
            return
        if pool.state is PoolState.BROKEN:
            self._bury(pool)
            return
        self._fail_all(pool, None, None, "cancelled")
        self._drop(pool, kill=True)

    def _break(self, pool: Pool, error: bytes | None, death: Death | None, reason: str) -> None:
        closing = pool.state is PoolState.CLOSING
        pool.failure = PoolBroken(pool.pool, error, death, reason)
        self.out.append(("app", pool.failure))
        self._fail_all(pool, error, death, reason)
        self._drop(pool, kill=True, state=PoolState.DROPPED if closing else PoolState.BROKEN)

    def _fail_all(self, pool: Pool, error: bytes | None, death: Death | None, reason: str) -> None:
        for lease in pool.leases.values():
            for task in lease.offered.values():
                self._unoffer(lease, task)
                self._fail(task, error=error, death=death, reason=reason)
            lease.offered = {}
        for task in pool.queue:
            if not task.cancel:
                self._fail(task, error=error, death=death, reason=reason)
        pool.queue.clear()
        pool.stale = 0

    def _drop(self, pool: Pool, *, kill: bool, state: PoolState = PoolState.DROPPED) -> None:
        """Tell every agent that was asked for leases; the pool is gone when each says that its workers are reaped."""
        if pool.state in (PoolState.OPEN, PoolState.CLOSING):
            pool.state = state
            pool.queue.clear()  # nothing but stale tasks
            pool.stale = 0
            pool.dropping = {node for node in pool.wanted if node in self.agents}
        elif pool.killing or not kill:
            return
        pool.killing = kill
        for node in sorted(pool.dropping):
            self.out.append((f"agent:{node}", DropPool(pool.pool, kill)))
        self._gone_if_dropped(pool)

    def _on_pool_dropped(self, sender: str, message: PoolDropped, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None:
            pool.dropping.discard(sender.partition(":")[2])
            self._gone_if_dropped(pool)

    def _gone_if_dropped(self, pool: Pool) -> None:
        if pool.dropping or pool.state not in (PoolState.DROPPED, PoolState.BROKEN):
            return
        for lease in list(pool.leases.values()):
            self._forget_lease(lease, 0)
        if pool.state is PoolState.DROPPED:
            del self.pools[pool.pool]
        self.out.append(("app", PoolGone(pool.pool)))

    # --------------------------------------------------------------------------------- oracle

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator, too slow for the hot path."""
        in_queues: set[int] = set()
        for number, pool in self.pools.items():
            assert pool.pool == number
            assert pool.stale == sum(bool(task.cancel) for task in pool.queue), "stale tasks miscounted"
            for task in pool.queue:
                assert id(task) not in in_queues, "a task is queued twice"
                in_queues.add(id(task))
                assert task.lease is None
                assert task.cancel or task.payload is not None
            assert not pool.queue or pool.state in (PoolState.OPEN, PoolState.CLOSING)
            assert pool.offered == sum(len(lease.offered) for lease in pool.leases.values()), (
                "offered miscounted"
            )
            assert pool.staying == sum(le.state <= LeaseState.READY for le in pool.leases.values())
            for name, lease in pool.leases.items():
                assert self.leases[name] is lease
                assert lease.pool is pool
        assert len(self.leases) == sum(len(pool.leases) for pool in self.pools.values())
        for lease in self.leases.values():
            heavy = 0
            for attempt, task in lease.offered.items():
                assert task.lease is lease
                assert task.attempt == attempt < self.next_attempt
                assert id(task) not in in_queues, "a task is pending and offered at once"
                heavy += task.size if task.size > HEAVY_BYTES else 0
            assert heavy == lease.heavy_bytes, "argument bytes miscounted"
            assert not lease.offered or lease.state is not LeaseState.SETTING_UP, "tasks before the set-up"
            assert lease.tasks_left >= -1
        for attempt, (_, name) in self.kill_at.items():
            assert name not in self.leases or attempt in self.leases[name].offered


def _lease_of(address: str) -> str:
    """The lease in "worker:LEASE" or "control:LEASE"."""
    return address.partition(":")[2]


def _load(lease: Lease) -> int:
    return len(lease.offered)


def _attempt(task: Task) -> int:
    return task.attempt


def _power_of_two_above(count: int) -> int:
    """Levels grow in powers of two, so that their messages grow with the logarithm of the tasks."""
    return 1 << (count - 1).bit_length() if count > 0 else 0
