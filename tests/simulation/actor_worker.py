"""A simulated actor's worker: what ``shells/actor_worker.py`` does, as events.

::

    "owner", "owner#1", ... ──► queue ──(oldest)──► begun, slot ──► body ──► held ──► the link that it came by
    "owner-control", ...    ── Recall, Interrupt: answered at once

It dies at any step: with a call popped and not begun, running, ended and its answer held or in flight.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from distpool.scheduler.messages import (
    CALLER_SHIFT,
    ActorExit,
    ControlHello,
    Execute,
    Interrupt,
    LeaseHello,
    LinkLost,
    Recall,
    Recalled,
    Results,
    Retire,
    Serve,
    Setup,
    SetupDone,
)

from .actors import ActorBook, ActorCall
from .loop import Event, Violation

if TYPE_CHECKING:
    from .worker import Worker

STEP_S = 2e-6


class SimActor:
    """The actor in one worker."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        assert worker.lease is not None
        assert setup.actor is not None
        self.worker = worker
        self.world = worker.world
        self.terms = setup.actor
        book = self.world.books[worker.lease.owner, worker.lease.pool].actor
        assert isinstance(book, ActorBook)
        self.book = book
        self.labels = {0: ("owner", "owner-control")}
        self.names = {0: worker.lease.lease}
        self.queue: deque[tuple[int, int, Any]] = deque()
        self.functions: dict[int, set[int]] = {0: set()}
        self.latest: dict[int, int] = {}
        self.unwanted: set[int] = set()  # marks
        self.running: dict[int, tuple[ActorCall, Event | None]] = {}
        self.held: dict[int, list[tuple[int, Any, bytes | None]]] = {}
        self.begun: dict[int, int] = {}
        self.unanswered: list[ActorCall] = []  # ended here, and not told when last looked at
        self.retiring: set[int] = set()
        self.exiting = 0
        self.ending = False
        self.flush: Event | None = None
        self.world.actors.constructs(self.book, worker)
        worker._later(self.world.set_up_s(), self._constructed)

    def _constructed(self) -> None:
        self.worker.ready = True
        self._say(0, SetupDone())

    def _say(self, index: int, message: Any, *, control: bool = False) -> None:
        if index in self.labels:
            self.world.network.send(self.worker, self.labels[index][control], message)

    # ------------------------------------------------------------------------------------ messages

    def hear(self, sender: str, message: Any) -> None:
        start, _, number = sender.partition("#")
        index = int(number or 0)
        match message:
            case Execute():
                self._execute(index, message)
            case Setup():
                self._say(index, SetupDone())
            case Serve():
                self._serve(message)
            case Recall():
                self._recall(index, message)
            case Interrupt(attempt):
                self._interrupt(index << CALLER_SHIFT | attempt)
            case Retire():
                self.retiring.add(index)
                self._go_on()
            case LinkLost():
                if index:
                    self._lose(index)
                else:
                    self.worker._link_lost(start)
            case _:
                raise Violation("protocol", f"an actor heard {message!r} from {sender}")

    def _serve(self, serve: Serve) -> None:
        if not self.worker.ready:
            raise Violation(
                "actor_serves_when_up", f"{self.worker.name} is to serve before it is constructed"
            )
        world, owner = self.world, self.world.find_owner(serve.address)
        if owner is None:
            return
        if not world.network.reachable(self.worker, owner):
            self.worker._later(0.05, self._serve, serve)
            return
        data, control = f"owner#{serve.caller}", f"owner-control#{serve.caller}"
        self.labels[serve.caller] = data, control
        self.names[serve.caller] = serve.lease
        self.functions[serve.caller] = set()
        link = world.network.connect(self.worker, data, owner, f"worker:{serve.lease}")
        link.peer.last_s = world.loop.now + world.actors.slow_s()
        world.network.connect(self.worker, control, owner, f"control:{serve.lease}")
        machine = self.worker.machine
        self._say(serve.caller, LeaseHello(serve.lease, serve.pool, machine, machine, self.worker.pid))
        self._say(serve.caller, ControlHello(serve.lease), control=True)
        self.world.actors.serves(self.worker)

    def _lose(self, index: int) -> None:
        """A caller is gone; what it has queued never begins."""
        labels = self.labels.pop(index, None)
        if labels is not None:
            self.queue = deque(entry for entry in self.queue if entry[0] >> CALLER_SHIFT != index)
            self.held.pop(index, None)
            for label in labels:
                if label in self.worker.links:
                    self.world.network.close(self.worker.links[label])

    def _execute(self, index: int, message: Execute) -> None:
        if not self.worker.ready:
            raise Violation("setup_first", f"{self.worker.name} got calls before it was constructed")
        if message.careful:
            raise Violation(
                "actor_uses_no_mailbox", f"{self.worker.name} got calls with answers to be recorded"
            )
        known = self.functions[index]
        known.update(message.blobs)
        for place, payload in enumerate(message.payloads):
            mark = index << CALLER_SHIFT | (message.first + place)
            if message.functions[place] not in known:
                raise Violation("functions_known", f"{self.worker.name} got a call of an unknown method")
            if mark in self.unwanted:
                self.unwanted.discard(mark)
            else:
                self.queue.append((mark, message.functions[place], payload))
        self.latest[index] = message.first + len(message.payloads) - 1
        self._go_on()

    def _recall(self, index: int, message: Recall) -> None:
        wanted = {index << CALLER_SHIFT | attempt for attempt in message.attempts}
        taken = [entry[0] for entry in self.queue if entry[0] in wanted]
        self.queue = deque(entry for entry in self.queue if entry[0] not in wanted)
        early = [n for n in message.attempts if n > self.latest.get(index, 0)]
        self.unwanted.update(index << CALLER_SHIFT | attempt for attempt in early)
        self._send_held(index, control=True)
        if self.worker.alive:
            back = [mark & ((1 << CALLER_SHIFT) - 1) for mark in taken] + early
            self._say(index, Recalled(tuple(back), 0), control=True)
            self._go_on()

    def stretch(self, factor: float) -> None:
        """The calls that run take so many times as long from now on."""
        for _, event in self.running.values():
            self.world.loop.stretch(event, factor)

    def _interrupt(self, mark: int) -> None:
        call, event = self.running.get(mark, (None, None))
        if call is not None and call.kind != "deaf":
            self.world.loop.cancel(event)
            self.running[mark] = call, self.worker._later(STEP_S, self._end, mark, None, b"interrupted")

    # ----------------------------------------------------------------------------------- calls run

    def _go_on(self) -> None:
        worker = self.worker
        if not worker.alive or self.ending:
            return
        if self.exiting:
            if not self.running:
                self._leave()
            return
        while self.queue and len(self.running) < self.terms.concurrency:
            mark, _, payload = self.queue.popleft()
            call = self.world.actors.calls[payload[0]]
            self.running[mark] = call, worker._later(STEP_S, self._begin, mark)
        worker.busy = bool(self.running)
        for index in list(self.retiring):
            if any(mark >> CALLER_SHIFT == index for mark, *_ in self.queue) or any(
                mark >> CALLER_SHIFT == index for mark in self.running
            ):
                continue
            self._send_held(index)
            if index:
                self.retiring.discard(index)
                self._lose(index)
            elif not self.running:
                self._leave()
                return
        if not self.queue:
            for index in list(self.held):
                self._send_held(index)
        elif self.held and self.flush is None:
            self.flush = worker._later(self.world.limits.hold_results_s, self._flush)

    def _leave(self) -> None:
        self.ending = True
        for index in list(self.held):
            self._send_held(index)
        if not self.worker.alive:
            return
        if self.exiting:
            own = self.exiting if self.exiting >> CALLER_SHIFT == 0 else 0
            self._say(0, ActorExit(own))
        self.worker.retiring = True
        self.worker.busy = True
        self.worker.leaving_s = self.world.loop.now
        self.worker._later(self.world.exit_delay_s(), self.worker.exit, 0)

    def _begin(self, mark: int) -> None:
        worker = self.worker
        call, _ = self.running[mark]
        if self.world.strikes(worker, "popped"):
            return
        index = mark >> CALLER_SHIFT
        self.begun[index] = max(self.begun.get(index, 0), mark & ((1 << CALLER_SHIFT) - 1))
        if self.terms.one_by_one:
            worker.started = mark
        self.world.actors.begins(call, worker)
        if self.world.strikes(worker, "running"):
            return
        match call.kind:
            case "crash":
                event = worker._later(call.duration_s, worker.die, 11)
            case "crash_once" if call.starts == 1:
                event = worker._later(call.duration_s, worker.die, 9)
            case "exit" if call.starts == 1:
                event = worker._later(call.duration_s, worker.exit, 3)
            case "leave":
                event = worker._later(call.duration_s, self._exit_actor, mark)
            case "raise":
                event = worker._later(call.duration_s, self._end, mark, None, b"raised")
            case _:
                event = worker._later(call.duration_s, self._end, mark, [call.number, "answer"], None)
        self.running[mark] = call, event

    def _exit_actor(self, mark: int) -> None:
        self.running.pop(mark)
        self.worker.finished = mark
        self.book.left = True
        self.exiting = self.exiting or mark
        self.queue.clear()
        self._go_on()

    def _end(self, mark: int, value: Any, error: bytes | None) -> None:
        call, _ = self.running.pop(mark)
        call.finishes += 1
        self.unanswered = [other for other in self.unanswered if not other.outcome]
        self.unanswered.append(call)
        if self.world.strikes(self.worker, "answered"):
            return
        if self.terms.one_by_one:
            self.worker.finished = mark
        index = mark >> CALLER_SHIFT
        if index in self.labels:
            attempt = mark & ((1 << CALLER_SHIFT) - 1)
            self.held.setdefault(index, []).append((attempt, value, error))
        if self.world.strikes(self.worker, "finished"):
            return
        self._go_on()

    def _flush(self) -> None:
        self.flush = None
        for index in list(self.held):
            self._send_held(index)

    def _send_held(self, index: int, *, control: bool = False) -> None:
        held = self.held.pop(index, None)
        if held and self.worker.alive:
            done = [(attempt, value) for attempt, value, error in held if error is None]
            failed = [(attempt, error) for attempt, _, error in held if error is not None]
            self._say(index, Results([a for a, _ in done], [v for _, v in done], failed), control=control)
            self.world.strikes(self.worker, "sent")

    # ---------------------------------------------------------------------------------------- the end

    def died(self) -> None:
        """The process has ended, in whatever way."""
        for call in self.unanswered:
            if not call.outcome:
                call.lost_answers += 1

    @property
    def is_idle(self) -> bool:
        """Whether it is constructed, has nothing to do and would do it."""
        worker = self.worker
        return (
            worker.alive and worker.ready and not (self.running or self.queue or self.exiting or self.ending)
        )

    @property
    def words(self) -> tuple[int, ...]:
        """What ``begun`` shows."""
        return tuple(self.begun.get(index, 0) for index in range(max(self.begun, default=-1) + 1))
