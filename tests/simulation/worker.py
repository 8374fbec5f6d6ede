"""A simulated worker process: what ``shells/worker.py`` does, as events.

::

    data link ──► deque ──(oldest)──► main: slot.started, body, mailbox, slot.finished ──► held results ──► data link
                    ▲
    control link ── Recall (newest), Interrupt: answered at once, between any two steps of main

It dies at any step: with a task popped and not started, running, with an answer in the mailbox and the slot not yet
written, with results held, with messages in flight.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from distpool.scheduler.messages import (
    Attach,
    ControlHello,
    Death,
    Execute,
    Interrupt,
    LeaseHello,
    LinkLost,
    Recall,
    Recalled,
    Results,
    Retire,
    Setup,
    SetupDone,
    WorkerHello,
    WornOut,
)

from .actor_worker import SimActor
from .ledger import Job, answer_of
from .loop import Event, Violation
from .network import End

if TYPE_CHECKING:
    from .machine import Machine
    from .owner import OwnerShell
    from .world import World

STEP_S = 2e-6  # between two steps of the main thread
DEAF = ("deaf", "nested")  # bodies that do not stop at KeyboardInterrupt


class Worker:
    """One process. ``machine`` reaps it."""

    def __init__(self, world: World, machine: Machine, number: int, pid: int, attach: Attach | None) -> None:
        self.world = world
        self.host = machine
        self.machine = machine.name
        self.number = number
        self.pid = pid
        self.name = f"worker:{machine.name}/{number}"
        self.alive = True
        self.links: dict[str, End] = {}
        self.lease: Attach | None = None
        self.told = attach
        self.slot = -1
        self.careful = False
        self.ever_blocked = False
        self.began_s = 0.0
        self.runs = 0  # tasks started for the present lease
        self.leaving_s = 0.0  # since when nothing but exit handlers keep it
        self.undelivered: list[Job] = []  # finished here, and not settled when last looked at
        self.ready = False
        self.functions: dict[int, bytes] = {}
        self.queue: deque[tuple[int, int, Any, bool]] = deque()
        self.started = 0  # the shared slot
        self.finished = 0
        self.mailbox: list[tuple[int, Results]] = []  # (number of the answer, it)
        self.answers = 0
        self.job: Job | None = None
        self.attempt = 0
        self.busy = False  # main is between popping a task and holding its result
        self.retiring = False
        self.held: list[tuple[int, Any, bytes | None]] = []
        self.held_busy_s = 0.0
        self.flush: Event | None = None
        self.step: Event | None = None
        self.nested: OwnerShell | None = None
        self.worn_s = 0.0  # since when it is too big, and runs nothing
        self.actor: SimActor | None = None

    @property
    def owner(self) -> str:
        return f"owner:{self.lease.owner}" if self.lease else ""

    def _later(self, delay_s: float, action: Any, *arguments: Any) -> Event:
        return self.world.loop.after(delay_s * self.host.slowness, self._if_alive, action, arguments)

    def stretch(self, factor: float) -> None:
        """Its machine has become slower, or is itself again: what its main thread is in the middle of takes as long."""
        self.world.loop.stretch(self.step, factor)
        if self.actor is not None:
            self.actor.stretch(factor)

    def _if_alive(self, action: Any, arguments: tuple[Any, ...]) -> None:
        if self.alive:
            action(*arguments)

    # ------------------------------------------------------------------------------- beginnings

    def start_up(self) -> None:
        """Forked; it takes a while to come up, and now and then dies or hangs before its first word."""
        delay_s, fate = self.world.birth()
        if fate == "dies":
            self._later(delay_s, self.die, 9)
        elif fate == "comes":
            self._later(delay_s, self.boot)

    def boot(self) -> None:
        """The forked child has come up."""
        agent = self.host.agent
        if agent is None:
            self.exit(1)
            return
        self.world.network.connect(self, "agent", agent, f"process:{self.number}")
        self.world.network.send(self, "agent", WorkerHello(self.number, self.pid))
        if self.told is not None:
            self._attach(self.told)

    def _attach(self, attach: Attach) -> None:
        self.lease = attach
        self.ready = False
        self.runs = 0
        self.world.attached(self)
        owner = self.world.find_owner(attach.address)
        if owner is None or not self.world.network.reachable(self, owner):
            self._later(0.05, self._retry, attach)
            return
        network = self.world.network
        network.connect(self, "owner", owner, f"worker:{attach.lease}")
        network.connect(self, "owner-control", owner, f"control:{attach.lease}")
        network.send(
            self, "owner", LeaseHello(attach.lease, attach.pool, self.machine, self.machine, self.pid)
        )
        network.send(self, "owner-control", ControlHello(attach.lease))

    def _retry(self, attach: Attach) -> None:
        if self.lease is attach:
            self._attach(attach)

    def hear(self, sender: str, message: Any) -> None:
        if isinstance(message, Setup) and message.actor is not None and self.actor is None:
            self.actor = SimActor(self, message)
            return
        if self.actor is not None and sender != "agent":
            self.actor.hear(sender, message)
            return
        match message:
            case Execute():
                self._execute(message)
            case Recall():
                self._recall(message)
            case Interrupt(attempt):
                self._interrupt(attempt)
            case Setup(blob):
                self._later(self.world.set_up_s(), self._set_up, blob, self.lease)
            case Retire():
                self._retire()
            case LinkLost():
                self._link_lost(sender)
            case _:
                raise Violation("protocol", f"a worker heard {message!r} from {sender}")

    def _link_lost(self, sender: str) -> None:
        """Without its agent, or its lease's owner, a worker leaves.

        In the middle of a task it ends by a signal: an exit would count as the task's own doing.
        """
        if sender == "agent" or (self.lease is not None and sender in ("owner", "owner-control")):
            if self.busy:
                self.die(9)
            else:
                self.exit(0)

    def _retire(self) -> None:
        if self.lease is not None and self.ready and not self.runs:
            self.world.let_go_unused(self.lease)
        self.retiring = True
        self._go_on()

    def _set_up(self, blob: bytes, lease: Attach | None) -> None:
        if lease is not self.lease:
            return
        chance = float(blob.split()[1])
        outcome = self.world.loop.rng.random()
        if outcome < chance * 0.3:
            self.die(11)
        elif outcome < chance:
            self.world.network.send(self, "owner", SetupDone(b"setup failed"))
        else:
            self.ready = True
            self.world.network.send(self, "owner", SetupDone())
            self._go_on()

    # ----------------------------------------------------------------------- the second thread

    def _recall(self, message: Recall) -> None:
        """Answers over the control link, results first: the data link is the main thread's."""
        back: list[int] = []
        if message.attempts:
            wanted = set(message.attempts)
            back = [entry[0] for entry in self.queue if entry[0] in wanted]
            self.queue = deque(entry for entry in self.queue if entry[0] not in wanted)
        else:
            while self.queue and len(back) < message.count:
                back.append(self.queue.pop()[0])
        self._send_held("owner-control")
        if not self.alive:
            return
        running = self.attempt if self.started != self.finished else 0
        self.world.network.send(self, "owner-control", Recalled(tuple(back), running))
        self._go_on()

    def _interrupt(self, attempt: int) -> None:
        if self.job is not None and self.attempt == attempt and self.job.kind not in DEAF:
            self.world.loop.cancel(self.step)
            self.step = self._later(STEP_S, self._finish, None, b"interrupted %d" % self.job.number)

    # ------------------------------------------------------------------------- the main thread

    def _execute(self, message: Execute) -> None:
        if not self.ready:
            raise Violation("setup_first", f"{self.name} got tasks before its set-up was done")
        if self.retiring:
            raise Violation("retired_stays_retired", f"{self.name} got tasks after it was told to retire")
        self.functions.update(message.blobs)
        for index, payload in enumerate(message.payloads):
            self.queue.append((message.first + index, message.functions[index], payload, message.careful))
        for function in message.forget:
            self.functions.pop(function, None)
        if message.received == self.answers:
            self.mailbox.clear()
        self._go_on()

    def _go_on(self) -> None:
        if self.busy or not self.alive:
            return
        if self.queue and self.worn_s:
            self._give_back()
        elif self.queue:
            self.busy = True
            entry = self.queue.popleft()
            self.step = self._later(STEP_S, self._start, *entry)
        elif self.retiring:
            self._send_held()
            self.busy = True
            self.leaving_s = self.world.loop.now
            self.step = self._later(self.world.exit_delay_s(), self.exit, 0)
        else:
            self._hold()

    def _start(self, attempt: int, function: int, payload: Any, careful: bool) -> None:
        if self.world.strikes(self, "popped"):
            return
        if self.job is not None:
            raise Violation("one_at_a_time", f"{self.name} runs two attempts at once")
        blob = self.functions.get(function)
        if blob != b"function %d" % function:
            raise Violation("functions_known", f"{self.name} runs function {function} and has {blob!r}")
        if self.lease is None:
            raise Violation("only_leased_workers_run", f"{self.name} runs attempt {attempt} without a lease")
        number, kind, duration_s, argument = payload
        self.started = attempt
        self.attempt = attempt
        self.job = job = self.world.ledger.started(number, self.name)
        if job.owner != self.lease.owner or job.pool.number != self.lease.pool:
            raise Violation("right_pool", f"{self.name} of {self.lease} runs task {number} of {job.owner}")
        self.careful = careful
        self.began_s = self.world.loop.now
        self.runs += 1
        if 0 < job.pool.max_tasks < self.runs:
            raise Violation(
                "max_tasks_kept", f"{self.name} starts its task no. {self.runs} of {job.pool.max_tasks}"
            )
        if careful != (job.retries == 0):
            raise Violation(
                "careful_marked", f"task {number} with retries={job.retries} came careful={careful}"
            )
        if self.world.strikes(self, "running"):
            return
        match kind:
            case "crash":
                self.step = self._later(duration_s, self.die, 11)
            case "crash_once" if job.starts == 1:
                self.step = self._later(duration_s, self.die, 9)
            case "exit":
                self.step = self._later(duration_s, self._exit_in_task, job)
            case "raise":
                self.step = self._later(duration_s, self._finish, None, b"raised %d" % number)
            case "barrier":
                job.pool.barrier.add(number)
                self._meet(job)
            case "nested":
                self.step = self._later(duration_s, self._nest, argument)
            case _:
                self.step = self._later(duration_s, self._finish, answer_of(self.job), None)

    def _exit_in_task(self, job: Job) -> None:
        job.exited = True
        self.exit(3)

    def _meet(self, job: Job) -> None:
        if len(job.pool.barrier) >= job.pool.barrier_size:
            self.step = self._later(STEP_S, self._finish, answer_of(job), None)
        else:
            self.step = self._later(0.02, self._meet, job)

    def _nest(self, plan: Any) -> None:
        """The task submits children through this worker's own owner, and waits for them."""
        assert self.job is not None
        self.ever_blocked = True
        self.nested = self.world.nested_owner(self, plan)

    def nested_done(self) -> None:
        """The children are done: the task goes on."""
        if self.job is not None and self.job.kind == "nested":
            self.step = self._later(STEP_S, self._finish, answer_of(self.job), None)

    def _finish(self, value: Any, error: bytes | None) -> None:
        """The body has returned: the answer goes to the mailbox first, then the slot tells, then it is held."""
        assert self.job is not None
        if self.careful:
            self.answers += 1
            entry = (
                Results([self.attempt], [value])
                if error is None
                else Results([], [], [(self.attempt, error)])
            )
            self.mailbox.append((self.answers, entry))
            self.job.recorded = True
        else:
            self.answers += 1
        if self.world.strikes(self, "answered"):
            return
        self.step = self._later(STEP_S, self._finished, value, error)

    def _finished(self, value: Any, error: bytes | None) -> None:
        assert self.job is not None
        self.finished = self.attempt
        self.held_busy_s += self.world.loop.now - self.began_s
        self.world.ledger.finished(self.job, self.name)
        self.undelivered = [job for job in self.undelivered if not job.outcome]
        self.undelivered.append(self.job)
        self.held.append((self.attempt, value, error))
        job, self.job = self.job, None
        self.busy = False
        if self.nested is not None:
            self.nested.leave()
            self.nested = None
        if self.world.strikes(self, "finished"):
            return
        if self.world.wears_out(job):
            self.worn_s = self.world.loop.now
            self._send_held()
            if self.alive:
                self._give_back()
        self._hold()
        self._go_on()

    def _give_back(self) -> None:
        """It is too big, and wants to be replaced."""
        back = tuple(entry[0] for entry in self.queue)
        self.queue.clear()
        self.world.network.send(self, "owner", WornOut(back))

    def _hold(self) -> None:
        """Results wait for company while there is more to run, for a bounded time."""
        if not self.held:
            return
        if not self.queue:
            self._send_held()
        elif self.flush is None:
            self.flush = self._later(self.world.limits.hold_results_s, self._send_held)

    def _send_held(self, link: str = "owner") -> None:
        self.world.loop.cancel(self.flush)
        self.flush = None
        if self.held:
            done = [(attempt, value) for attempt, value, error in self.held if error is None]
            failed = [(attempt, error) for attempt, _, error in self.held if error is not None]
            message = Results([a for a, _ in done], [v for _, v in done], failed, self.held_busy_s)
            self.held, self.held_busy_s = [], 0.0
            self.world.network.send(self, link, message)
            self.world.strikes(self, "sent")

    # ------------------------------------------------------------------------------------ ends

    def exit(self, code: int) -> None:
        """The process ends itself; a clean end says farewell to its links."""
        if code == 0 and self.alive:
            self._send_held()
            for end in list(self.links.values()):
                self.world.network.close(end)
        self._end(0, code)

    def die(self, signal: int) -> None:
        """The process is killed, at whatever step it is."""
        self._end(signal, -signal)

    def _end(self, signal: int, code: int) -> None:
        if not self.alive:
            return
        self.alive = False
        self.world.network.died(self)
        if self.job is not None:
            self.world.ledger.died(self.job, self.name)
        self.world.ledger.answers_died(self)
        if self.actor is not None:
            self.actor.died()
        self.world.actors.worker_died(self)
        if self.nested is not None:
            self.nested.die()
        self.host.ended(self, Death(self.pid, self.machine, signal, code))

    @property
    def slot_running(self) -> int:
        return self.started if self.started != self.finished else 0
