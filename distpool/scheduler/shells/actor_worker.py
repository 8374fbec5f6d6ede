"""An actor's worker: what a ``Worker`` becomes when its set-up constructs an actor.

::

    main thread       data links:     Execute, Serve, Retire ──► calls ──► run, as ``ActorTerms`` say ──► Results
                        one for each caller, the creator's first             │
    second thread     control links:  Recall, Interrupt  (``actor_control``) │
                                                                             └── exit_actor ──► ActorExit, exit handlers

Four servers run the calls: ``OneByOne`` here, on the main thread; ``actor_threads``; ``actor_loop``; ``actor_loops``.
Before a call begins, it is noted in ``begun``. The slot shows what runs only where that is one call.

A call is not taken back for the sake of another worker, as there is none. A caller whose link is lost is no more than
that: what it has queued goes, what runs ends unheard. Without the creator, the worker ends as any does.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import zmq

from distpool import worker_hooks
from distpool.scheduler import limits as limits_module
from distpool.scheduler.messages import (
    CALLER_SHIFT,
    NODES,
    ActorExit,
    ActorTerms,
    Execute,
    GateOf,
    LeaseHello,
    LogLevels,
    Retire,
    Serve,
    Setup,
    SetupDone,
    Yielded,
    decode,
    encode,
)
from distpool.scheduler.shells import actor_calls, remote_calls, surroundings
from distpool.scheduler.shells.actor_calls import Resolved
from distpool.scheduler.shells.actor_links import Call, CallerLink
from distpool.scheduler.shells.begun import Begun
from distpool.scheduler.shells.call_parts import arguments, cut, dump, flush_streams
from distpool.scheduler.shells.control import wait_for_the_end
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.shells.remarks import BUFFER_BYTES
from distpool.scheduler.shells.streaming import Reading, stream
from distpool.scheduler.shells.waker import Waker

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

_LIMITS = limits_module.DEFAULTS


class ActorServer:
    """Serves an actor's callers until it is to end; subclasses say how calls are run."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        assert setup.actor is not None
        self.worker = worker
        self.setup = setup
        self.terms: ActorTerms = setup.actor
        attach = worker.attach
        creator = CallerLink(
            0,
            attach.lease,
            attach.owner,
            attach.address,
            attach.process,
            worker.data,
            worker.data_fate,
        )
        self.creator = creator
        creator.base = setup.base
        self.links: dict[int, CallerLink] = {0: creator}
        self.arrivals: deque[CallerLink] = deque()  # for the second thread: new, or gone
        self.departures: deque[CallerLink] = deque()  # for the main thread: lost, or let go by the second
        self.parting: set[CallerLink] = set()  # gone, and not let go by the second thread yet
        self.waker = Waker()  # ends the main thread's sleep
        self.ending = False  # nothing more begins
        self.exit_mark = 0  # the call that ends the actor on purpose
        self.exit_s = math.inf  # then calls that run beside it have until here to end
        path = os.path.join(worker.start.directory, f"worker-{worker.start.worker}.begun")
        self.begun = Begun(path)
        self._latest_begun = self.begun.words
        self.reading = Reading()
        self.note = worker.trace.note
        worker.trace.is_actor = True
        actor_calls.is_actor = True

    # ------------------------------------------------------------------------------ subclasses say

    def serve(self) -> None:
        """Construct the actor, then serve until it is to end. On the main thread."""
        raise NotImplementedError

    def admit(self, calls: list[Call]) -> None:
        """Calls have come."""
        raise NotImplementedError

    def waiting(self) -> Iterable[deque[Call]]:
        """Where calls wait that have not begun."""
        raise NotImplementedError

    def interrupt(self, mark: int) -> bool:
        """Stop a call that runs, if it lets itself be stopped. On the second thread. False: not at this instant."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------- messages

    def take(self, link: CallerLink, message: Any) -> None:
        """One message of a data link. On the main thread."""
        match message:
            case Execute():
                calls = link.queue(message)
                if not self.ending:
                    self.admit(calls)
            case Serve():
                self._dial(message)
            case Retire():
                link.retiring = True
                self.flush()
                self.look_whether_done(link)
            case LogLevels() if link is self.creator:
                surroundings.set_levels(message.levels)
            case LogLevels():
                pass  # a caller's
            case Setup():  # a caller's; the actor has had its own
                link.base = message.base
                self.send(link, encode(SetupDone()))
            case _:
                raise AssertionError(f"an owner does not say {message} to an actor")

    def _dial(self, serve: Serve) -> None:
        """Take calls of another owner too."""
        worker, lease = self.worker, serve.lease.encode()
        address = serve.address
        if serve.home:
            gate = worker.agent.ask(lambda request: GateOf(serve.owner, serve.home, request))
            if not gate.address:
                return  # it has ended meanwhile
            address = gate.address
        data, fate = watched_dealer(worker.context, address, b"d:" + lease)
        link = CallerLink(serve.caller, serve.lease, serve.owner, address, serve.process, data, fate)
        self.begun.make_room(serve.caller)
        self._latest_begun = self.begun.words
        self.links[serve.caller] = link
        start = worker.start
        store = 0 if worker.store is None else worker.store.number
        hello = LeaseHello(serve.lease, serve.pool, start.node, start.host, os.getpid(), store)
        self.send(link, encode(hello))
        self.arrivals.append(link)
        worker.outbox.bell.wake()
        self.linked(link)

    def linked(self, link: CallerLink) -> None:
        """A caller's link is there to be read."""

    def unlinked(self, link: CallerLink) -> None:
        """It is about to be closed."""

    def look_whether_done(self, link: CallerLink) -> None:
        """A caller that wants no more, and has what it wanted, is let go; with the creator the actor ends."""
        if not link.retiring or link.running or self._waits(link):
            return
        if link is self.creator:
            self.ending = True
        elif self._forget(link):
            self.parting.add(link)
            self.arrivals.append(link)  # its control link is the second thread's, and goes first
            self.worker.outbox.bell.wake()

    def _waits(self, link: CallerLink) -> bool:
        return any(call.link is link for queue in self.waiting() for call in list(queue))

    def close_the_gone(self) -> None:
        """Close the data links that the second thread has let go of. What a lost caller has queued never begins."""
        while self.departures:
            link = self.departures.popleft()
            if self._forget(link):
                for queue in self.waiting():
                    for call in [call for call in list(queue) if call.link is link]:
                        remove(queue, call)
            self.parting.discard(link)
            if link.process >= NODES and self.worker.store is not None:
                self.worker.store.forget_handed(link.process)
            close_watched(link.data, link.fate, int(_LIMITS.farewell_s * 1000))

    def _forget(self, link: CallerLink) -> bool:
        if self.links.pop(link.index, None) is None:
            return False
        link.gone = True
        self.unlinked(link)
        return True

    # ------------------------------------------------------------------------------- what goes back

    def send(self, link: CallerLink, frame: bytes) -> None:
        """Say something on a data link. To a caller that has hung up it is lost; without a creator all is over."""
        try:
            link.data.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            if link is self.creator:
                wait_for_the_end()

    def flush(self, busy_s: float = 0.0) -> None:
        """Send every caller its answers, after what the calls have remarked."""
        for link in list(self.links.values()):
            if link.has_answers:
                frame = link.finished(busy_s)  # first: what these calls have yielded is there by then
                self.send_remarks()
                while link.frames:
                    self.send(link, link.frames.popleft())
                if frame is not None:
                    self.send(link, frame)
                self.look_whether_done(link)

    def send_remarks(self) -> None:
        """What has been printed and logged; it goes to the creator, whoever called."""
        flush_streams()
        outbox = self.worker.outbox
        if outbox.is_due:
            with outbox.sending:
                outbox.send_by(lambda frame: self.send(self.creator, frame), BUFFER_BYTES)

    def let_go(self) -> None:
        """Tell the store which views are gone."""
        self.worker.let_go()

    # ---------------------------------------------------------------------------------- one call

    def perform(self, call: Call, resolved: Resolved) -> Any:
        """Run a method here and now; returns its result, undecoded. Raises what it raises."""
        payload = call.payload
        if type(payload) is list:
            value = resolved.call(*payload)
        else:
            args, kwargs = arguments(payload)
            value = resolved.call(*args, **kwargs)
            if type(payload) is dict:
                value = self.parts(call, value)
        return self.packed(call, value)

    def parts(self, call: Call, value: Any) -> Any:
        """A result as its caller wants it: taken apart, or sent value for value, which gives their number."""
        payload = call.payload
        if "n" in payload:
            return remote_calls.Split(value, payload["n"])
        if "g" in payload:
            return stream(
                value,
                call.mark,
                payload["g"],
                self.reading,
                lambda index, item: self.send_yielded(call, self.yielded(call, index, item)),
                lambda index, error: self.send_yielded(call, self.yielded_error(call, index, error)),
                payload.get("w", ()),
            )
        return value

    def yielded(self, call: Call, index: int, value: Any) -> bytes:
        """One of the values that a call yields, encoded."""
        blob = self.packed(call, value)
        return encode(Yielded(call.attempt, index, blob, stored=remote_calls.names_objects(blob)))

    def yielded_error(self, call: Call, index: int, error: BaseException) -> bytes:
        """The error that a generator ends with, encoded."""
        blob = dump(error, self.worker.answers_to)
        cut(error)
        return encode(Yielded(call.attempt, index, None, blob))

    def send_yielded(self, call: Call, frame: bytes) -> None:
        """Send it now: nobody knows when the next one comes."""
        self.send_remarks()
        self.send(call.link, frame)

    def consumed(self, mark: int, count: int) -> None:
        """So many of the values that a call has yielded were read. On the second thread."""
        self.reading.consumed(mark, count)

    def done(self, call: Call, answer: Any) -> None:
        """The call has ended, with this answer."""
        streamed = type(call.payload) is dict and "g" in call.payload
        (call.link.streamed if streamed else call.link.done).append((call.attempt, answer))

    def packed(self, call: Call, value: Any) -> Any:
        """A result as it goes into an answer."""
        blob = call.link.pack(value, self.worker)
        if worker_hooks.unsafe:
            self.worker.make_safe()
        return blob

    def failed(self, call: Call, error: BaseException) -> None:
        """The call has raised; what it has kept before that must be safe as well."""
        if worker_hooks.unsafe:
            self.worker.make_safe()
        call.link.failed.append((call.attempt, dump(error, self.worker.answers_to)))
        cut(error)

    def note_begun(self, call: Call) -> None:
        """From here on it may have run. Not for several threads at once."""
        words, index = self._latest_begun, call.mark >> CALLER_SHIFT
        attempt = call.attempt
        if attempt > words[index]:
            words[index] = attempt

    # --------------------------------------------------------------------------------- second thread

    def take_back(self, link: CallerLink, attempts: set[int]) -> tuple[int, ...]:
        """Which of these have not begun, and will not."""
        taken = link.refuse_later(attempts)
        for queue in self.waiting():
            for call in list(queue):
                if call.link is link and call.attempt in attempts and remove(queue, call):
                    taken.append(call.attempt)
        return tuple(taken)

    # ---------------------------------------------------------------------------------------- the end

    def exits(self, call: Call) -> None:
        """The actor ends on purpose: nothing more begins, and what runs beside this call has a moment to end."""
        self.exit_mark = self.exit_mark or call.mark
        self.exit_s = min(self.exit_s, time.monotonic() + _LIMITS.cancel_grace_s)
        self.ending = True

    def leave(self, leaving: SystemExit) -> None:
        """``sys.exit`` in a call is a death, with exit handlers: the slot goes on to show the call."""
        self.ending = True
        code = leaving.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
        self.worker.status = code if isinstance(code, int) else int(code is not None)

    def say_farewell(self) -> None:
        """The last answers, and why the actor ends if that is its own wish."""
        self.flush()
        self.worker.retiring = True
        if self.exit_mark:
            self.send_remarks()
            own = self.exit_mark if self.exit_mark >> CALLER_SHIFT == 0 else 0
            self.send(self.creator, encode(ActorExit(own)))
        for link in [*self.links.values(), *self.parting]:
            if link is not self.creator:
                link.data.close(linger=int(_LIMITS.farewell_s * 1000))


class OneByOne(ActorServer):
    """Runs calls on the main thread, in the order in which they come."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        super().__init__(worker, setup)
        self.queue: deque[Call] = deque()
        self._poller = zmq.Poller()
        self._poller.register(self.waker.fd, zmq.POLLIN)
        self._poller.register(worker.data, zmq.POLLIN)
        self._reads = False  # the main thread holds the lock of the data links

    def serve(self) -> None:
        """See ``ActorServer``."""
        self.worker.set_up(self.setup)
        while not self.ending:
            if self.queue:
                self._run_queue()
                continue
            with self.worker.data_lock:  # the second thread may send late remarks
                self._reads = True
                self._read()
                self._reads = False
        self.say_farewell()

    def _read(self) -> None:
        """Sleep until something comes."""
        if len(self.links) == 1 and not self.parting:
            self.take(self.creator, decode(self.worker.receive()))
            return
        readable = {source for source, _ in self._poller.poll()}
        if self.waker.fd in readable:
            self.waker.clear()
            self.close_the_gone()
        for link in list(self.links.values()):
            if link.data in readable:
                self.take(link, decode(link.data.recv()))

    def _run_queue(self) -> None:
        worker, queue, slot, note = self.worker, self.queue, self.worker.slot, self.note
        clock, hold_s, held_max = time.perf_counter, _LIMITS.hold_results_s, _LIMITS.hold_results_bytes_max
        sent = now = clock()
        note(-now)
        while not self.ending:
            try:
                call = queue.popleft()
            except IndexError:
                break
            mark, link = call.mark, call.link
            worker.began[0] = now
            self.note_begun(call)
            slot[0] = mark
            failed = False
            try:
                try:
                    worker.open = mark  # from here on an interrupt is raised, ...
                    if worker.interrupting == mark:
                        worker.on_sigint(0, None)  # it came a moment too early
                    self.done(call, self.perform(call, call.method.resolved()))
                except actor_calls.ActorExit:
                    self.exits(call)
                except SystemExit as leaving:
                    worker.open = 0
                    self.leave(leaving)
                    return
                except BaseException as error:
                    failed = True
                    self.failed(call, error)
                worker.open = 0  # ... and from here on it is not
            except KeyboardInterrupt as late:
                worker.open = 0
                failed = True
                self.failed(call, late)
            slot[1] = mark
            payload = call.payload
            name = payload.get("t", call.method.name) if type(payload) is dict else call.method.name
            del call, payload
            now = clock()
            if failed:
                note((name, worker.began[0], now, True))
            else:
                note(now)
                note(name)
            if now - sent > hold_s or link.held_bytes > held_max:
                self.flush(now - sent)
                sent = now = clock()
                note(-now)
        self.flush(clock() - sent)
        self.let_go()

    def send(self, link: CallerLink, frame: bytes) -> None:
        """See ``ActorServer``."""
        if self._reads:
            super().send(link, frame)
        else:
            with self.worker.data_lock:
                super().send(link, frame)

    def admit(self, calls: list[Call]) -> None:
        """See ``ActorServer``."""
        self.queue.extend(calls)

    def waiting(self) -> Iterable[deque[Call]]:
        """See ``ActorServer``."""
        return (self.queue,)

    def interrupt(self, mark: int) -> bool:
        """See ``ActorServer``: ``actor_control`` signals the main thread."""
        return True

    def linked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        self._poller.register(link.data, zmq.POLLIN)

    def unlinked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        self._poller.unregister(link.data)


def remove(queue: deque[Call], call: Call) -> bool:
    """Whoever removes a call from where it waits has it."""
    try:
        queue.remove(call)
    except ValueError:
        return False
    return True


def serve(worker: Worker, setup: Setup) -> None:
    """Be an actor until its end."""
    assert setup.actor is not None
    server: ActorServer
    if setup.actor.loop and setup.actor.groups:
        from distpool.scheduler.shells.actor_loops import OnLoops

        server = OnLoops(worker, setup)
    elif setup.actor.loop:
        from distpool.scheduler.shells.actor_loop import OnLoop

        server = OnLoop(worker, setup)
    elif setup.actor.one_by_one:
        server = OneByOne(worker, setup)
    else:
        from distpool.scheduler.shells.actor_threads import InThreads

        server = InThreads(worker, setup)
    worker.actor = server
    server.serve()
