"""The second thread of an actor's worker: control links of all callers, and how it hears that one is gone.

::

    new caller ──► bell ──► ControlHello on a link of its own        Recall ──► Recalled, with the answers there are
    lost caller ──► departures ──► main thread closes its data link  Interrupt ──► the call that runs

Part of ``control.control_loop``, which polls. The creator's links are that loop's own.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import zmq

from distpool import worker_hooks
from distpool.scheduler.messages import (
    CALLER_SHIFT,
    Consumed,
    ControlHello,
    Interrupt,
    Recall,
    Recalled,
    RemarksSeen,
    decode,
    encode,
)
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.shells.remarks import BUFFER_BYTES

if TYPE_CHECKING:
    from distpool.scheduler.shells.actor_links import CallerLink
    from distpool.scheduler.shells.actor_worker import ActorServer

#: A call that was to be interrupted and does not run is looked for so often: it may be about to begin.
LOOKS_MAX = 5


class ActorControl:
    """What the second thread does for one actor. ``links`` are the sockets that it closes at its end."""

    def __init__(
        self,
        server: ActorServer,
        control: zmq.Socket[bytes],
        poller: zmq.Poller,
        links: list[zmq.Socket[bytes]],
    ) -> None:
        self._others = set(links) - {control}  # what is polled too, and no affair of an actor's
        self._server = server
        self._poller = poller
        self._links = links
        self._controls: dict[object, CallerLink] = {control: server.creator}
        self._fates: dict[object, CallerLink] = {}  # of data and control links of other callers
        self._pairs: dict[CallerLink, tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = {}
        self._wanted: dict[int, int] = {}  # marks to interrupt -> how often they were not found running
        self._told = 0  # the mark that the main thread was told of

    def look(self) -> None:
        """The bell has rung: there may be new callers, and some that want no more."""
        arrivals = self._server.arrivals
        while arrivals:
            link = arrivals.popleft()
            if link.gone:
                self._let_go(link)
            elif link not in self._pairs:
                self._dial(link)

    def _dial(self, link: CallerLink) -> None:
        worker = self._server.worker
        control, fate = watched_dealer(worker.context, link.address, b"c:" + link.lease.encode())
        self._pairs[link] = control, fate
        self._links += [control, fate, link.fate]
        self._controls[control] = link
        for source in (fate, link.fate):
            self._fates[source] = link
            self._poller.register(source, zmq.POLLIN)
        self._poller.register(control, zmq.POLLIN)
        try:
            control.send(encode(ControlHello(link.lease)), zmq.NOBLOCK)
        except zmq.Again:
            pass  # it has hung up already, and its fate tells

    def _let_go(self, link: CallerLink) -> None:
        """Close what is this thread's, and have the main thread close the rest."""
        pair = self._pairs.pop(link, None)
        if pair is None:
            return
        control, fate = pair
        del self._controls[control]
        for source in (control, fate, link.fate):
            self._poller.unregister(source)
            self._fates.pop(source, None)
            self._links.remove(source)
        close_watched(control, fate)
        self._server.departures.append(link)
        self._server.waker.wake()

    def hears(self, source: object) -> bool:
        """Whether this readable socket was of an actor's callers; it has been seen to."""
        if (lost := self._fates.get(source)) is not None:
            self._let_go(lost)
            return True
        link = self._controls.get(source)
        if link is not None and isinstance(source, zmq.Socket):
            self._handle(link, source, decode(source.recv()))
            return True
        return not isinstance(source, int) and source not in self._others  # let go of in this very turn

    def _handle(self, link: CallerLink, control: zmq.Socket[bytes], message: Any) -> None:
        server = self._server
        match message:
            case Recall(attempts=attempts):
                taken = server.take_back(link, set(attempts)) if attempts else ()
                outbox = server.worker.outbox
                with outbox.sending:
                    frame = link.finished(0.0, by_data_link=False)
                    if frame is not None:
                        outbox.send_by(self._say_remarks, BUFFER_BYTES, aside=True)
                        self._say(control, frame)
                self._say(control, encode(Recalled(taken, 0)))
            case Interrupt(attempt=attempt, recursive=recursive):
                mark = link.index << CALLER_SHIFT | attempt
                self._interrupt(mark)
                if recursive and worker_hooks.cancel_calls is not None:
                    worker_hooks.cancel_calls(mark)
            case Consumed(attempt=attempt, count=count):
                server.consumed(link.index << CALLER_SHIFT | attempt, count)
            case RemarksSeen():
                server.worker.outbox.seen(message.count_bytes)
            case _:
                raise AssertionError(f"an owner does not say {message} on this link")

    def _say_remarks(self, frame: bytes) -> None:
        for control, link in self._controls.items():
            if link is self._server.creator:
                self._say(control, frame)

    @staticmethod
    def _say(control: Any, frame: bytes) -> None:
        try:
            control.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            pass  # its fate tells

    def _interrupt(self, mark: int) -> None:
        self._wanted[mark] = 0
        if not self._server.interrupt(mark):
            self._server.worker.missed.append(mark)  # not at this instant

    def press(self) -> bool:
        """Signal the main thread if it runs a call that is to be interrupted; returns whether to come again soon.

        The main thread clears ``interrupting`` when it raises: so each call is interrupted once.
        """
        worker, wanted = self._server.worker, self._wanted
        for _ in range(len(worker.missed)):
            self._interrupt(worker.missed.popleft())
        for mark, misses in list(wanted.items()):
            if self._told == mark and worker.interrupting != mark:
                del wanted[mark]  # it has raised
            elif worker.open == mark:
                self._told = worker.interrupting = mark
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGINT)
            elif misses < LOOKS_MAX:
                wanted[mark] = misses + 1
            else:
                del wanted[mark]  # it has ended
        return bool(wanted or worker.missed)
