"""ZeroMQ sockets, set the one way that the engine needs them.

- ROUTER_MANDATORY: a message to a peer that is gone is an error here, not a silent drop.
- No high-water marks: a ROUTER drops at its mark and two full DEALERs deadlock; credit in the cores bounds what is
  under way.
- Every send is non-blocking; LINGER 0, but for a bounded farewell.
- RECONNECT_IVL -1: a lost link is a lost incarnation, and whoever wants another opens a new socket.
- MAXMSGSIZE bounds what a stranger can make us hold, and so does HANDSHAKE_IVL where there are strangers: not on a
  Unix socket in a directory of our own. There it would only break the links of a driver that is stopped for a while
  (Ctrl-Z, a debugger) as its workers dial, for good.
"""

from __future__ import annotations

import os
import time

import zmq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.curve import Keys

MESSAGE_BYTES_MAX = 1 << 40  # big payloads travel whole until the object store takes them
HANDSHAKE_MS = 10_000
#: A link to another machine that is silent, with a question open, for so many seconds is lost.
SILENT_S = 60
HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
#: So many quick messages in a row make ``EagerWait`` look for the next.
QUICK_MIN = 3


def _common(socket: zmq.Socket[bytes], address: str) -> None:
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
    if address.startswith(
        "tcp:"
    ):  # a machine that is switched off says no goodbye; a line that is cut may come back
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, SILENT_S // 3)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, SILENT_S // 6)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
        socket.setsockopt(zmq.TCP_MAXRT, SILENT_S * 1000)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 0 if address.startswith("ipc:") else HANDSHAKE_MS)


def router(
    context: zmq.Context[zmq.Socket[bytes]], address: str, keys: Keys | None = None
) -> zmq.Socket[bytes]:
    """A bound socket with many peers, each known by the routing id that it gave; with ``keys`` for the cluster only."""
    socket = context.socket(zmq.ROUTER)
    if keys is not None:
        from distpool.scheduler.shells import curve  # for clusters: others need none of it

        curve.serve(socket, keys)
    _common(socket, address)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.BACKLOG, 4096)  # a connect that finds it full fails for good: nobody reconnects
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    socket.bind(address)
    return socket


def dealer(context: zmq.Context[zmq.Socket[bytes]], address: str, identity: bytes) -> zmq.Socket[bytes]:
    """A link to one ROUTER, which will know us as ``identity``."""
    socket = _unconnected(context, address, identity)
    socket.connect(address)
    return socket


def watched_dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    identity: bytes,
    keys: Keys | None = None,
    *,
    handshakes: bool = False,
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Such a link, and a second socket that becomes readable when the link is lost, or could not be made.

    ``handshakes``: also when the handshake has failed, before that. ``keys``: of the cluster, for a TCP address.

    The link itself does not tell: a receive waits for ever, and a send into a connection that was never made is
    swallowed. The second socket may be used, and must be closed, by another thread.
    """
    socket = _unconnected(context, address, identity)
    if keys is not None and address.startswith("tcp:"):
        from distpool.scheduler.shells import curve

        curve.dial(socket, keys)
    fate = socket.get_monitor_socket(
        zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED | (HANDSHAKE_FAILED if handshakes else 0)
    )
    socket.connect(address)
    return socket, fate


def close_watched(link: zmq.Socket[bytes], fate: zmq.Socket[bytes], linger_ms: int = 0) -> None:
    """Close both sockets of ``watched_dealer``, for one who goes on to use the context.

    The monitor is ended first: ZeroMQ's own thread would wait for ever to tell a closed one of the link's end, and with
    it every other link of the context.
    """
    link.disable_monitor()
    fate.close()
    link.close(linger=linger_ms)


class Peers:
    """Who is still there on other nodes, whose deaths no pid tells: a link to each, on which nothing is said.

    The links' fates are registered with ``poller``; ``lost`` says whose it was that has become readable.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        identity: bytes,
        keys: Keys | None = None,
    ) -> None:
        self._context = context
        self._keys = keys
        self._poller = poller
        self._identity = identity
        self._links: dict[str, tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = {}

    def watch(self, name: str, address: str) -> None:
        """Have ``lost`` say ``name`` when what is bound at ``address`` goes, or cannot be reached."""
        if name not in self._links:
            self._links[name] = watched_dealer(self._context, address, self._identity, self._keys)
            self._poller.register(self._links[name][1], zmq.POLLIN)

    def forget(self, name: str) -> None:
        """Watch it no more."""
        if name in self._links:
            link, fate = self._links.pop(name)
            self._poller.unregister(fate)
            close_watched(link, fate)

    def lost(self, source: object) -> str | None:
        """Whose fate this readable socket is, None if nobody's. It is watched no more."""
        for name, (_, fate) in self._links.items():
            if fate is source:
                self.forget(name)
                return name
        return None


def _unconnected(context: zmq.Context[zmq.Socket[bytes]], address: str, identity: bytes) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    _common(socket, address)
    socket.setsockopt(zmq.ROUTING_ID, identity)
    return socket


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message is there. (An exception for "no" would cost three times as much.)"""
    events: int = socket.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
    return events & zmq.POLLIN != 0


class EagerWait:
    """Looks for a message for a moment before its user sleeps, as long as the latest ones have come quickly.

    More than one must have: two workers' answers that happen to coincide promise nothing about the third.
    """

    __slots__ = ("_quick", "_since_s", "_socket", "_spin_s")

    def __init__(self, socket: zmq.Socket[bytes], spin_s: float) -> None:
        self._socket = socket
        self._spin_s = spin_s
        self._quick = 0  # how many in a row came within ``spin_s``
        self._since_s = 0.0

    def look(self) -> bool:
        """Before sleeping: whether there is a message, now or in a moment."""
        socket, clock, pause = self._socket, time.perf_counter, os.sched_yield
        self._since_s = clock()
        if self._quick < QUICK_MIN:
            return False
        until = self._since_s + self._spin_s
        while not is_readable(socket):
            if clock() >= until:
                return False
            pause()
        return True

    def found(self) -> None:
        """After it, with a message: whether looking pays is judged by how long the latest ones took."""
        # A sleeper's time counts the waking too, which looking would have saved.
        quick = time.perf_counter() - self._since_s < 2 * self._spin_s
        self._quick = self._quick + 1 if quick else 0
