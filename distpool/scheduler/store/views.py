"""What one process sees of objects: a private mapping of each, and when the last view of it is gone.

::

    view ──► at rest at this very place? ──no──► map_private ──┐
                        │ yes                                  ▼
                        └──────────────────────────────────► Window ──► views, arrays, slices
                                                               · the last is gone, anywhere, at any time
             rest  ◄── pristine ── settle ◄── _left ◄── unpin ◄┘
                       written: unmapped

A **window** is the buffer that views are made of; it dies with the last of them, while its mapping may outlive it. A
mapping costs less to make than to fill: 25,600 faults for 100 MB. So it is kept **at rest**, known by its place, and
serves the next object that is to be read there, whichever that is: untouched pages of a private mapping *are* those of
the file, now as ever (also where they were removed and made anew meanwhile).

**Invariant**: nobody reads through a mapping of which a page was ever written, since that page would be the former
reader's own for ever. This is asked of the kernel when no view is left that could be written to, and before the mapping
comes to rest (``pristine.py``). At rest it is no pin: what lies there may be freed, moved, overwritten and removed.
"""

from __future__ import annotations

import mmap
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import PickleBuffer
from typing import Any, NamedTuple

from distpool.scheduler.serialize.on_device import Arrived
from distpool.scheduler.store.access import PIN, Access, not_held
from distpool.scheduler.store.arrivals import Arrival, bring
from distpool.scheduler.store.ledger import DEVICE, MEMORY, Extent, LedgerFull, ObjectGone
from distpool.scheduler.store.pristine import PristineCheck
from distpool.scheduler.store.tickets import Tickets

#: Live mappings of one process; a kernel's default limit is 65,530 for everything. What is beyond is copied.
MAPPINGS_MAX = 16_384
#: Mappings at rest, the latest used last; ...
RESTING_MAX = 64
#: ... their pages count as this process's, so they are no more than this part of the store's memory.
RESTING_PART = 4


class _Seen(NamedTuple):
    """A window, and what is seen through it."""

    reference: weakref.ref[Any]
    number: int
    extent: Extent
    mapping: mmap.mmap


class Views:
    """The mappings of one process."""

    def __init__(self, access: Access, tickets: Tickets) -> None:
        self._access = access
        self._tickets = tickets
        self.pristine = PristineCheck()
        self._live: dict[int, _Seen] = {}  # by the ``id`` of its reference: windows cannot be hashed
        self._left: deque[tuple[Extent, mmap.mmap]] = deque()
        self._resting: OrderedDict[Extent, mmap.mmap] = OrderedDict()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The objects that are seen, once for each pin."""
        return tuple([seen.number for seen in list(self._live.values())])

    @property
    def has_left(self) -> bool:
        """Whether ``settle`` has something to do."""
        return bool(self._left)

    def __bool__(self) -> bool:
        return bool(self._live)

    def map(self, ids: Sequence[int]) -> list[memoryview | Arrived]:
        """See ``ObjectStore.map``."""
        access, ledger, process = self._access, self._access.ledger, self._access.process
        with access.undisturbed:
            self.settle()
            extents: list[Extent] = []
            with access.lock:
                access.drain_locked()
                try:
                    for number in ids:
                        extents.append(ledger.pin(number, process))
                except (ObjectGone, LedgerFull) as error:
                    for number in ids[: len(extents)]:
                        ledger.unpin(number, process)
                    raise not_held(error) from None
            views: list[memoryview | Arrived] = []
            for number, extent in zip(ids, extents, strict=True):
                try:
                    is_here = extent.tier != DEVICE
                    views.append(self._view(number, extent) if is_here else self._arrival(number))
                except BaseException:
                    access.let_go((PIN, tuple(ids[len(views) :])))
                    raise
        return views

    def _arrival(self, number: int) -> Arrival:
        """It refers to the object instead of pinning it, or its exporter could not move it."""
        access = self._access

        def map_host(number: int) -> memoryview:
            (view,) = self.map([number])
            assert isinstance(view, memoryview), "it does not move back"
            return view

        with access.lock:
            try:
                access.ledger.hold(number, access.process)
                access.ledger.unpin(number, access.process)
            except ObjectGone as error:  # its exporter has just died, with which even what is pinned goes
                raise not_held(error) from None
        return Arrival(access, number, self._tickets.find(number), map_host, self._tickets.settle)

    def _view(self, number: int, extent: Extent) -> memoryview:
        tier = self._access.tiers[extent.tier]
        mapping = self._resting.pop(extent, None) or tier.map_private(extent.offset, extent.bytes)
        if len(self._live) >= MAPPINGS_MAX:
            copied = memoryview(bytearray(mapping))
            self._access.let_go((PIN, (number,)))
            return copied
        window = tier.window(mapping)
        reference = weakref.ref(window, self._unseen)
        self._live[id(reference)] = _Seen(reference, number, extent, mapping)
        return PickleBuffer(window).raw()

    def _unseen(self, reference: weakref.ref[Any]) -> None:
        """The last view through a window is gone. Runs anywhere, at any time."""
        seen = self._live.pop(id(reference), None)
        if seen is not None and not self._access.closed:
            self._left.append((seen.extent, seen.mapping))
            self._access.let_go((PIN, (seen.number,)))

    def settle(self) -> None:
        """Mappings that nobody sees any more come to rest, or go. Several threads may be here at once."""
        size_max = self._access.tiers[MEMORY].size // RESTING_PART
        resting = self._resting
        try:
            while self._left:
                extent, mapping = self._left.popleft()
                if extent.bytes <= size_max and self.pristine.is_pristine(mapping):
                    resting.pop(extent, None)
                    resting[extent] = mapping
            while len(resting) > RESTING_MAX or sum([extent.bytes for extent in list(resting)]) > size_max:
                resting.popitem(last=False)
        except LookupError:
            pass  # another thread was quicker, and does the rest

    @contextmanager
    def reading(self, number: int) -> Iterator[memoryview]:
        """See ``ObjectStore.reading``."""
        access = self._access
        if (own := self._tickets.find(number)) is not None:
            with memoryview(b"".join(own.pieces())) as view:
                yield view
            return
        while True:
            with access.undisturbed, access.lock:
                access.drain_locked()
                try:
                    extent = access.ledger.pin(number, access.process)
                    if extent.tier != DEVICE:
                        break
                    access.ledger.unpin(number, access.process)
                except (ObjectGone, LedgerFull) as error:
                    raise not_held(error) from None
            bring(access, number)
        try:
            tier = access.tiers[extent.tier]
            if tier.is_memory:
                with tier.read(extent.offset, extent.bytes) as view:
                    yield view
            else:
                with memoryview(tier.map_private(extent.offset, extent.bytes)) as view:
                    yield view
        finally:
            access.let_go((PIN, (number,)))

    def close(self) -> None:
        """What is seen stays so; nothing is kept for others."""
        self._left.clear()
        self._resting.clear()

    def forget(self) -> None:
        """In a forked child: the pins are its parent's."""
        self._live.clear()
        self.close()
