"""The nodes and processes of ``world``: real parts, with links that the world delivers."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.errors import StoreError, StoreFull
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    AGENT,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    Message,
    NodeFacts,
    PullElsewhere,
    decode,
)
from distpool.scheduler.messages import NODES as OF_NODES
from distpool.scheduler.shells.mover import Mover
from distpool.scheduler.shells.room_making import Then
from distpool.scheduler.shells.source_links import SourceLinks
from distpool.scheduler.store import files
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.ledger_table import SERIAL, SERIAL_BITS, store_of
from distpool.scheduler.store.store import ObjectStore
from tests.simulation.loop import Violation
from tests.store.beside import unwatched

if TYPE_CHECKING:
    from .world import World

LIMITS = msgspec.structs.replace(DEFAULTS, chunk_bytes=16, pull_window_bytes=48, pulls_max=2, fan_out=1)
SPACE = {"DISTPOOL_STORE_MEMORY": "8M", "DISTPOOL_SPILL_LIMIT": "8M"}


#: What a process may do next.
DOES = ("make", "answer", "pass_on", "broadcast", "fetch", "fetch", "look", "double")


class Link:
    """One link from a node's agent to another's: what is said, and what is answered."""

    def __init__(self, node: Node, store: int, identity: bytes) -> None:
        self.node, self.store, self.identity = node, store, identity
        self.is_open = True  # its node uses it
        self.is_cut = False  # nothing goes through any more, which its node has yet to hear


class SimulatedMover(Mover):
    """The real one, over links of the world's."""

    def __init__(self, node: Node, *args: Any) -> None:
        self.node = node
        super().__init__(*args)

    def _source_links(self) -> Any:
        nothing: Any = None
        return SimulatedLinks(
            self.node,
            self._store.number,
            self.core,
            nothing,
            nothing,
            LIMITS,
            None,
            self._from_source,
            lambda store, now: self._downloads.link_lost(store, now),
            lambda store, now: self._downloads.link_again(store, now),
            self._wake_at,
        )

    def _room_making(self) -> Any:
        store: Any = self._store
        return SimulatedRoom(self.node, store)

    def _copied(self, number: int, held: Any, now: float) -> None:
        """An object is moved once for each node: not while anybody still has a copy."""
        former = self.node.copies.get(number, 0)
        if former and self._store.ledger.exists(former):
            raise Violation("once_for_each_node", f"node {self.node.number}: {number:#x}")
        (self.node.copies[number],) = held.ids
        super()._copied(number, held, now)

    def _from_source(self, store: int, message: Message, data: list[bytes], now: float) -> None:
        if type(message) is PullElsewhere:
            self.node.world.counts["relayed"] += 1
        super()._from_source(store, message, data, now)


class SimulatedLinks(SourceLinks):
    """The real ones, but for what carries them."""

    def __init__(self, node: Node, *args: Any) -> None:
        self.node = node
        super().__init__(*args)

    def _dial(self, store: int, address: str, identity: bytes) -> Any:
        link = Link(self.node, store, identity)
        self.node.world.nodes[store].callers[identity] = link
        if not self.node.world.nodes[store].alive:
            self.node.lose(link)
        return link

    def _send(self, link: Any, message: Message) -> None:
        world = self.node.world
        target = world.nodes[link.store]

        def arrive() -> None:
            world.trace(f"{self.node.number} -> {link.store}: {message}")
            target.mover.from_peer(link.identity, message, world.now_s)

        if link.is_open and not link.is_cut:
            world.put(("up", str(self.node.number), link.identity.decode()), target, arrive)

    def _hang_up(self, link: Any) -> None:
        link.is_open = False


class SimulatedRoom:
    """Room in the store, at once or, in some worlds now and then, later."""

    fd = -1

    def __init__(self, node: Node, store: StoreOfAgent) -> None:
        self.node, self.store = node, store

    def ask(self, size: int, label: str, now: float, then: Then) -> None:
        world = self.node.world

        def make() -> None:
            try:
                made: Any = self.store.receive(size, label)
            except StoreFull as error:
                made = error
            then(made, world.now_s)

        if world.spills and not world.settling and world.rng.random() < 0.3:
            world.counts["roomless"] += 1
            world.put(("room", str(self.node.number)), self.node, make)
        else:
            make()


class StoreOfAgent(ObjectStore):
    """Now and then it has no room."""

    world: World
    node: Node

    def receive(self, size: int, label: str, *, spill: bool = True) -> Any:
        if self.world.full and not self.world.settling and self.world.rng.random() < 0.2:
            raise StoreFull("no room, this time")
        self.world.counts["pulled"] += 1
        return super().receive(size, label, spill=spill)


class Node:
    """One node: a store, an agent, some processes."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number, self.alive = world, number, True
        self.processes: dict[int, Process] = {}
        self.callers: dict[bytes, Link] = {}  # links to this node that were ever dialled
        self.copies: dict[int, int] = {}  # the latest of each object
        self.wake_s = math.inf
        made = files.create({**os.environ, **SPACE}, store=number)
        assert made is not None
        self.files = made
        self.keeper = Keeper(unwatched(ObjectStore(made, 0)))
        self.keeper.store.ledger.words[SERIAL] = number << SERIAL_BITS  # so that a seed tells all
        store = unwatched(StoreOfAgent(made, AGENT))
        store.world, store.node = world, self
        nothing: Any = None
        self.mover = SimulatedMover(
            self,
            str(number),
            nothing,
            nothing,
            store,
            LIMITS,
            None,
            self._say_process,
            self._say_peer,
            self._wake_at,
        )

    # ---------------------------------------------------------------------------- the agent

    def _wake_at(self, at_s: float) -> None:
        self.wake_s = min(self.wake_s, at_s)

    def wake(self) -> None:
        if self.wake_s <= self.world.now_s:
            self.wake_s = math.inf
            self.mover.tick(self.world.now_s)

    def see(self, facts: Iterable[NodeFacts]) -> None:
        self.mover.see(facts, self.world.now_s)

    def _say_process(self, identity: bytes, message: Message) -> bool:
        process = self.processes.get(int(identity))
        if process is None:
            return False
        self.world.put(("answer", identity.decode()), process, lambda: process.hear(message))
        return True

    def _say_peer(self, identity: bytes, parts: list[bytes]) -> bool:
        link = self.callers.get(identity)
        if link is None:
            return True  # ZeroMQ has not noticed yet that it is gone
        if not link.is_open or link.is_cut:
            del self.callers[identity]
            return self.world.rng.random() < 0.5
        message, data = decode(parts[0]), [bytes(part) for part in parts[1:]]

        def arrive() -> None:
            if link.is_open:
                self.world.trace(f"{link.store} -> {link.node.number}: {message}")
                link.node.mover._links.hear(link.store, message, data, self.world.now_s)

        self.world.put(("down", identity.decode()), link.node, arrive)
        return True

    def lose(self, link: Link) -> None:
        """The link is lost: its node hears of it after all that has come by it."""
        link.is_cut = True

        def arrive() -> None:
            if link.is_open and self.mover._links._links.get(link.store) is link:
                self.mover._links.lose(link.store, self.world.now_s)

        self.world.put(("down", link.identity.decode()), self, arrive)

    def lose_a_link(self) -> None:
        held: Iterable[Any] = self.mover._links._links.values()
        links = [link for link in held if isinstance(link, Link)]
        if links:
            link = self.world.rng.choice(links)
            self.world.trace(f"node {self.number} loses its link to {link.store}")
            self.world.counts["cuts"] += 1
            name = link.identity.decode()
            self.world.cut_short(lambda key: key[0] in ("up", "down") and key[-1] == name)
            self.lose(link)

    def buried(self, number: int) -> None:
        """A process of this node has been reaped."""
        self.keeper.mend(number, frozenset(self.processes))
        self.mover.process_gone(number, self.world.now_s)

    def die(self) -> None:
        self.alive = False
        for process in self.processes.values():
            process.alive = False
            process.vanish()
            for other in self.world.processes():
                key = ("data", str(process.number), str(other.number))
                self.world.put(key, other, lambda o=other, n=process.number: o.heard_of_death(n, self))  # type: ignore[misc]
        for link in self.callers.values():
            if link.is_open and link.node is not self:
                link.node.lose(link)

    def close(self) -> None:
        for fd in self.files.fds:
            os.close(fd)

    # ---------------------------------------------------------------------------- oracles

    def check(self) -> None:
        try:
            self.mover.core.check()
        except AssertionError as error:
            raise Violation("check", f"node {self.number}: {error!r}") from error

    def check_nothing_left(self) -> None:
        mover = self.mover
        with self.keeper.store.lock:
            facts = self.keeper.store.ledger.facts()
        if facts:
            raise Violation("no_objects_left", f"node {self.number}: {facts}")
        left: dict[str, Any] = {
            "objects": mover.core.objects,
            "requests": mover.core.requests,
            "the dead": mover.core._dead,
            "askers": mover._askers,
            "downloads": mover._downloads.under_way,
            "copies": mover._copies,
            "of the dead": mover._unclaimed.of_dead,
            "to the dead": mover._unclaimed.to_dead,
            "relays": mover._uploads._relays,
            "kept": [store for store, kept in mover._uploads._kept.items() if kept],
            "uploads": [peer for peer in mover._uploads._peers.values() if peer.uploads],
            "peers": list(mover._uploads._peers)[len(self.world.nodes) :],
        }
        for what, there in left.items():
            if there:
                raise Violation("nothing_left", f"node {self.number}: {what}: {there}")


class Process:
    """One process: what it refers to, and what it is waiting for."""

    def __init__(self, world: World, node: Node, number: int) -> None:
        self.world, self.node, self.number, self.alive = world, node, number, True
        self.store = unwatched(ObjectStore(node.files, number))
        self.store.reach_others(self)
        self.variables: list[tuple[int, Any]] = []
        self.copies: list[Any] = []
        self.asked: dict[int, tuple[tuple[int, ...], Any]] = {}  # and what it refers to while it waits
        self.on_the_way: set[int] = set()  # what it has sent, and may not have arrived
        self.sent_to: set[int] = set()
        self.requests = 0

    # ------------------------------------------------------------- the link to its agent

    @property
    def strays(self) -> deque[tuple[int, ...]]:
        return deque()

    def ask(self, make: Any, ids: tuple[int, ...]) -> Any:
        raise AssertionError("nobody waits in a world of one thread")

    def close(self) -> None:
        pass

    def tell(self, message: Message) -> None:
        self._say("tell", message)

    def _say(self, kind: str, message: Message) -> None:
        node, name = self.node, str(self.number)

        def arrive() -> None:
            self.world.trace(f"process {name} -> {node.number}: {message}")
            node.mover.from_process(name.encode(), name, message, self.world.now_s)

        self.world.put((kind, name), node, arrive)

    # ------------------------------------------------------------- what it does

    def go_on(self) -> None:
        rng = self.world.rng
        self.store.drain()
        getattr(self, rng.choice(DOES))()
        if len(self.variables) > rng.randint(0, 6):
            self.variables.pop(rng.randrange(len(self.variables)))
        if self.copies and rng.random() < 0.5:
            self.copies.pop()
        self.store.drain()

    def make(self) -> None:
        held = self.store.put([[self._content()]])
        self.keep(held.ids[0], held)

    def _content(self) -> bytes:
        return self.world.rng.randbytes(self.world.rng.choice((0, 16, 40, 100, 400)))

    def keep(self, number: int, held: Any) -> None:
        if number not in self.world.contents:
            self.world.note(self.node, number, self._read(number))
        self.variables.append((number, held))

    def _read(self, number: int) -> bytes:
        with self.store.lock:
            extent = self.store.ledger.locate(number)
        return self.store.access.read(extent, 0, extent.bytes)

    def _somebody(self) -> Process:
        return self.world.rng.choice([other for other in self.world.busy() if other is not self])

    def _number_of(self, other: Process) -> int:
        return other.number if other.node is self.node else OF_NODES | other.node.number

    def answer(self) -> None:
        """It puts a result for somebody."""
        other = self._somebody()
        held = self.store.put([[self._content()]], holder=self._number_of(other))
        (number,) = held.ids
        self.world.note(self.node, number, self._read(number))
        self._send(other, number)

    def pass_on(self) -> None:
        if not self.variables:
            return
        other = self._somebody()
        number, _ = self.world.rng.choice(self.variables)
        try:
            self.store.hand([number], self._number_of(other))
        except StoreError as error:
            self.lost(number, str(error))
            return
        self._send(other, number)

    def broadcast(self) -> None:
        """One object goes to everybody, who are to have it soon."""
        if self.variables and self.world.rng.random() < 0.3:
            number, _ = self.world.rng.choice(self.variables)
            for other in self.world.busy():
                if other is not self:
                    with suppress(StoreError):
                        self.store.hand([number], self._number_of(other))
                        self._send(other, number, soon=True)

    def _send(self, other: Process, number: int, *, soon: bool = False) -> None:
        self.on_the_way.add(number)
        self.sent_to.add(other.number)
        soon = soon or self.world.rng.random() < 0.5
        key = ("data", str(self.number), str(other.number))
        self.world.put(key, other, lambda: other.take(number, self, soon))

    def take(self, number: int, sender: Process, soon: bool) -> None:
        store = 0 if sender.node is self.node else sender.node.number
        try:
            held = self.store.claim([number], sender.number, store=store, soon=soon)
        except StoreError as error:
            self.lost(number, str(error))
            return
        if self.world.rng.random() < 0.8:
            self.keep(number, held)
        del held
        self.store.drain()

    def heard_of_death(self, number: int, node: Node) -> None:
        self.store.forget_transit(number, store=0 if node is self.node else node.number)
        if number in self.sent_to:
            self.store.forget_handed(number if node is self.node else OF_NODES | node.number)

    def fetch(self) -> None:
        far = [number for number, _ in self.variables if store_of(number) != self.node.number]
        if far:
            self._ask(Fetch, self.world.rng.choices(far, k=2))

    def look(self) -> None:
        far = [number for number, _ in self.variables if store_of(number) != self.node.number]
        if far:
            self._ask(FarLook, [self.world.rng.choice(far)])

    def double(self) -> None:
        if self.variables:
            number, _ = self.world.rng.choice(self.variables)
            with suppress(StoreError):
                self.keep(number, self.store.hold([number]))

    def _ask(self, make: type[Fetch] | type[FarLook], ids: list[int]) -> None:
        self.store.drain()
        self.requests += 1
        unique = tuple(dict.fromkeys(ids))
        self.asked[self.requests] = unique, [held for number, held in self.variables if number in ids]
        self._say("ask", make(self.requests, unique))

    def hear(self, message: Fetched | FarLooked) -> None:
        self.world.trace(f"process {self.number} <- {message}")
        ids, _held = self.asked.pop(message.request)
        if isinstance(message, FarLooked):
            for number in message.lost:
                self.lost(number, "it is said to be lost")
        elif message.is_lost:
            self.world.counts["lost"] += 1
            if not any(number in self.world.excused for number in ids):
                raise Violation("nothing_lost", f"process {self.number}: {ids}: {message.reason}")
        elif message.reason:
            self.world.counts["refused"] += 1
            if not self.world.full:
                raise Violation("room_is_there", message.reason)
        else:
            self.world.counts["fetched"] += 1
            held = self.store.claim(message.ids, AGENT)
            for number, copy in zip(ids, message.ids, strict=True):
                if self._read(copy) != self.world.contents[number]:
                    raise Violation("right_data", f"process {self.number}: {number:#x}")
            self.copies.append(held)

    def lost(self, number: int, why: str) -> None:
        if number not in self.world.excused:
            raise Violation("nothing_lost", f"process {self.number}: {number:#x}: {why}")

    def look_at_all(self) -> None:
        """Whatever it still refers to can be had."""
        for number, _ in self.variables:
            if store_of(number) == self.node.number:
                if not self.store.ledger.exists(number):
                    self.lost(number, "it is gone")
            else:
                self._ask(Fetch, [number])

    def drop_all(self) -> None:
        self.variables.clear()
        self.copies.clear()
        self.store.drain()

    def vanish(self) -> None:
        """It is dead: nothing of it says anything any more."""
        self.store.access.let_go = lambda what: None  # type: ignore[method-assign]
        self.variables.clear()
        self.copies.clear()
        self.asked.clear()
        self.store._become_closed()
