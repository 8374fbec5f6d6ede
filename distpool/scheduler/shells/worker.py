"""A worker: a fork of the nursery that serves one lease and then exits.

::

    main thread       data link:     Setup, Execute, Retire  ──►  deque of attempts  ──►  run  ──►  Results
                                                                     ▲ oldest
    second thread     control link:  Recall, Interrupt               ▼ newest  ──►  Recalled
                      agent link:    WorkerHello
                      pidfds:        agent and nursery; when both are gone the worker ends the session's remains

The deque is the only thing that both threads touch for every task, and both of their operations on it are atomic. So an
attempt is started or taken back, never both. The main thread is the user's: while it runs a task, the second one
answers for it, and it takes the data link over (under ``_data_lock``) to see attempts that have come in and
were not read yet. No signal can raise outside of a task: the handler looks at the slot.
"""

from __future__ import annotations

import atexit
import faulthandler
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import zmq

from distpool import worker_hooks
from distpool.scheduler import limits as limits_module
from distpool.scheduler.messages import (
    NODES,
    Attach,
    Execute,
    LeaseHello,
    LogLevels,
    Results,
    Retire,
    Setup,
    SetupDone,
    WornOut,
    Yielded,
    decode,
    encode,
)
from distpool.scheduler.serialize import PLAIN_TYPES, is_plain, stored
from distpool.scheduler.shells import actor_worker, remote_calls, surroundings, worker_start
from distpool.scheduler.shells.actor_worker import ActorServer
from distpool.scheduler.shells.call_parts import (
    IMPORTER,
    Function,
    arguments,
    cut,
    dump,
    flush_streams,
    pack,
)
from distpool.scheduler.shells.control import control_loop, die, wait_for_the_end
from distpool.scheduler.shells.fetching import Fetching
from distpool.scheduler.shells.links import EagerWait, dealer, watched_dealer
from distpool.scheduler.shells.mailbox import Mailbox
from distpool.scheduler.shells.own_memory import own_memory_bytes
from distpool.scheduler.shells.preparation import apply_setup
from distpool.scheduler.shells.prints import Prints
from distpool.scheduler.shells.remarks import BUFFER_BYTES, Outbox, is_delicate
from distpool.scheduler.shells.remote_calls import Split
from distpool.scheduler.shells.stacks import dump_on_signal
from distpool.scheduler.shells.streaming import Reading, stream
from distpool.scheduler.shells.traces import Trace
from distpool.scheduler.shells.worker_start import WorkerStart
from distpool.scheduler.store.store import ObjectStore

_LIMITS = limits_module.DEFAULTS
#: How long what an idle worker's views have pinned may stay after the last of them is gone.
LOOK_AGAIN_MS = 500
#: A worker whose memory is bounded is weighed between tasks, no more often than this.
WEIGH_S = 0.005


class Worker:
    """One worker process serving one lease."""

    def __init__(self, start: WorkerStart, attach: Attach) -> None:
        self.start = start
        self.attach = attach
        self.slot = start.slot
        self.began = start.began
        self.store = None if start.store is None else ObjectStore(start.store, start.worker)
        stored.use(self.store)
        self.agent = Fetching(lambda: f"ipc://{start.directory}/agent", start.worker)
        if self.store is not None:
            self.store.reach_others(self.agent)
        self.queue: deque[tuple[int, Function, Any, bool]] = deque()
        self.functions: dict[int, Function] = {}
        self.done: deque[tuple[int, Any]] = deque()  # finished, not sent yet
        self.failed: deque[tuple[int, bytes]] = deque()
        self.held_bytes = 0
        self.has_stored = False  # some result so far was put into the store
        self.completed = 0  # attempts that have ended (main thread), ...
        self.received = 0  # ... and how many of their answers the owner has (either thread)
        self._told_items = 0  # how many of ``worker_hooks.more_items`` the owner has been told of
        self.retiring = False
        self.outbox = Outbox()
        self.memory_bytes_max = 0
        #: whose definitions answers may name instead of bringing them: the driver's (None), or nobody's (0)
        self.answers_to: int | None = None
        self.worn = False  # it has more memory than that, and runs nothing more
        self._weigh_s = 0.0  # when to look again
        self.base = ""  # who numbers the calls of the pool
        self._numbered: deque[tuple[int, list[int]]] = deque()  # first attempts, and numbers from there on
        self.actor_setup: Setup | None = None  # it is to be an actor's worker
        self.actor: ActorServer | None = None  # and is one
        self.status = 0  # what to exit with, unless exit handlers fail
        self.interrupting = 0
        self.open = 0  # the attempt that an interrupt may be raised in
        self.missed: deque[int] = deque()  # what one was raised in at a place that lets no exception out
        self._deaf = False  # another would be lost at this instant as well
        self.reading = Reading()  # of what calls yield
        self.yielding = False  # the answer of a call that yields is not sent yet
        self.trace = Trace()
        self.mailbox = Mailbox(os.path.join(start.directory, f"worker-{start.worker}.answers"))
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        # ``data_fate`` is the second thread's: the main thread may be asleep in ``data``.
        self.data, self.data_fate = watched_dealer(
            self.context, attach.address, b"d:" + attach.lease.encode()
        )
        self._eager = EagerWait(self.data, _LIMITS.spin_s)
        self.data_lock = threading.Lock()

    def run(self) -> None:
        """Serve until told to retire."""
        signal.signal(signal.SIGINT, self.on_sigint)
        sys.unraisablehook = self.on_unraisable
        start, attach = self.start, self.attach
        store = 0 if self.store is None else self.store.number
        hello = LeaseHello(attach.lease, attach.pool, start.node, start.host, os.getpid(), store)
        self.data.send(encode(hello), zmq.NOBLOCK)
        dump_on_signal(start.directory, start.worker)
        control = threading.Thread(target=control_loop, args=(self,), name="distpool-control", daemon=True)
        control.start()
        lock, queue = self.data_lock, self.queue
        while queue or not self.retiring:
            message = None
            with lock:  # the second thread may just have read the link: Execute, or Retire
                if not queue and not self.retiring:
                    message = decode(self.receive())
                    if type(message) is Execute:  # under the lock, or a Recall may miss it
                        self._queue(message)
                        message = None
            if message is not None:
                self.take(message)
                if self.actor_setup is not None:
                    actor_worker.serve(self, self.actor_setup)
            if queue:
                if self.worn:
                    self._give_back()
                else:
                    self._run_queue()
        with self.outbox.sending, lock:  # the second thread may be reading it
            self.outbox.send_by(lambda frame: self.data.send(frame, zmq.NOBLOCK), math.inf)
            self.data.close(linger=int(_LIMITS.farewell_s * 1000))
        self.context.term()  # ends the second thread, and returns when the last results have left

    def send_last_remarks(self) -> None:
        """What exit handlers have logged goes by a link of its own: the others were closed when the work was done."""
        if self.outbox.is_due:
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
            link = dealer(context, self.attach.address, b"r:" + self.attach.lease.encode())
            self.outbox.send_by(lambda frame: link.send(frame, zmq.NOBLOCK), math.inf)
            link.close(linger=int(_LIMITS.farewell_s * 1000))
            context.term()

    def receive(self) -> bytes:
        """Sleep until the data link has a frame."""
        if not self._eager.look():
            while self.store is not None and self.store.has_views and not self.data.poll(LOOK_AGAIN_MS):
                self.let_go()
        frame = self.data.recv()
        self._eager.found()
        return frame

    def take(self, message: Any) -> None:
        """Take in one message of the data link; the second thread calls this too, while a task runs."""
        match message:
            case Execute():
                self._queue(message)
            case Setup(actor=None):
                self.set_up(message)
            case Setup():
                self.actor_setup = message
            case Retire():
                self.retiring = True
            case LogLevels():
                surroundings.set_levels(message.levels)
            case _:
                raise AssertionError(f"an owner does not say {message}")

    def set_up(self, message: Setup) -> None:
        """Do what is to be done before any task."""
        self.memory_bytes_max, self.base = message.memory_bytes_max, message.base
        self.answers_to = 0 if message.self_contained else None
        error = None
        try:
            if message.log_levels:
                surroundings.set_levels(message.log_levels)
            log = self.start.log
            self.outbox.open(Prints(log) if log is not None and message.prints else None)
            gpus = self.attach.gpus
            if not gpus and not message.self_contained:
                gpus = None  # of a pool that asks for none: like a child of the program's, it sees what that sees
            apply_setup(message.blob, self.start, IMPORTER, gpus=gpus)
        except BaseException as exc:
            error = dump(exc, self.answers_to)
        self._send_after_remarks(encode(SetupDone(error)))

    def _queue(self, message: Execute) -> None:
        functions = self.functions
        passing: dict[int, Function] = {}
        for number in message.forget:
            functions.pop(number, None)
        for number, blob in message.blobs.items():
            (functions if number > 0 else passing)[number] = Function(blob, number > 0)
        self.received = message.received
        self._number(message)
        careful = message.careful
        self.queue.extend(
            [
                (attempt, functions[number] if number > 0 else passing[number], payload, careful)
                for attempt, (number, payload) in enumerate(
                    zip(message.functions, message.payloads, strict=True), message.first
                )
            ]
        )

    def _number(self, message: Execute) -> None:
        """Remember which calls these are, for as long as they lie or run here."""
        numbered = self._numbered
        while numbered and numbered[0][0] + len(numbered[0][1]) <= self.slot[0]:
            numbered.popleft()
        if message.numbers:
            numbered.append((message.first, message.numbers))

    def number_of(self, attempt: int) -> int:
        """The call's own number; 0 if it has none."""
        for first, numbers in self._numbered:
            if first <= attempt < first + len(numbers):
                return numbers[attempt - first]
        return 0

    def _run_queue(self) -> None:
        """Run what has been offered, oldest first, and send the results in batches."""
        queue, slot, began, done = self.queue, self.slot, self.began, self.done
        clock, hold_s, note = time.perf_counter, _LIMITS.hold_results_s, self.trace.note
        sent = now = clock()
        note(-now)
        label = ""
        spent: list[Any] = []
        while True:
            try:
                attempt, function, payload, careful = queue.popleft()
            except IndexError:
                break
            began[0] = now
            slot[0] = attempt
            value = error = None
            call: Any = None
            try:
                try:
                    self.open = attempt  # from here on an interrupt is raised, ...
                    if self.interrupting == attempt:
                        self.on_sigint(0, None)  # it came a moment too early
                    call = function.call or self._load(function)
                    if type(payload) is list:
                        value = call(*payload)
                    else:
                        args, kwargs = arguments(payload)
                        value = call(*args, **kwargs)
                        if type(payload) is dict:
                            label = payload.get("t", "")
                            if "n" in payload:
                                value = Split(value, payload["n"])
                            elif "g" in payload:
                                value = self._stream(value, attempt, payload["g"], payload.get("w", ()))
                            spent.append((args, kwargs))
                        elif payload[0] == stored.MARK:
                            spent.append(
                                (args, kwargs)
                            )  # to unmap takes long, and can wait until the answer is sent
                        del args, kwargs
                    if type(value) not in PLAIN_TYPES or not is_plain(value):
                        value = self._result(value)
                    if worker_hooks.unsafe:
                        self.make_safe()
                except BaseException as exc:
                    error = dump(exc, self.answers_to)
                    cut(exc)
                    if worker_hooks.unsafe:
                        self.make_safe()  # it may have kept what it got before it raised
                    label = payload.get("t", "") if type(payload) is dict else ""
                self.open = 0  # ... and from here on it is not
            except KeyboardInterrupt as late:  # between the two; there is only one for an attempt
                self.open = 0
                error = dump(late, self.answers_to)
            if careful:
                self._leave_in_mailbox(attempt, value, error)
            if error is None:
                done.append((attempt, value))
            else:
                self.failed.append((attempt, error))
            slot[1] = attempt
            self.completed += 1
            name, label = label or function.name, ""
            del call, value, payload, function  # nothing of the task's outlives it here
            now = clock()
            if error is None:
                note(now)
                note(name)
            else:
                note((name, began[0], now, True))
            if now - sent > hold_s or self.held_bytes > _LIMITS.hold_results_bytes_max or self.yielding:
                self._flush(now - sent)
                self.yielding = False
                spent.clear()
                sent = now = clock()
                note(-now)
                if self.memory_bytes_max and self._weigh(now):
                    break
        self._flush(clock() - sent)
        spent.clear()
        self.let_go()
        if self.memory_bytes_max and self._weigh(now):
            self._give_back()

    def _result(self, value: Any) -> Any:
        """A result that is not plain, undecoded; references in it are safe for whom it goes to from then on."""
        attach = self.attach
        node = self.start.node if 0 < attach.process < NODES else ""
        blob = pack(value, (attach.owner, attach.address, node, attach.process), self.answers_to)
        self.held_bytes += remote_calls.weight(blob)
        self.has_stored = self.has_stored or remote_calls.names_objects(blob)
        return blob

    def _stream(self, generator: Any, attempt: int, unread_max: int, wanted: Sequence[int]) -> int:
        """Send what a call yields, as it comes."""

        def send(index: int, value: Any) -> None:
            if type(value) not in PLAIN_TYPES or not is_plain(value):
                value = self._result(value)
            if worker_hooks.unsafe:
                self.make_safe()
            stored = remote_calls.names_objects(value)
            self._send_after_remarks(encode(Yielded(attempt, index, value, stored=stored)))

        def send_error(index: int, error: BaseException) -> None:
            self._send_after_remarks(encode(Yielded(attempt, index, None, dump(error, self.answers_to))))
            cut(error)

        self._flush(0.0)  # what is done must not wait for it
        self.yielding = True
        return stream(generator, attempt, unread_max, self.reading, send, send_error, wanted)

    @staticmethod
    def make_safe() -> None:
        """What the call has kept of its arguments' references must not need its caller any more."""
        if worker_hooks.make_safe is not None:
            worker_hooks.make_safe()

    def _load(self, function: Function) -> Callable[..., Any]:
        """Get a function ready. A module that is imported for it takes none of the task's time, which begins now."""
        self.began[0] = math.inf
        call = function.load()
        self.began[0] = time.perf_counter()
        return call

    def _weigh(self, now: float) -> bool:
        """Whether this process has more memory for itself than it may; looked at now and then."""
        if not self.worn and now >= self._weigh_s:
            self._weigh_s = now + WEIGH_S
            self.worn = own_memory_bytes() > self.memory_bytes_max
        return self.worn

    def _give_back(self) -> None:
        """Have what lies here run by another worker. The owner will say Retire."""
        back = []
        while self.queue:
            try:
                back.append(self.queue.popleft()[0])
            except IndexError:
                break  # the second thread took the last one back
        self._send(encode(WornOut(tuple(back))))

    def let_go(self) -> None:
        """Tell the store which views are gone."""
        if self.store is not None and self.store.has_dropped:
            self.store.drain()

    def _leave_in_mailbox(self, attempt: int, value: Any, error: bytes | None) -> None:
        mailbox = self.mailbox
        if self.received == self.completed:
            mailbox.empty()
        if error is None:
            mailbox.leave(encode(Results([attempt], [value], stored=self.has_stored)))
        else:
            mailbox.leave(encode(Results([], [], [(attempt, error)])))

    def finished(self, busy_s: float, *, by_data_link: bool = True) -> bytes | None:
        """The finished attempts that have not been sent, encoded; either thread may send them, each once.

        Only for who has the outbox's ``sending``, and keeps it until they are sent. What a call has yielded goes by
        the data link, and its answer must not overtake that by another.
        """
        if self.yielding and not by_data_link:
            return None
        done = [self.done.popleft() for _ in range(len(self.done))]
        failed = [self.failed.popleft() for _ in range(len(self.failed))]
        self.held_bytes = 0
        if not done and not failed:
            return None
        more_items = worker_hooks.more_items - self._told_items
        self._told_items += more_items
        values = [value for _, value in done]
        return encode(Results([a for a, _ in done], values, failed, busy_s, self.has_stored, more_items))

    def _flush(self, busy_s: float) -> None:
        flush_streams()
        with self.outbox.sending:
            frame = self.finished(busy_s)
            if frame is not None:
                self._send_remarks()
                self._send(frame)

    def _send_remarks(self) -> None:
        if self.outbox.is_due:
            self.outbox.send_by(self._send, BUFFER_BYTES)

    def _send_after_remarks(self, frame: bytes) -> None:
        """What the tasks have printed and logged comes before what they have done."""
        flush_streams()
        with self.outbox.sending:
            self._send_remarks()
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        with self.data_lock:
            try:
                self.data.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                wait_for_the_end()  # the owner has hung up, and nobody else has work for us

    @property
    def running(self) -> int:
        """The attempt under way, 0 if none."""
        started, finished = self.slot[0], self.slot[1]
        return started if started != finished else 0

    @property
    def busy(self) -> bool:
        """Whether a task runs, or waits to, or its answer is not on its way yet."""
        return bool(self.running or self.queue or self.done or self.failed)

    def on_sigint(self, _number: int, frame: FrameType | None) -> None:
        """Raise in the task that is to be interrupted, and nowhere else.

        Not while it imports: a package that was left half-way cannot be imported again by the tasks that follow; nor
        where what was printed would be lost. The signal comes again soon; and who imports for longer than an
        interrupt may take is killed, as others are.
        """
        due = self.interrupting and self.interrupting == self.open
        if due and not self._deaf and not _is_delicate(frame):
            worker_hooks.interrupted, self.interrupting = self.open, 0
            raise KeyboardInterrupt

    def on_unraisable(self, unraisable: Any) -> None:
        """An interrupt that hits a finalizer is lost there: have the second thread send it again, and say nothing."""
        if unraisable.exc_type is KeyboardInterrupt and self.open and worker_hooks.interrupted == self.open:
            self._deaf = True
            self.interrupting = self.open
            self.missed.append(self.open)
            self.outbox.bell.wake()
            self._deaf = False  # no signal is looked for between this and the end
        else:
            sys.__unraisablehook__(unraisable)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether this frame runs for an import, or for a remark that is being made."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>" or is_delicate(frame.f_code):
            return True
        frame = frame.f_back
    return False


def main(start: WorkerStart) -> int:
    """The life of a worker process; returns its exit status."""
    assert start.attach is not None
    worker_start.this_worker = start
    try:
        fault = open(os.path.join(start.directory, f"worker-{start.worker}.fault"), "w")  # noqa: SIM115
    except FileNotFoundError:
        die()  # the session has ended meanwhile, and its directory with it
    faulthandler.enable(fault, all_threads=False)  # the thread that crashed is the one that tells something
    try:
        worker = Worker(start, start.attach)
        worker.run()
        if worker_hooks.linger is not None:
            worker_hooks.linger()
        if worker.store is not None:
            worker.store.leave()
        status = _say_goodbye() or worker.status
        worker.send_last_remarks()
        worker.trace.leave(start, worker.completed)
        return status
    finally:
        flush_streams()


def _say_goodbye() -> int:
    """Run what the tasks registered for the end of the process, as multiprocessing's children do."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._exit_function()
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0
