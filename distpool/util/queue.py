"""A queue that tasks and actors on any node share: an asyncio queue in an actor of its own.

::

    put, get ──► a call of the actor, which waits there without a thread ──► done in order, first come first served
    put_async, get_async: the same, awaited

A caller that stops waiting (an interrupt, its task was cancelled) takes its call back, so no item goes to somebody who
is not there any more. On one machine ``distpool.Queue`` is faster by far: it needs no process. Stands in for
``ray.util.queue``.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

import distpool
from distpool.exceptions import RayActorError
from distpool.objects import ObjectRef, cancel, get, wait

__all__ = ["Empty", "Full", "Queue"]


class Empty(queue.Empty):
    """There is no item; or there are not as many as were asked for."""


class Full(queue.Full):
    """There is no room for the item, or for all of them."""


class Queue:
    """A first-in first-out queue; its handle may be passed to any task.

    Args:
        maxsize: items that it holds at most; 0: no bound.
        actor_options: of the actor, as ``remote`` takes them: {"num_cpus": 1, "name": "jobs"}.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        options = {"max_concurrency": _WAITING_MAX, **(actor_options or {})}
        self.actor: Any = distpool.remote(**options)(_QueueActor).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items are in it."""
        return int(get(self._alive().qsize.remote()))

    def qsize(self) -> int:
        """The same."""
        return self.size()

    def empty(self) -> bool:
        """Whether there is no item in it."""
        return bool(get(self._alive().empty.remote()))

    def full(self) -> bool:
        """Whether there is no room for another."""
        return bool(get(self._alive().full.remote()))

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Args:
            item: anything that can be pickled. Of a reference its value is put.
            block: wait for room.
            timeout: for how long, in seconds; None: for ever.

        Raises:
            Full: there is no room, or none in time.
            ValueError: the timeout is negative.
            RayActorError: the queue was shut down.
        """
        if not _wait_here(self._alive().put.remote(item, _seconds(block, timeout))):
            raise Full

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As ``put``."""
        if not await _wait_there(self._alive().put.remote(item, _seconds(block, timeout))):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item.

        Args:
            block: wait for one.
            timeout: for how long, in seconds; None: for ever.

        Raises:
            Empty: there is none, or none in time.
            ValueError: the timeout is negative.
            RayActorError: the queue was shut down.
        """
        return _only(_wait_here(self._alive().get.remote(_seconds(block, timeout))))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """As ``get``."""
        return _only(await _wait_there(self._alive().get.remote(_seconds(block, timeout))))

    def put_nowait(self, item: Any) -> None:
        """Add an item, without waiting for room."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Take an item, without waiting for one."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all of these items in one go, or none.

        Raises:
            Full: there is not room for all of them.
            TypeError: it is no iterable.
        """
        if not isinstance(items, Iterable):
            raise TypeError(f"put_nowait_batch takes an iterable of items, not a {type(items).__name__}")
        batch = list(items)
        if not get(self._alive().put_batch.remote(batch)):
            raise Full(f"there is no room for {len(batch)} items")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take so many items in one go, or none.

        Raises:
            Empty: there are not so many.
            TypeError, ValueError: it is no number of items.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"num_items is a number of items, not a {type(num_items).__name__}")
        if num_items < 0:
            raise ValueError(f"num_items is a number of items, not {num_items}")
        batch = get(self._alive().get_batch.remote(num_items))
        if batch is None:
            raise Empty(f"there are not {num_items} items")
        return list(batch)

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """End the actor; items in it are lost.

        Args:
            force: at once. Otherwise calls that came before are done first.
            grace_period_s: for how long they may take.
        """
        actor, self.actor = self.actor, None
        if actor is None:
            return
        if not force:
            ready, _ = wait([actor.__ray_terminate__.remote()], num_returns=1, timeout=grace_period_s)
            if ready:
                return
        distpool.kill(actor, no_restart=True)

    def _alive(self) -> Any:
        if self.actor is None:
            raise RayActorError(None, "this queue was shut down, and its actor with it")
        return self.actor


#: Calls that may wait in the actor at a time. If all of them waited for items, none could bring one.
_WAITING_MAX = 100_000


class _QueueActor:
    """The queue itself. It answers with what is so, and leaves it to its callers to raise."""

    def __init__(self, maxsize: int) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def empty(self) -> bool:
        return self._queue.empty()

    async def full(self) -> bool:
        return self._queue.full()

    async def put(self, item: Any, timeout_s: float | None) -> bool:
        """Returns whether there was room in time."""
        try:
            if timeout_s == 0:
                self._queue.put_nowait(item)
            else:
                await asyncio.wait_for(self._queue.put(item), timeout_s)
        except (asyncio.QueueFull, TimeoutError):
            return False
        return True

    async def get(self, timeout_s: float | None) -> tuple[Any, ...]:
        """Returns the item in a tuple; an empty one if there was none in time."""
        try:
            if timeout_s == 0:
                return (self._queue.get_nowait(),)
            return (await asyncio.wait_for(self._queue.get(), timeout_s),)
        except (asyncio.QueueEmpty, TimeoutError):
            return ()

    async def put_batch(self, items: list[Any]) -> bool:
        room = self._queue.maxsize - self._queue.qsize()
        if self._queue.maxsize > 0 and len(items) > room:
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_batch(self, count: int) -> list[Any] | None:
        if count > self._queue.qsize():
            return None
        return [self._queue.get_nowait() for _ in range(count)]


def _seconds(block: bool, timeout: float | None) -> float | None:
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        raise ValueError(f"the timeout is negative: {timeout}; it is a number of seconds, zero or more")
    return timeout


def _wait_here(ref: ObjectRef) -> Any:
    try:
        return get(ref)
    except BaseException:
        cancel(ref)
        raise


async def _wait_there(ref: ObjectRef) -> Any:
    try:
        return await ref
    except asyncio.CancelledError:
        cancel(ref)
        raise


def _only(taken: tuple[Any, ...]) -> Any:
    if not taken:
        raise Empty
    return taken[0]
