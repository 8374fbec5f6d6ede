"""The owners that an agent knows: how each is heard and reached, and how its death is seen.

::

    of this machine        by the ROUTER      a pidfd is readable
    a guest                by the port        the gateway says so, or the node by which it comes is lost
    of another node        by the ROUTER      a link of our own to where it is dialled is lost
                                        ──► LinkLost to the node's core

A pid means nothing on another node. A part of ``Agent``; not here: what passes through a port (``gateway``), and where
owners of other machines are dialled (``gates``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec
import zmq

from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.messages import (
    VIA_HOME,
    Beat,
    GateIs,
    GateOf,
    KillWorker,
    LinkLost,
    LookAt,
    Message,
    OwnerBye,
    OwnerHello,
    Preload,
    WorkerDied,
    encode,
)
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.brood import Brood
from distpool.scheduler.shells.links import Peers

if TYPE_CHECKING:
    from distpool.scheduler.shells.gates import Gates
    from distpool.scheduler.shells.gateway import Gateway


class Loop(Protocol):
    """What the owners' part asks of its agent."""

    def feed(self, sender: str, message: Message) -> None:
        """Give the node's core a message, and deliver what comes of it."""

    def queue(self, sender: str, message: Message) -> None:
        """Give it one when its present step is over."""

    def send_to(self, identity: bytes, message: Message) -> bool:
        """Say something to a peer of the ROUTER; whether it is still there."""

    def guest_gone(self, owner: str) -> None:
        """Nothing is to be moved for this guest any more."""

    def driver_left(self) -> None:
        """The driver has said goodbye."""


class AgentOwners:
    """``driver_pid``: whose session it is, and whose death the agent itself watches; 0: nobody's."""

    def __init__(
        self,
        loop: Loop,
        node: NodeCore,
        brood: Brood,
        peers: Peers,
        poller: zmq.Poller,
        gateway: Gateway | None,
        directory: str,
        driver_pid: int,
    ) -> None:
        self._loop, self._node, self._brood = loop, node, brood
        self._peers, self._poller, self._gateway = peers, poller, gateway
        self._directory = directory
        self._driver_pid = driver_pid
        self._driver = ""  # its name as an owner
        self._fds: dict[int, str] = {}  # pidfd -> owner
        self._unwatched: list[int] = []  # pidfds that are still open
        self.gates = self._open_gates()

    def _open_gates(self) -> Gates | None:
        if self._gateway is None:
            return None
        from distpool.scheduler.shells.gates import Gates

        return Gates(self._gateway, self._node, self._watch_way_to)

    # ------------------------------------------------------------------------------ what they say

    def hear(self, name: str, message: Message) -> None:
        """An owner says something."""
        match message:
            case Preload():
                self._brood.say(message)
            case Beat():
                if self.gates is not None:
                    self.gates.came(name)
            case GateOf():
                self._find_gate(message, self._gate_for(name, message))
            case LookAt():
                if (number := self._node.worker_of(name, message.lease)) is not None:
                    self.tell(name, self._brood.look(number, message.lease))
            case KillWorker() if message.only and not self._still_runs(name, message):
                pass  # that has ended by itself
            case OwnerHello():
                self._hello(name, message)
            case _:
                self._loop.feed(f"owner:{name}", message)
                if isinstance(message, OwnerBye):
                    self._bye(name)

    def _still_runs(self, name: str, kill: KillWorker) -> bool:
        number = self._node.worker_of(name, kill.lease)
        return number is None or self._brood.look(number, kill.lease).running == kill.only

    def _hello(self, name: str, hello: OwnerHello) -> None:
        gateway = self._gateway
        if gateway is not None and gateway.is_guest(name):
            at_home = not gateway.behind_of(name)
            hello = msgspec.structs.replace(hello, address=gateway.open_gate(name), guest=at_home)
            self._loop.feed(f"owner:{name}", hello)
            self._watch_way_to(name)
            return
        self._loop.feed(f"owner:{name}", hello)
        if hello.node in ("", self._node.node):
            self._watch(name, hello.pid)
        else:
            self._peers.watch(f"owner:{name}", hello.address)

    def _bye(self, name: str) -> None:
        self._forget_guest(name)
        self._peers.forget(f"owner:{name}")
        for fd in [fd for fd, owner in self._fds.items() if owner == name]:
            self._unwatch(fd)
        if name == self._driver:
            self._loop.driver_left()

    # --------------------------------------------------------------------------- what they are told

    def tell(self, owner: str, message: Message) -> None:
        """Say something to an owner; if it is gone, the core hears that."""
        gateway = self._gateway
        if gateway is not None and gateway.is_guest(owner):
            if isinstance(message, WorkerDied):
                gateway.drain(owner)  # what it had sent before it died comes first
            if not gateway.say(owner, encode(message)):
                self.lose_guest(owner)
        elif not self._loop.send_to(f"o:{owner}".encode(), message):
            self._loop.queue(f"owner:{owner}", LinkLost())

    def beat(self) -> None:
        """Let those who have come by the port know that we are here."""
        for owner in self.direct():
            self.tell(owner, Beat())

    def direct(self) -> list[str]:
        """Those who have come by the port themselves."""
        return [] if self._gateway is None else self._gateway.direct()

    # ------------------------------------------------------------------------------------ their end

    def read(self, source: object) -> bool:
        """Whether this readable descriptor tells that an owner is dead; then the core has heard it."""
        if not isinstance(source, int) or source not in self._fds:
            return False
        owner = self._unwatch(source)
        self._forget_guest(owner)
        self._loop.feed(f"owner:{owner}", LinkLost())
        return True

    def lose_guest(self, owner: str) -> None:
        """One that had come by the port is gone, or cannot be reached."""
        self._loop.queue(f"owner:{owner}", LinkLost())
        self._forget_guest(owner)

    def lose_way(self, node: str) -> None:
        """A node is lost, and so are the guests that came by it."""
        if self._gateway is not None:
            for owner in self._gateway.behind(node):
                self.lose_guest(owner)

    def _forget_guest(self, owner: str) -> None:
        if self._gateway is not None:
            self._gateway.forget(owner)
        self._loop.guest_gone(owner)

    def _watch(self, owner: str, pid: int) -> None:
        """Its death is seen by its pid: a ROUTER does not tell that a peer has gone."""
        if pid == self._driver_pid:
            self._driver = owner
            return
        if owner in self._fds.values():
            return
        fd = processes.open_pidfd(pid)
        if fd is None:
            self._forget_name(owner)
            self._loop.feed(f"owner:{owner}", LinkLost())
            return
        self._fds[fd] = owner
        self._poller.register(fd, zmq.POLLIN)

    def _unwatch(self, fd: int) -> str:
        """It is closed when the turn is over: the poll may have found it readable, and another would have its place."""
        self._poller.unregister(fd)
        self._unwatched.append(fd)
        owner = self._fds.pop(fd)
        self._forget_name(owner)
        return owner

    def _forget_name(self, owner: str) -> None:
        """An owner that is a worker, and has ended, leaves its socket's name behind."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._directory, f"owner-{owner}"))

    def turn_is_over(self) -> None:
        """All that the agent's poll has found has been looked at."""
        for fd in self._unwatched:
            os.close(fd)
        self._unwatched.clear()

    def _watch_way_to(self, guest: str) -> None:
        assert self._gateway is not None
        behind = self._gateway.behind_of(guest)
        if behind and (there := self._node.head.address_of(behind)):
            self._peers.watch(f"via:{behind}", there)

    # ------------------------------------------------------------------ where they can be dialled

    def find_for_worker(self, identity: bytes, asked: GateOf) -> None:
        """A worker asks where an owner can be dialled from here."""

        def answer(address: str) -> None:
            self._loop.send_to(identity, GateIs(asked.owner, address, asked.request))

        self._find_gate(asked, answer)

    def _gate_for(self, name: str, asked: GateOf) -> Callable[[str], None]:
        direct = self._gateway is not None and self._gateway.is_guest(name)

        def answer(address: str) -> None:
            where = VIA_HOME if direct and address else address
            self.tell(name, GateIs(asked.owner, where, asked.request))

        return answer

    def _find_gate(self, asked: GateOf, answer: Callable[[str], None]) -> None:
        if self.gates is None:
            answer("")
        else:
            self.gates.find(asked, answer)
