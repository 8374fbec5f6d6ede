"""One process's view of its node's store: put objects in, map them, hold them, let go of them.

::

    put, put_brief ──► putting.py, slabs.py ──► Held ······· dropped ──┐
    hold, claim, hand ──► the ledger ─────────► Held ······· dropped ──┤
    map, reading ──► views.py ──► views ··········· the last is gone ──┴──► drain: the ledger's drop and unpin

This is the front: what callers see. ``access.py`` is what the parts share, and tells how things are let go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from distpool.errors import StoreError
from distpool.scheduler.messages import AGENT, NODES
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.on_device import Arrived
from distpool.scheduler.serialize.stored import Spot
from distpool.scheduler.store import forks
from distpool.scheduler.store.access import Access, Held, not_held
from distpool.scheduler.store.far import AgentLink, Far, FarHeld, HeldTogether
from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.ledger import MEMORY, Ledger, LedgerFull, ObjectGone
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.lock import LedgerLock
from distpool.scheduler.store.putting import Incoming, Putting
from distpool.scheduler.store.slabs import Slabs
from distpool.scheduler.store.tier import Tier
from distpool.scheduler.store.views import Views

__all__ = ["Held", "ObjectStore"]


class ObjectStore:
    """The store of this node, as process number ``process`` uses it. Thread-safe."""

    def __init__(self, files: StoreFiles, process: int) -> None:
        self.access = Access(files, process)
        self._putting = Putting(self.access, self.drain)
        self._tickets = self._putting.tickets
        self.views = Views(self.access, self._tickets)
        self._slabs = Slabs(self._putting.make_slab)
        self.far: Far | None = None
        forks.watch(self)

    @property
    def process(self) -> int:
        """Whose view it is."""
        return self.access.process

    @property
    def files(self) -> StoreFiles:
        """Its files."""
        return self.access.files

    @property
    def ledger(self) -> Ledger:
        """What the node knows of objects; to be changed with the ``lock`` only."""
        return self.access.ledger

    @property
    def number(self) -> int:
        """This store's number in its cluster."""
        return self.ledger.store

    @property
    def lock(self) -> LedgerLock:
        """``with store.lock:`` nobody else changes the ledger."""
        return self.access.lock

    @property
    def tiers(self) -> list[Tier]:
        """Memory and disk."""
        return self.access.tiers

    def reach_others(self, link: AgentLink) -> None:
        """There may be other nodes, whose objects are had by way of the agent. A second way is not needed."""
        if self.far is not None:
            return
        self.far = Far(link)
        self.far.on_dropped = self.on_dropped

    # --------------------------------------------------------------------------------- putting

    def put(self, objects: Sequence[stored.Object], *, holder: int = 0, label: str = "") -> Held:
        """Copy objects into the store; the copies are complete when this returns.

        Args:
            objects: each a sequence of contiguous buffers, which are laid one behind the other; or what lies on a
                device, and stays there if others can read it there.
            holder: whose they are going to be, if not this process's: the owner of a task that returns them.
            label: who made them, for people; by default the line of the program that is running.

        Raises:
            StoreFull: neither memory nor the spill file has room.
            DiskFull: the disk has no room for the spill file.
        """
        self.access.refuse_if_closed()
        return self._putting.put(objects, holder, label)

    def put_brief(self, pieces: Sequence[Any], size: int) -> tuple[Spot, Any] | None:
        """Copy a payload of less than a slab, for one who reads it soon; keep what is returned until that has answered.

        None: there is no room in memory.
        """
        return self._slabs.put(pieces, size)

    def read_brief(self, spot: Spot) -> bytes:
        """A copy of a payload that its sender keeps. Raises StoreError if the sender is dead."""
        self.access.refuse_if_closed()
        with self.tiers[MEMORY].read(spot.offset, spot.size) as view:
            data = bytes(view)
        if not self.ledger.exists(spot.slab):
            raise StoreError("the process that this was sent by is dead")
        return data

    def receive(self, size: int, label: str, *, spill: bool = True) -> Incoming | None:
        """Room for an object that comes in pieces, and will be this process's. Raises as ``put`` does.

        Without ``spill`` nothing is written to the disk for it, and there may be none yet: None.
        """
        self.access.refuse_if_closed()
        return self._putting.receive(size, label, spill=spill)

    # --------------------------------------------------------------------------------- reading

    def map(self, ids: Sequence[int]) -> list[memoryview | Arrived]:
        """Views of objects: private to the caller, writable, of their exact size.

        An object stays as long as a view of it, or a part of one, does. What is on a device of this node is not a
        view, but says where it is.

        Args:
            ids: the objects' numbers.

        Raises:
            StoreError: an object is gone.
        """
        self.access.refuse_if_closed()
        if self.far is None or not (far := self._far_ids(ids)):
            return self.views.map(ids)
        here, _held = self._fetch(far)
        return self.views.map([here.get(number, number) for number in ids])

    def reading(self, number: int) -> AbstractContextManager[memoryview]:
        """A look at an object in its place, for copying things out of it at once: it must not be written or kept.

        That saves the mapping, which for a small object costs more than the reading. Raises StoreError if it is gone.
        """
        self.access.refuse_if_closed()
        if self.far is not None and self._far_ids((number,)):
            return self._reading_far(number)
        return self.views.reading(number)

    @contextmanager
    def _reading_far(self, number: int) -> Iterator[memoryview]:
        here, _held = self._fetch((number,))
        with self.views.reading(here[number]) as view:
            yield view

    def _far_ids(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Those that lie on other nodes."""
        mine = self.number
        return tuple([number for number in ids if store_of(number) != mine])

    def _fetch(self, ids: tuple[int, ...]) -> tuple[dict[int, int], stored.Held]:
        """Have copies of these: which number each has here, and what keeps them."""
        assert self.far is not None
        self.far.flush()
        unique = tuple(dict.fromkeys(ids))
        copies = self.far.fetch(unique)
        while self.far.link.strays:
            self.claim(self.far.link.strays.popleft(), AGENT)  # and let go of at once
        return dict(zip(unique, copies, strict=True)), self.claim(copies, AGENT)

    def size_of(self, ids: Iterable[int]) -> int:
        """How many bytes those of these objects are that lie here and are not gone."""
        size = 0
        for number in ids:
            try:
                size += self.ledger.locate(number).bytes
            except ObjectGone:
                continue
        return size

    def are_there(self, ids: Sequence[int], *, here: bool = False) -> bool:
        """Whether all of these can be had; ``here``: those of this node.

        Raises StoreError if the agent is gone, and they are not of this node.
        """
        far = self._far_ids(ids) if self.far is not None else ()
        if not all(number in far or self.ledger.exists(number) for number in ids):
            return False
        return here or not far or self.far is None or not self.far.lost(far)

    def are_only_here(self, ids: Sequence[int]) -> bool:
        """Whether some of these were on a node that is gone, and have a copy here, where nobody else looks for them.

        Raises StoreError if the agent is gone.
        """
        far = self._far_ids(ids) if self.far is not None else ()
        return bool(far and self.far is not None and self.far.only_here(far))

    def gone(self, ids: Sequence[int]) -> set[int]:
        """Those that cannot be had any more, wherever they were. Raises StoreError if the agent is gone."""
        far = self._far_ids(ids) if self.far is not None else ()
        gone = {number for number in ids if number not in far and not self.ledger.exists(number)}
        return gone if not far or self.far is None else gone.union(self.far.lost(far))

    # --------------------------------------------------------------------------------- holding

    def claim(self, ids: Sequence[int], via: int = 0, *, store: int = 0, soon: bool = False) -> stored.Held:
        """Take what ``via`` has put, or handed on, for this process (0: anybody). Raises StoreError if it is gone.

        Args:
            ids: the objects' numbers.
            via: a process of this node; or, with ``store``, of the one that has that number.
            store: see ``via``.
            soon: what lies on another node will be looked at by this process.
        """
        take = self.ledger.hold if store else lambda number, process: self.ledger.claim(number, process, via)
        return self._hold(ids, take, lambda far, ids: far.claim(ids, via, store, soon))

    def hand(self, ids: Sequence[int], holder: int) -> None:
        """Pass on what this process holds itself to ``holder``, who will ``claim`` it: all or nothing.

        Raises StoreError.
        """
        done = 0
        if self.far is not None and (far := self._far_ids(ids)):
            self.far.flush()
            self.far.hand(far, holder)
            ids = [number for number in ids if number not in far]
        with self.access.undisturbed, self.lock:
            try:
                for number in ids:
                    self.ledger.hand(number, self.process, holder)
                    done += 1
            except (ObjectGone, LedgerFull) as error:
                self._take_back_locked(ids[:done], holder)
                raise not_held(error) from None

    def take_back(self, ids: Sequence[int], holder: int) -> None:
        """``holder`` will not hear of what was put for it here, or handed to it."""
        if self.far is not None and (far := self._far_ids(ids)):
            self.far.hand(far, holder, back=True)
        with self.access.undisturbed, self.lock:
            self._take_back_locked(ids, holder)

    def _take_back_locked(self, ids: Sequence[int], holder: int) -> None:
        for number in ids:
            try:
                self.ledger.take_back(number, self.process, holder)
            except ObjectGone:
                pass  # that one is dead by now

    def hold(self, ids: Sequence[int]) -> stored.Held:
        """Hold objects that somebody else holds at this moment. Raises StoreError if one is gone."""
        self.access.refuse_if_closed()
        return self._hold(ids, self.ledger.hold, lambda far, ids: far.hold(ids))

    def _hold(
        self,
        ids: Sequence[int],
        take: Callable[[int, int], None],
        take_far: Callable[[Far, tuple[int, ...]], FarHeld],
    ) -> stored.Held:
        if self.far is None or not (far := self._far_ids(ids)):
            return self._refer(ids, lambda number: take(number, self.process))
        self.far.flush()
        held = take_far(self.far, far)
        if len(far) == len(ids):
            return held
        near = [number for number in ids if number not in far]
        return HeldTogether(tuple(ids), (held, self._refer(near, lambda number: take(number, self.process))))

    def _refer(self, ids: Sequence[int], take: Callable[[int], None]) -> Held:
        """One reference of this process more to each object, by ``take``; all of them or none."""
        done = 0
        with self.access.undisturbed, self.lock:
            try:
                for number in ids:
                    take(number)
                    done += 1
            except (ObjectGone, LedgerFull) as error:
                for number in ids[:done]:
                    self.ledger.drop(number, self.process)
                raise not_held(error) from None
            return Held(tuple(ids), self.access.let_go)

    def forget_transit(self, via: int, *, store: int = 0) -> None:
        """A worker is dead and all its words were read: what it had put for us and never told of goes.

        ``store``: of its node, if that is another.
        """
        if store:
            if self.far is not None:
                self.far.forget_transit(via, store)
            return
        with self.access.undisturbed, self.lock:
            self.ledger.forget_transit(self.process, via)

    def forget_handed(self, holder: int) -> None:
        """A process is dead that we have handed things to: what it had not claimed by then goes.

        Of one on another node (``NODES``) after a while: others there may yet claim theirs.
        """
        if holder >= NODES:
            if self.far is not None:
                self.far.forget_handed(holder - NODES)
            return
        with self.access.undisturbed, self.lock:
            self.ledger.forget_transit(holder, self.process)

    def mend_all_others(self) -> None:
        """Every other process of the node is dead."""
        with self.access.undisturbed, self.lock:
            self.ledger.mend_all_but(self.process)

    # ------------------------------------------------------------------------------- letting go

    @property
    def on_dropped(self) -> Callable[[], None] | None:
        """Called when ``drain`` has something to do, from finalizers: it must be safe there."""
        return self.access.on_dropped

    @on_dropped.setter
    def on_dropped(self, callback: Callable[[], None] | None) -> None:
        self.access.on_dropped = callback
        if self.far is not None:
            self.far.on_dropped = callback

    @property
    def has_views(self) -> bool:
        """Whether there are views that may be dropped at any time."""
        return bool(self.views) or self.has_dropped

    @property
    def has_dropped(self) -> bool:
        """Whether ``drain`` may have something to do."""
        return (
            self.access.has_dropped or self.views.has_left or (self.far is not None and self.far.has_dropped)
        )

    def drain(self) -> None:
        """Tell the ledger what is no longer needed."""
        if self.access.closed:
            return
        if self.access.has_dropped:
            with self.access.undisturbed, self.lock:
                self.access.drain_locked()
        self.views.settle()
        if self.far is not None and self.far.has_dropped:
            self.far.flush()

    def leave(self) -> None:
        """This process is about to end: what it has on a device for others goes to the host. Waits for that."""
        if self._tickets and not self.access.closed:
            self._tickets.leave()

    def close(self) -> None:
        """The session is over. What is mapped stays readable; nothing else of the store is."""
        forks.leave(self)
        if self.far is not None:
            self.far.link.close()
        with self.lock:
            self._become_closed()
        for tier in self.tiers:
            tier.close()
        os.close(self.files.ledger_fd)

    def _become_closed(self) -> None:
        self.access.closed = True
        self.on_dropped = None
        self.far = None
        self.views.close()
        self._tickets.close()
        self._slabs = Slabs(self._putting.make_slab)

    # ------------------------------------------------------------------------------------ forks

    def before_fork(self) -> int | None:
        """A child inherits this process's mappings, so it must count as a reader: by a pipe that it holds open."""
        self.lock.hold_threads()
        pinned = self.views.numbers
        if not pinned or self.access.closed:
            return None
        writer = self.access.forks.add(pinned)
        with self.lock.between_processes():
            for number in pinned:
                self.ledger.pin(number, self.process)
        return writer

    def after_fork_in_parent(self, writer: int | None) -> None:
        """The child has the pipe's other end."""
        self.lock.release_threads()
        if writer is not None:
            os.close(writer)

    def after_fork_in_child(self, writer: int | None) -> None:
        """Nothing here is ours to change; views go on working, for as long as ``writer`` is open: for ever."""
        self.lock.release_threads()
        self._tickets.forget()
        self._become_closed()
        self.access.forks.forget()
        self.access.forget_dropped()
        self.views.forget()
