"""A worker's second thread: it answers for the worker while the main thread runs the user's code.

It takes attempts back (Recall), interrupts the running one (Interrupt), sends finished results that wait for company
behind a task that turns out to be long, tells who asks where the threads are (Inquire), and ends the worker when a link
to its owner is lost or the processes above it are gone.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import zmq

from distpool import worker_hooks
from distpool.scheduler.messages import (
    Consumed,
    ControlHello,
    Inquire,
    Inquired,
    Interrupt,
    LogGrows,
    Recall,
    Recalled,
    RemarksSeen,
    WorkerHello,
    decode,
    encode,
)
from distpool.scheduler.shells.actor_control import ActorControl
from distpool.scheduler.shells.links import dealer, watched_dealer
from distpool.scheduler.shells.remarks import AFTER_S, BUFFER_BYTES

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

#: How long the second of agent and nursery has to die, for the worker to take it that both were killed at once.
BOTH_DEAD_S = 0.3
#: A signal that comes just before the main thread enters a system call is seen only after it: so it is sent again.
INTERRUPT_AGAIN_MS = 20
#: How long ending what is left of a session may take, with the wait before it.
END_S = BOTH_DEAD_S + 2.0
#: How long a Recall waits for an idle main thread to read what was sent before it.
OVERTAKEN_S = 0.02
#: A line that is printed in parts is sent when it is whole, or when nothing was added to it for this long.
LOOK_AGAIN_S = 0.1


def control_loop(worker: Worker) -> None:
    """Serve the control link, the agent's link and the two processes above, until the context ends."""
    start, attach = worker.start, worker.attach
    above = [_pidfd(start.agent_pid), _pidfd(start.nursery_pid)]
    if None in above:
        _leave(worker, above)
    links = [worker.data_fate]
    try:
        control, control_fate = watched_dealer(worker.context, attach.address, b"c:" + attach.lease.encode())
        links += [control, control_fate]
        links.append(
            agent := dealer(worker.context, f"ipc://{start.directory}/agent", b"w:%d" % start.worker)
        )
        poller = zmq.Poller()
        fates = (worker.data_fate, control_fate)
        for source in (control, agent, *fates, *above, worker.outbox.bell.fd):
            poller.register(source, zmq.POLLIN)
        try:
            control.send(encode(ControlHello(attach.lease)), zmq.NOBLOCK)
            agent.send(encode(WorkerHello(start.worker, os.getpid())), zmq.NOBLOCK)
        except zmq.Again:
            pass  # one of them has hung up already: the poll will tell, or its death will end us
        interrupts = Interrupts(worker)
        remarks = _LateRemarks(worker, control)
        actor: ActorControl | None = None
        while True:
            pressing = interrupts.press() if actor is None else actor.press()
            for source, _ in poller.poll(remarks.timeout_ms(INTERRUPT_AGAIN_MS if pressing else None)):
                if worker.actor is not None and actor is None:
                    actor = ActorControl(worker.actor, control, poller, links)
                if source == worker.outbox.bell.fd:
                    remarks.heard()
                    if actor is not None:
                        actor.look()
                    continue
                if source is agent:
                    message = decode(agent.recv())
                    if type(message) is LogGrows:
                        remarks.heard_of_prints()
                    else:
                        _tell_agent(worker, agent, message)
                    continue
                if actor is not None and actor.hears(source):
                    continue
                if isinstance(source, int):
                    _leave(worker, above)
                if source in fates:
                    if not worker.retiring:  # the main thread closes its link itself then
                        _leave(worker, above)  # the owner may live on, and hears of it from the agent
                    poller.unregister(source)
                    continue
                _handle(worker, control, decode(source.recv()), interrupts)
            remarks.send_if_due()
    except zmq.Again:
        _leave(worker, above)  # the owner has hung up
    except zmq.ZMQError as error:
        if error.errno != zmq.ETERM:  # perhaps before this thread had made its sockets
            raise
    finally:  # or the main thread could not end the context
        for link in links:
            link.close(linger=1000)


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None if it has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _leave(worker: Worker, above: list[int | None]) -> NoReturn:
    """Owner, agent or nursery is gone, and who is left ends the session; if both of ours are, that is up to us."""
    from distpool.scheduler.shells.processes import end_session

    alive = {fd for fd in above if fd is not None}
    until = time.monotonic() + BOTH_DEAD_S
    poll = select.poll()  # select takes no descriptor above 1023
    for fd in alive:
        poll.register(fd, select.POLLIN)
    while alive and (left_s := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(left_s * 1000):
            alive.discard(fd)
            poll.unregister(fd)
    if not alive and _elected(worker.start.directory):
        end_session(worker.start.directory, os.getsid(0))
    die()


def _elected(directory: str) -> bool:
    """Whether this worker ends the session. One does: two would kill each other half-way, and leave the other half."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(os.path.join(directory, "ending"), flags, 0o600))
    except (FileExistsError, FileNotFoundError):
        return False  # another does, or has done so
    except OSError:
        pass  # a full disk: rather twice than never
    return True


def wait_for_the_end() -> NoReturn:
    """For the main thread, whose owner has hung up: the second thread sees that too, and may have a session to end."""
    time.sleep(END_S)
    die()


def die() -> NoReturn:
    """End by a signal, not by an exit: an exit would count as the running task's own."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


class Interrupts:
    """The attempts that are to be interrupted, until they have raised or ended.

    The main thread knows of one at a time, ``worker.interrupting``, and clears it when it raises: so each raises once.
    Attempts are run in the order of their numbers, so that one is always the lowest.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._wanted: set[int] = set()
        self._told = 0  # the latest that the main thread was told of
        self.recalled: frozenset[int] = frozenset()  # what the Recall before took back: that will never run

    def want(self, attempt: int) -> None:
        """Interrupt this one: now, or when it runs."""
        if attempt not in self.recalled:
            self._wanted.add(attempt)

    def press(self) -> bool:
        """Signal the main thread if it runs one of them; returns whether to come again soon."""
        worker, wanted = self._worker, self._wanted
        while worker.missed:
            wanted.add(worker.missed.popleft())
        while wanted:
            first = min(wanted)
            if first != self._told and first > worker.slot[1]:
                self._told = worker.interrupting = first
            if first != worker.interrupting or first <= worker.slot[1]:
                wanted.discard(first)  # it has raised, or has ended
                continue
            if first == worker.running:
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGINT)
            return True
        return False


class _LateRemarks:
    """Sends what tasks remark while they go on. What they remarked before a result, the main thread sends with it."""

    def __init__(self, worker: Worker, control: zmq.Socket[bytes]) -> None:
        self._worker = worker
        self._control = control
        self._due_s = 0.0  # 0: nothing waits

    def heard(self) -> None:
        """The bell has rung."""
        self._worker.outbox.bell.clear()
        self._due_s = time.monotonic() + AFTER_S

    def heard_of_prints(self) -> None:
        """The agent sees that something is printed."""
        prints = self._worker.outbox.prints
        if not self._due_s and prints is not None and prints.has_grown:
            self._due_s = time.monotonic()

    def timeout_ms(self, other_ms: int | None) -> int | None:
        """How long to poll, if it were ``other_ms`` otherwise."""
        if not self._due_s:
            return other_ms
        due_ms = max(0, int((self._due_s - time.monotonic()) * 1000) + 1)
        return due_ms if other_ms is None else min(due_ms, other_ms)

    def send_if_due(self) -> None:
        """By the data link, so that nothing overtakes; by ours if the main thread sleeps in that, and says nothing."""
        if not self._due_s or time.monotonic() < self._due_s:
            return
        outbox = self._worker.outbox
        self._due_s = 0.0
        outbox.rung = False  # before looking: what comes after it rings again
        self._send()
        if not self._due_s and outbox.prints is not None and outbox.prints.owes:
            self._due_s = time.monotonic() + LOOK_AGAIN_S

    def _send(self) -> None:
        worker, outbox = self._worker, self._worker.outbox
        with outbox.sending:
            if not worker.data_lock.acquire(blocking=False):
                if worker.actor is None and worker.busy:
                    self._due_s = time.monotonic() + AFTER_S  # it has that lock for a moment only
                else:
                    outbox.send_by(lambda frame: self._control.send(frame, zmq.NOBLOCK), aside=True)
                return
            try:
                if not worker.data.closed:
                    outbox.send_by(lambda frame: worker.data.send(frame, zmq.NOBLOCK))
            finally:
                worker.data_lock.release()


def _handle(worker: Worker, control: zmq.Socket[bytes], message: Any, interrupts: Interrupts) -> None:
    match message:
        case Recall():
            _see_what_came(worker)
            taken = _take_back(worker, message)
            with worker.outbox.sending:
                frame = worker.finished(0.0, by_data_link=False)
                if frame is not None:  # what they have logged comes before them
                    worker.outbox.send_by(
                        lambda remarks: control.send(remarks, zmq.NOBLOCK), BUFFER_BYTES, aside=True
                    )
                    control.send(frame, zmq.NOBLOCK)
            control.send(encode(Recalled(taken, worker.running)), zmq.NOBLOCK)
            interrupts.recalled = frozenset(taken)
        case Interrupt():
            interrupts.want(message.attempt)
            if message.recursive and worker_hooks.cancel_calls is not None:
                worker_hooks.cancel_calls(message.attempt)
        case Consumed():
            worker.reading.consumed(message.attempt, message.count)
        case RemarksSeen():
            worker.outbox.seen(message.count_bytes)
        case _:
            raise AssertionError(f"an owner does not say {message} on this link")


def _tell_agent(worker: Worker, agent: zmq.Socket[bytes], message: Any) -> None:
    """Somebody in the cluster asks all workers something."""
    assert isinstance(message, Inquire)
    try:
        told = _told(worker, message)
    except Exception:  # a bug of ours; the task that runs here has no part in it
        traceback.print_exc()
        told = b""
    agent.send(encode(Inquired(message.number, told)), zmq.NOBLOCK)


def _told(worker: Worker, message: Inquire) -> bytes:
    if message.topic == "timeline":
        return worker.trace.packed(worker.start)
    if message.topic == "activity":
        from distpool.scheduler.messages import activity

        asked = activity.wanted(message.about)
        return activity.pack(worker.trace.activity(worker.start, asked.asker, asked.bars, worker.completed))
    if message.topic == "stacks":
        from distpool.scheduler.messages.insights import pack
        from distpool.scheduler.shells.stacks import own_stack

        loop = getattr(worker.actor, "loop", None)
        return pack(own_stack(worker.start.node, worker.start.worker, loop))
    if message.topic == "objects" and worker_hooks.tell_objects is not None:
        return worker_hooks.tell_objects()
    return b""


def _see_what_came(worker: Worker) -> None:
    """Read the data link in the main thread's place.

    If that one is about to read it, or to send, it has a moment to do so: a Recall that overtook its Execute
    would find nothing to take back.
    """
    if not worker.data_lock.acquire(timeout=OVERTAKEN_S):
        return
    try:
        while not worker.data.closed:  # a retiring worker closes it
            worker.take(decode(worker.data.recv(zmq.NOBLOCK)))
    except zmq.Again:
        pass
    finally:
        worker.data_lock.release()


def _take_back(worker: Worker, message: Recall) -> tuple[int, ...]:
    """Remove attempts from the queue: those named, or the newest. Whoever removes an attempt has it."""
    queue = worker.queue
    taken = []
    if message.attempts:
        named = set(message.attempts)
        for item in list(queue):
            if item[0] in named:
                try:
                    queue.remove(item)
                except ValueError:
                    continue  # started meanwhile
                taken.append(item[0])
    else:
        for _ in range(message.count):
            try:
                taken.append(queue.pop()[0])
            except IndexError:
                break
    return tuple(taken)
