"""One node's way to the others: its one TCP port, and what passes through its agent without being read.

::

    driver, or worker that calls                   HOME: its agent                   B: another node's agent
    ────────────────────────────                   ───────────────                   ──────────────────────
    OwnerShell ── home link ── [n:B, frame] ──────► line to B ── [o:O, frame] ───────► port ──► node core
                               [w:B, worker, frame]             [o:O, worker, frame]      └──► gate of O ──► worker
    OwnerShell ◄─ home link ── [n:B, frame] ◄────── line to B ◄─ [o:O, frame] ──────── port ◄── node core
                               [w:B, worker, frame]             [o:O, worker, frame]      └─◄─ gate of O ◄── worker
                               [n:B, ""]  the line to B is lost

An owner says everything to its *home*, the agent that it is linked up with. What is for another node bears that node's
name, and the home agent passes it on by its *line* to that node's port: one for all owners that it serves. There, a
*gate* stands in for the owner: a socket in the session directory that workers dial as they would dial the owner itself.
So a program needs one link to one host, processes of users never see the secret, and a worker knows nothing of TCP.

A program on a machine without an agent has its home link by TCP, to the port of some node; all else is the same, and
that node's own workers reach it by a gate too ([w:HOME, worker, frame]).

Owners that have to do with each other use gates too: one dials the other's as a worker does (its routing id begins with
"p:"). A program without an agent has its home speak for it (``talk``).

Frames are passed on as they are. An owner's end is told along its lines (OwnerBye); a lost line or a lost peer is the
end of all that used it. Not here: who gets workers where (``cores``), keys (``curve``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from distpool.scheduler.messages import Beat, OwnerBye, encode
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, router, watched_dealer

__all__ = ["Gateway", "local_address"]

_NOW = zmq.NOBLOCK
_BYE, _BEAT = encode(OwnerBye()), encode(Beat())
Socket = zmq.Socket[bytes]


@dataclass(slots=True)
class _Line:
    """A link to another node's port."""

    link: Socket
    fate: Socket


@dataclass(slots=True)
class _Guest:
    """An owner that is not linked up with us by a socket of the session directory."""

    peer: bytes  # who of the port's peers it is, or is behind of
    direct: bool  # the former
    gate: Socket | None = None
    address: str = ""  # the gate's


@dataclass(slots=True)
class Heard:
    """What came for this node's own agent: from an owner, or (``owner`` is None) from another peer of the port."""

    owner: str | None
    peer: bytes
    frame: bytes
    data: bytes = b""


@dataclass(slots=True)
class Gateway:
    """The port of one agent, its lines, and the gates of its guests. Used by the agent's loop only.

    ``node_address`` says where another node's port is, "" if that is not known; ``lost_owner`` is called with the name
    of a guest that is gone.
    """

    context: zmq.Context[Socket]
    poller: zmq.Poller
    node: str
    directory: str
    router: Socket  # the agent's own, in the session directory
    keys: Keys | None  # None: the port is a unix socket
    node_address: Callable[[str], str]
    lost_owner: Callable[[str], None]
    address: str = ""
    _port: Socket | None = None
    _lines: dict[str, _Line] = field(default_factory=dict)
    _line_of: dict[Socket, str] = field(default_factory=dict)  # link or fate -> node
    _guests: dict[str, _Guest] = field(default_factory=dict)
    _gate_of: dict[Socket, str] = field(default_factory=dict)  # gate -> owner
    _used: dict[str, set[str]] = field(
        default_factory=dict
    )  # owner whose home this is -> nodes that it has spoken to
    _talks: dict[str, set[str]] = field(
        default_factory=dict
    )  # owner -> programs whose home this is, and speak to it

    def listen(self, address: str) -> None:
        """Bind the port at "tcp://HOST:PORT", where port 0 is any that is free, or a unix socket. Raises ZMQError."""
        self._port = router(self.context, address, self.keys)
        self.address = self._port.getsockopt_string(zmq.LAST_ENDPOINT)
        self.poller.register(self._port, zmq.POLLIN)

    # ------------------------------------------------------------------------------------ what comes

    def read(self, source: object) -> list[Heard] | None:
        """Take in and pass on what a readable socket has; what is for this agent is returned. None: it is not ours."""
        if source is self._port and self._port is not None:
            return self._read_port(self._port)
        if (node := self._line_of.get(source)) is not None:  # type: ignore[call-overload]
            heard: list[Heard] = []
            self._read_line(node, source, heard)
            return heard
        if (owner := self._gate_of.get(source)) is not None:  # type: ignore[call-overload]
            self.drain(owner)
            return []
        return None

    def _read_port(self, port: Socket) -> list[Heard]:
        heard: list[Heard] = []
        while (parts := _received(port)) is not None:
            peer, *rest = parts
            if peer.startswith(b"o:"):
                owner = peer[2:].decode(errors="replace")
                if owner not in self._guests:
                    self._guests[owner] = _Guest(peer, direct=True)
                if (mine := self.from_owner(owner, rest)) is not None:
                    heard.append(Heard(owner, peer, mine))
            elif peer.startswith(b"x:") and len(rest) > 1:
                owner = rest[0][2:].decode(errors="replace")
                guest = self._guests.get(owner)
                if guest is None:
                    guest = self._guests[owner] = _Guest(peer, direct=False)
                if len(rest) == 2:
                    heard.append(Heard(owner, peer, rest[1]))
                else:
                    self._to_gate(owner, rest[1:])
            elif 1 <= len(rest) <= 2:
                heard.append(Heard(None, peer, *rest))
        return heard

    def from_owner(self, owner: str, parts: list[bytes]) -> bytes | None:
        """Pass on what came by an owner's home link; returns what is for this agent itself."""
        match parts:
            case [frame]:
                return frame
            case [to, frame] if to.startswith(b"g:"):
                self._talk(owner, to[2:].decode(errors="replace"), frame)
            case [to, frame]:
                self._say(to[2:].decode(errors="replace"), owner, [frame])
            case [to, worker, frame]:
                node = to[2:].decode(errors="replace")
                if node != self.node:
                    self._say(node, owner, [worker, frame])
                else:
                    self._to_gate(owner, [worker, frame])
            case _:
                pass  # not one of ours
        return None

    def _to_gate(self, owner: str, parts: list[bytes]) -> None:
        """An owner says something to one who has dialled its gate here; or whom this node speaks for."""
        whom = self._guests.get(parts[0][2:].decode(errors="replace")) if parts[0].startswith(b"p:") else None
        if whom is not None and whom.direct and self._port is not None:
            _send(self._port, [whom.peer, b"q:" + owner.encode(), *parts[1:]])
        elif (guest := self._guests.get(owner)) is not None and guest.gate is not None:
            _send(guest.gate, parts)

    def _talk(self, program: str, owner: str, frame: bytes) -> None:
        """A program whose home this is says something to another owner: as if it had dialled that one's gate here."""
        self._talks.setdefault(owner, set()).add(program)
        identity, me = b"p:" + program.encode(), b"w:" + self.node.encode()
        guest = self._guests.get(owner)
        if guest is None:
            there = _send(self.router, [b"o:" + owner.encode(), me, identity, frame])
        else:
            way = [guest.peer, me] if guest.direct else [guest.peer, b"o:" + owner.encode()]
            there = self._port is not None and _send(self._port, [*way, identity, frame])
        if not there:
            self._end_talks(owner)

    def _end_talks(self, owner: str) -> None:
        for program in self._talks.pop(owner, ()):
            self._tell(program, [b"q:" + owner.encode(), b""])

    def _say(self, node: str, owner: str, parts: list[bytes]) -> None:
        """Say something to another node's agent, or to a worker there, for an owner whose home this is."""
        self._used.setdefault(owner, set()).add(node)
        if not self.say_node(node, [b"o:" + owner.encode(), *parts]):
            self._tell(owner, [b"n:" + node.encode(), b""])

    def say_node(self, node: str, parts: list[bytes]) -> bool:
        """Send something by the line to another node; False: there is no such node."""
        line = self._lines.get(node)
        if line is None:
            address = self.node_address(node)
            if not address:
                return False
            identity = f"x:{self.node}".encode()
            line = self._lines[node] = _Line(*watched_dealer(self.context, address, identity, self.keys))
            for socket in (line.link, line.fate):
                self._line_of[socket] = node
                self.poller.register(socket, zmq.POLLIN)
        _send(line.link, parts)
        return True

    def bring(self, owner: str, node: str) -> None:
        """Have an owner whose home this is be a guest of another node's."""
        self._say(node, owner, [_BEAT])

    def _read_line(self, node: str, source: object, heard: list[Heard]) -> None:
        line = self._lines[node]
        while (parts := _received(line.link)) is not None:
            to, *rest = parts
            if not rest:
                heard.append(Heard(None, b"x:" + node.encode(), to))
                continue
            kind = b"n:" if len(rest) == 1 else b"w:"
            self._tell(to[2:].decode(errors="replace"), [kind + node.encode(), *rest])
        if source is line.fate:
            self._drop_line(node)
            for owner, nodes in self._used.items():
                if node in nodes:
                    nodes.discard(node)
                    self._tell(owner, [b"n:" + node.encode(), b""])

    def _drop_line(self, node: str) -> None:
        line = self._lines.pop(node)
        for socket in (line.link, line.fate):
            del self._line_of[socket]
            self.poller.unregister(socket)
        close_watched(line.link, line.fate)

    def _tell(self, owner: str, parts: list[bytes]) -> None:
        """Say something to an owner whose home this is. If it is gone, that is seen elsewhere."""
        guest = self._guests.get(owner)
        if guest is None:
            _send(self.router, [b"o:" + owner.encode(), *parts])
        elif self._port is not None and not _send(self._port, [guest.peer, *parts]):
            self.lost_owner(owner)

    # ------------------------------------------------------------------------------------ guests

    def is_guest(self, owner: str) -> bool:
        """Whether this owner is reached by the port."""
        return owner in self._guests

    def say(self, owner: str, frame: bytes) -> bool:
        """Say something to a guest, as this node's agent; whether it is still there."""
        guest = self._guests.get(owner)
        if guest is None or self._port is None:
            return False
        way = [guest.peer] if guest.direct else [guest.peer, b"o:" + owner.encode()]
        return _send(self._port, [*way, frame])

    def answer(self, peer: bytes, *frames: bytes | memoryview) -> bool:
        """Say something to another peer of the port; whether it is still there."""
        return self._port is not None and _send(self._port, [peer, *frames])

    def open_gate(self, owner: str) -> str:
        """Where this node's workers can dial a guest."""
        guest = self._guests[owner]
        if guest.gate is None:
            guest.address = f"ipc://{self.directory}/gate-{owner}"
            guest.gate = router(self.context, guest.address)
            self._gate_of[guest.gate] = owner
            self.poller.register(guest.gate, zmq.POLLIN)
        return guest.address

    def drain(self, owner: str) -> None:
        """Pass on what this node's workers have said to a guest so far."""
        guest, port = self._guests[owner], self._port
        if guest.gate is None or port is None:
            return
        way = (
            [guest.peer, b"w:" + self.node.encode()] if guest.direct else [guest.peer, b"o:" + owner.encode()]
        )
        while (parts := _received(guest.gate)) is not None:
            if not _send(port, [*way, *parts]):
                self.lost_owner(owner)
                return

    def direct(self) -> list[str]:
        """The guests that have their home link to this port."""
        return [owner for owner, guest in self._guests.items() if guest.direct]

    def behind(self, node: str) -> list[str]:
        """The guests that are reached by way of this node."""
        peer = b"x:" + node.encode()
        return [owner for owner, guest in self._guests.items() if guest.peer == peer]

    def behind_of(self, owner: str) -> str:
        """By way of which node a guest is reached; "" if by none."""
        guest = self._guests.get(owner)
        return "" if guest is None or guest.direct else guest.peer[2:].decode(errors="replace")

    def forget(self, owner: str) -> None:
        """An owner has ended: its gate goes, and other nodes that it has spoken to are told."""
        for node in self._used.pop(owner, ()):
            if (line := self._lines.get(node)) is not None:
                _send(line.link, [b"o:" + owner.encode(), _BYE])
        self._end_talks(owner)
        for programs in self._talks.values():
            programs.discard(owner)
        guest = self._guests.pop(owner, None)
        if guest is not None and guest.gate is not None:
            del self._gate_of[guest.gate]
            self.poller.unregister(guest.gate)
            guest.gate.close()


def local_address(towards: str) -> str:
    """The address of this machine on the way to another one ("HOST:PORT"), by which that one can reach it."""
    import socket

    host, _, port = towards.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # sends nothing
        return str(probe.getsockname()[0])


def _received(socket: Socket) -> list[bytes] | None:
    try:
        return socket.recv_multipart(_NOW)
    except zmq.Again:
        return None


def _send(socket: Any, parts: list[Any]) -> bool:
    """Whether the peer is there to get it. What is big is not copied on its way to the socket."""
    try:
        socket.send_multipart(parts, _NOW, copy=False)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
            raise
        return False
    return True
