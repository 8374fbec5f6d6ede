"""Copies of other nodes' objects on their way into this node's store; used by ``mover`` only.

::

    begin ──► Pull ──► asked ── Coming ──► room? ── Chunk, Chunk, ... ──► done
                        ▲ │                  └─ not yet: PullStop, and Pull again when there is
                        │ └── PullElsewhere: another node is asked, a relay
                        └──── the relay fails, or its link is lost: the source itself is asked for the rest

    failed: the source does not have it, is gone, or has been silent for too long; there is no room, or no writing it

A download has a window of bytes under way (``PullOn`` moves it on), so what many pulls need of memory is bounded. What
has come is passed on as it comes to who was sent here by the source (``uploads``): so a broadcast spreads as a tree.

Not here: which objects are pulled, and how many at a time (``cores.copies``); the links (``source_links``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any

from distpool.errors import StoreError
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Chunk, Coming, Pull, PullElsewhere, PullOn, PullStop
from distpool.scheduler.shells import heap
from distpool.scheduler.shells.room_making import RoomMaking
from distpool.scheduler.shells.source_links import SourceLinks
from distpool.scheduler.shells.uploads import Uploads
from distpool.scheduler.store.access import Held
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.putting import Incoming

__all__ = ["Download", "Downloads"]

#: Who has made a copy, for people.
_LABEL = "a copy of another node's"


@dataclass(slots=True)
class Download:
    """One object on its way here. See ``uploads.Arriving``."""

    number: int
    source: int  # the store that it comes from at present
    until: int  # what was asked for
    heard_s: float = 0.0  # when something last came, or was asked for
    incoming: Incoming | None = None
    waits: bool = False  # for room in our store; nothing is sent meanwhile
    turn: int | None = None  # see ``PullElsewhere``; 0: the source itself sends it; None: that has yet to say


class Downloads:
    """Those of the agent of ``node``.

    Args:
        done: takes what keeps the copy of an object here that has come in full.
        failed: hears why an object does not come, and whether since it is lost.
        wake_at: has ``tick`` called at a time.
    """

    def __init__(
        self,
        node: str,
        links: SourceLinks,
        room: RoomMaking,
        uploads: Uploads,
        limits: Limits,
        done: Callable[[int, Held, float], None],
        failed: Callable[[int, str, bool, float], None],
        wake_at: Callable[[float], None],
    ) -> None:
        self._node, self._links, self._room, self._uploads = node, links, room, uploads
        self._limits, self._done, self._failed, self._wake_at = limits, done, failed, wake_at
        self.under_way: dict[int, Download] = {}
        heap.keep_freed()
        self._trim_s = math.inf  # when to give back what that has kept

    # --------------------------------------------------------------------------- whom it comes from

    def begin(self, number: int, now: float) -> None:
        """Have a copy of this object."""
        self.under_way[number] = download = Download(number, 0, 0)
        self._wake_at(now + self._limits.pull_silent_s)
        self._pull_from(download, store_of(number), True, now)

    def _pull_from(self, download: Download, store: int, relay: bool, now: float) -> None:
        """Ask this node for the rest."""
        if not self._links.knows(store):
            self._fail(download, "the node where it was is gone", True, now)
            return
        done = 0 if download.incoming is None else download.incoming.done_bytes
        download.source, download.heard_s = store, now
        if store == store_of(download.number):
            download.turn = None if relay else 0
        download.until = done + self._limits.pull_window_bytes
        self._links.say(store, Pull(download.number, done, download.until, relay, download.turn or 0))

    def _try_source(self, download: Download, now: float) -> None:
        """Whoever was sending it does not: the source itself sends the rest."""
        self._pull_from(download, store_of(download.number), False, now)

    def _from(self, store: int) -> list[Download]:
        return [download for download in self.under_way.values() if download.source == store]

    def link_again(self, store: int, now: float) -> None:
        """What was said to this node may not have been heard."""
        for download in self._from(store):
            self._pull_from(download, store, False, now)

    def link_lost(self, store: int, now: float) -> None:
        """The link to this node is lost, for a moment at least: what it only relays is asked for elsewhere."""
        for download in self._from(store):
            if store != store_of(download.number):
                self._try_source(download, now)

    def nodes_gone(self, stores: Container[int], now: float) -> None:
        """These nodes are gone."""
        for download in [one for one in self.under_way.values() if one.source in stores]:
            self._try_source(download, now)

    def source_lacks(self, store: int, numbers: Iterable[int], now: float) -> None:
        """These are not at this node, or no more."""
        for download in [self.under_way[number] for number in numbers if number in self.under_way]:
            if download.source != store:
                continue
            if store == store_of(download.number):
                self._fail(download, "it is gone there", True, now)
            else:
                self._try_source(download, now)

    # ------------------------------------------------------------------------------ what comes of it

    def hear(self, store: int, message: PullElsewhere | Coming | Chunk, data: list[Any], now: float) -> None:
        """A node speaks of an object that was asked for there."""
        download = self.under_way.get(message.number)
        if download is None or download.source != store:
            return
        download.heard_s = now
        match message:
            case PullElsewhere(store=other, turn=turn):
                download.turn = turn
                if self._links.knows(other):
                    self._pull_from(download, other, False, now)
                else:
                    self._try_source(download, now)
            case Coming(size=size):
                download.turn = download.turn or 0
                self._expect(download, size, now)
            case Chunk(offset=offset) if download.incoming is not None and data:
                if offset == download.incoming.done_bytes:
                    self._take(download, download.incoming, data[0], now)

    def _expect(self, download: Download, size: int, now: float) -> None:
        if download.incoming is not None or download.waits:
            return
        self._room.ask(size, _LABEL, now, lambda room, now: self._has_room(download, size, room, now))
        if download.incoming is None and download.number in self.under_way:
            download.waits = True
            self._links.say(download.source, PullStop(download.number))  # what it sends has nowhere to go

    def _has_room(
        self, download: Download, size: int, room: Incoming | StoreError | OSError, now: float
    ) -> None:
        """Go on with a download, or end it. If it had to wait, it is asked for again."""
        waited, download.waits = download.waits, False
        if self.under_way.get(download.number) is not download:
            if isinstance(room, Incoming):
                room.discard()  # nobody needs it any more, or its source is gone
        elif not isinstance(room, Incoming):
            self._links.say(download.source, PullStop(download.number))
            self._fail(download, f"there is no room for a copy on node {self._node}: {room}", False, now)
        else:
            download.incoming = room
            self._uploads.announce(download.number, size)
            if not size:
                self._complete(download, room, now)
            elif waited:
                self._pull_from(download, download.source, False, now)

    def _take(self, download: Download, incoming: Incoming, data: Any, now: float) -> None:
        try:
            incoming.write(data)
        except (OSError, ValueError) as error:
            self._links.say(download.source, PullStop(download.number))
            self._fail(download, f"a copy could not be written on node {self._node}: {error}", False, now)
            return
        self._uploads.pass_on(download.number)
        if incoming.is_complete:
            self._complete(download, incoming, now)
        elif download.until - incoming.done_bytes <= self._limits.pull_window_bytes // 2:
            download.until = incoming.done_bytes + self._limits.pull_window_bytes
            self._links.say(download.source, PullOn(download.number, download.until))

    def _complete(self, download: Download, incoming: Incoming, now: float) -> None:
        self._trim_s = now + self._limits.copy_linger_s
        self._wake_at(self._trim_s)
        held = incoming.seal()
        del self.under_way[download.number]
        self._uploads.complete(download.number, held)
        self._done(download.number, held, now)

    def _fail(self, download: Download, reason: str, lost: bool, now: float) -> None:
        del self.under_way[download.number]
        if download.incoming is not None:
            download.incoming.discard()
        self._uploads.fail(download.number)
        self._failed(download.number, reason, lost, now)

    # -------------------------------------------------------------------------------------- the clock

    def tick(self, now: float) -> None:
        """Look for who is silent, and for memory to give back."""
        silent_s = now - self._limits.pull_silent_s
        for download in [one for one in self._awaited() if one.heard_s <= silent_s]:
            self._give_up(download, now)
        if self._trim_s <= now:
            self._trim_s = math.inf
            if not self.under_way:
                heap.give_back()

    @property
    def wake_s(self) -> float:
        """When there is something to do by the clock."""
        return min([self._trim_s, *(one.heard_s + self._limits.pull_silent_s for one in self._awaited())])

    def _awaited(self) -> list[Download]:
        return [download for download in self.under_way.values() if not download.waits]

    def _give_up(self, download: Download, now: float) -> None:
        """Nothing has come for too long, though the node is not known to be gone."""
        self._links.say(download.source, PullStop(download.number))
        if download.source != store_of(download.number):
            self._try_source(download, now)
        else:
            self._fail(download, "the node where it is does not answer", True, now)
