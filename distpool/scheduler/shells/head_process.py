"""A head in a process of its own: that of a cluster which ``distpool start --head`` has begun.

::

    agent ── [way, node, frame] ──► HeadShell ──► journal (a file), then [way, frame] ──► agent
                                        ▲
    each node that has joined: a link on which nothing is said ── its loss
    the provider of nodes, where there is one: a process of its own (``provider_link``)

It dials its agent as a worker does, and ends with it. All that came meanwhile is taken in before anything is written,
so that many questions share one write to the disk. Killed at any moment it has kept all that it has said; the agent
starts another (``head_keeper``), which begins with the journal.

Started by ``python -m distpool.scheduler.shells.head_process ASK_FD TELL_FD DIRECTORY``: one JSON line is read from the
first descriptor (``HeadRequest``), and one written to the second ({"ready": true}, or {"ready": false, "error": why}).
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time

import msgspec
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.messages import HeadUp, Message, ProviderHangs, decode, encode
from distpool.scheduler.shells import launched
from distpool.scheduler.shells.head_keeper import HeadRequest
from distpool.scheduler.shells.head_shell import HOME, HeadShell
from distpool.scheduler.shells.journal import SqliteJournal
from distpool.scheduler.shells.links import Peers, watched_dealer
from distpool.scheduler.shells.provider_link import ProviderLink, ProviderRequest

_SLEEP_MS_MAX = 3_600_000  # a poll takes a C int


class HeadProcess:
    """Raises ClusterError if its journal cannot be used."""

    def __init__(self, request: HeadRequest) -> None:
        journal = SqliteJournal(request.journal)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._poller = zmq.Poller()
        self._link, self._fate = watched_dealer(context, request.agent, b"h:%d" % request.number)
        for source in (self._link, self._fate):
            self._poller.register(source, zmq.POLLIN)
        keys = None
        if request.secret:
            from distpool.scheduler.shells import curve

            keys = curve.derive(request.secret)
        core = HeadCore(request.limits, request.node, request.scaling)
        self._provider: ProviderLink | None = None
        if request.scaling is not None:
            self._provider = ProviderLink(ProviderRequest(request.scaling, request.address, request.secret))
        self._provider_fd = -1  # the one that is polled
        # By a name of its own: a peer may not have noticed yet that the last one is gone.
        identity = f"a:{request.node}:{os.urandom(4).hex()}".encode()
        self._peers = Peers(context, self._poller, identity, keys)
        self._head = HeadShell(core, self._say, self._peers, journal, self._ask_provider)
        self._say(HOME, HeadUp())
        self._head.flush()

    def run(self) -> None:
        """Serve until the agent is gone. Raises ClusterError if the journal cannot be written any more."""
        while True:
            for source, _ in self._poller.poll(self._sleep_ms()):
                if source is self._link:
                    self._read()
                elif source is self._fate:
                    return
                elif source == self._provider_fd and self._provider is not None:
                    self._hear_provider(self._provider.read(time.monotonic()))
                elif (peer := self._peers.lost(source)) is not None:
                    self._head.peer_lost(peer)
            self._head.tick(time.monotonic())
            if self._provider is not None:
                self._hear_provider(self._provider.tick(time.monotonic()))
            self._head.flush()

    def _ask_provider(self, message: Message) -> None:
        assert self._provider is not None
        if isinstance(message, ProviderHangs):
            self._provider.end(message.reason)
        else:
            self._provider.say(message)

    def _hear_provider(self, words: list[Message]) -> None:
        assert self._provider is not None
        if self._provider.fd != self._provider_fd:
            if self._provider_fd >= 0:
                self._poller.unregister(self._provider_fd)
            self._provider_fd = self._provider.fd
            if self._provider_fd >= 0:
                self._poller.register(self._provider_fd, zmq.POLLIN)
        for message in words:
            self._head.from_provider(message)

    def _read(self) -> None:
        while True:
            try:
                way, node, frame = self._link.recv_multipart(zmq.NOBLOCK)
                message = decode(frame)
            except zmq.Again:
                return
            except (msgspec.DecodeError, ValueError):
                continue  # not one of ours
            if way == HOME:
                self._head.from_home(message)
            else:
                self._head.hear(way, node.decode(), message)

    def _say(self, way: bytes, message: Message) -> bool:
        """That a node cannot be reached any more is seen by the link that is kept to it."""
        try:
            self._link.send_multipart([way, encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            pass  # the agent is gone, which ``fate`` tells
        return True

    def _sleep_ms(self) -> int:
        wake_s = min(self._head.wake_s, math.inf if self._provider is None else self._provider.wake_s)
        left_ms = (wake_s - time.monotonic()) * 1000
        return int(max(0, min(left_ms, _SLEEP_MS_MAX - 1))) + 1


def main(ask_fd: int, tell_fd: int) -> None:
    """The life of a head's process. Does not return."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(ask_fd, "rb") as ask:
            asked = ask.readline()
        if not asked:
            return  # who has started us died before it could ask
        request = msgspec.json.decode(asked, type=HeadRequest)
        try:
            head = HeadProcess(request)
        except ClusterError as error:
            if not launched.tell(tell_fd, {"ready": False, "error": str(error)}):
                print(f"distpool: {error}", file=sys.stderr)  # nobody waits: for the log
            return
        launched.tell(tell_fd, {"ready": True})
        head.run()
        status = 0
    except ClusterError as error:
        print(f"distpool: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
