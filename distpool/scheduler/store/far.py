"""What a process has to do with objects of other nodes: it refers to them, and has copies fetched, through its agent.

::

    claim, hold ──► FarHeld ······· dropped ──► flush: FarDrop
    fetch ──► Fetched: copies, in transit from the agent ──► ordinary objects of this node from here on

Not here: the link to the agent (``shells.fetching`` is an ``AgentLink``), and what the agent does (``cores.copies``).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from distpool.errors import StoreError, StoreFull
from distpool.scheduler.messages import (
    FarClaim,
    FarDrop,
    FarForget,
    FarForgetHanded,
    FarHand,
    FarHold,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    Message,
)


class AgentLink(Protocol):
    """This process's way to its agent. Thread-safe."""

    def close(self) -> None:
        """Nobody asks any more."""

    @property
    def strays(self) -> deque[tuple[int, ...]]:
        """Copies in transit to this process that nobody took, since an exception ended who had asked."""

    def tell(self, message: Message) -> None:
        """Say something; what is said by one thread after another's is heard after it."""

    def ask(self, make: Callable[[int], Any]) -> Any:
        """Ask what is made of a number, and wait for the answer.

        Raises:
            StoreError: the agent is gone.
            FetchLate: this thread waits no longer (``patience``).
        """


class FarHeld:
    """Refers to objects of other nodes for as long as this Python object lives. ``ids`` are their numbers."""

    __slots__ = ("__weakref__", "_dropped", "ids")

    def __init__(self, ids: tuple[int, ...], dropped: Callable[[tuple[int, ...]], None]) -> None:
        self.ids = ids
        self._dropped = dropped

    def __del__(self) -> None:
        self._dropped(self.ids)


class HeldTogether:
    """Several of these, as one."""

    __slots__ = ("__weakref__", "_parts", "ids")

    def __init__(self, ids: tuple[int, ...], parts: Sequence[Any]) -> None:
        self.ids = ids
        self._parts = parts


class Far:
    """The far objects of one process. ``on_dropped`` is called, from finalizers, when ``flush`` has something to do."""

    def __init__(self, link: AgentLink) -> None:
        self.on_dropped: Callable[[], None] | None = None
        self.link = link
        self._dropped: deque[tuple[int, ...]] = deque()
        self._lock = threading.Lock()

    @property
    def has_dropped(self) -> bool:
        """Whether ``flush`` has something to do."""
        return bool(self._dropped)

    def _let_go(self, ids: tuple[int, ...]) -> None:
        self._dropped.append(ids)
        if self.on_dropped is not None:
            self.on_dropped()

    def flush(self) -> None:
        """Tell the agent what is no longer needed."""
        with self._lock:
            ids: list[int] = []
            while self._dropped:
                ids += self._dropped.popleft()
            if ids:
                self.link.tell(FarDrop(tuple(ids)))

    def claim(self, ids: tuple[int, ...], via: int, store: int, soon: bool) -> FarHeld:
        """Take over what was put for this process, or handed to it."""
        self.link.tell(FarClaim(ids, via, store, soon))
        return FarHeld(ids, self._let_go)

    def held(self, ids: tuple[int, ...]) -> FarHeld:
        """What this process refers to already."""
        return FarHeld(ids, self._let_go)

    def hold(self, ids: tuple[int, ...]) -> FarHeld:
        """Refer to what somebody else refers to at this moment."""
        self.link.tell(FarHold(ids))
        return FarHeld(ids, self._let_go)

    def hand(self, ids: tuple[int, ...], holder: int, *, back: bool = False) -> None:
        """Pass them on to a process of this node, or to another node; or take that ``back``."""
        self.link.tell(FarHand(ids, holder, back))

    def forget_transit(self, via: int, store: int) -> None:
        """A worker of the node with this store is dead, and all that it had sent to this process was read."""
        self.link.tell(FarForget(via, store))

    def forget_handed(self, store: int) -> None:
        """A process of the node with this store is gone, to which this one has handed things."""
        self.link.tell(FarForgetHanded(store))

    def fetch(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Have copies on this node: their numbers, in transit from the agent.

        Raises:
            StoreFull: there is no room for them here.
            StoreError: they cannot be had any more, or the agent is gone.
        """
        answer: Fetched = self.link.ask(lambda request: Fetch(request, ids))
        if answer.reason:
            raise (StoreError if answer.is_lost else StoreFull)(answer.reason)
        return answer.ids

    def lost(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Those of them that cannot be had any more. Raises StoreError if the agent is gone."""
        return self._look(ids).lost

    def only_here(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Those of them of which only a copy on this node is left. Raises StoreError if the agent is gone."""
        return self._look(ids).only_here

    def _look(self, ids: tuple[int, ...]) -> FarLooked:
        answer: FarLooked = self.link.ask(lambda request: FarLook(request, ids))
        return answer
