"""Queues between all processes of a program, over shared memory.

::

    put ─► items.pack ─► Channel.send ──────────────► ring ──────────────► Channel.receive ─► items.load ─► get
                              └─ no room: held back by Feeder, whose thread delivers it

What is put is pickled at once, in the caller: what it does to the object afterwards does not matter (the standard
queue pickles some time later, in its thread). Readers and writers may be killed at any instant, and the queue goes on
for the others; an item that a dead process had taken is gone with it. Queues may be arguments of tasks, lie in
containers and globals, and go to child processes of any start method. On another node the same methods ask the server
of the queue's home.

They are instances of the standard library's classes (``logging.config`` asks for that), of which they use nothing.

Stands in for ``multiprocessing.queues``.
"""

from __future__ import annotations

import functools
import multiprocessing.queues as standard
import types
from queue import Empty, Full
from typing import TYPE_CHECKING, Any

from distpool.scheduler.shared import items
from distpool.scheduler.shared.away import Away
from distpool.scheduler.shared.channel import FULL, HELD_BACK, Channel
from distpool.scheduler.shared.ends import Reader, Writer
from distpool.scheduler.shared.feeder import Feeder
from distpool.scheduler.shared.tally import Tally
from distpool.standing_aside import standard_ones

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

_pack = items.pack
_load = items.load
# Of the standard library: as many as its semaphores count.
_UNBOUNDED = 2**31 - 1


if TYPE_CHECKING:
    _StandardQueue = standard.Queue[Any]
    _StandardJoinableQueue = standard.JoinableQueue[Any]
    _StandardSimpleQueue = standard.SimpleQueue[Any]
else:
    _StandardQueue = standard.Queue
    _StandardJoinableQueue = standard.JoinableQueue
    _StandardSimpleQueue = standard.SimpleQueue


class _WithEnds:
    """What foreign code reaches for in a standard queue."""

    _channel: Channel | Away

    @functools.cached_property
    def _reader(self) -> Reader:
        return Reader(self._channel)

    @functools.cached_property
    def _writer(self) -> Writer:
        return Writer(self._channel)

    __class_getitem__: Any = classmethod(types.GenericAlias)


class Queue(_WithEnds, _StandardQueue):
    """A queue of many writers and many readers (``multiprocessing.queues.Queue``).

    Args:
        maxsize: how many items may wait in it; 0 or less: any number.
        ctx: accepted as the standard library's, and not used: it serves processes of every start method.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        self._maxsize = maxsize if maxsize > 0 else _UNBOUNDED
        self._ignore_epipe = False
        self._attach(Channel.create(max(maxsize, 0)))

    def _attach(self, handle: Channel) -> None:
        self._handle = handle
        channel = self._channel = Away(handle) if handle.is_remote else handle
        self._send = channel.send
        self._receive = channel.receive
        self._feeder = Feeder(channel)
        self._closed = False
        self._used = False

    def __getstate__(self) -> Any:
        return self._ignore_epipe, self._maxsize, self._handle

    def __setstate__(self, state: Any) -> None:
        self._ignore_epipe, self._maxsize, channel = state
        self._attach(channel)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an object (``multiprocessing.queues.Queue.put``).

        Args:
            obj: anything that can be pickled, functions and classes without a name included. What cannot be is
                reported by ``_on_queue_feeder_error``, which prints a traceback.
            block: whether to wait while there are ``maxsize`` items.
            timeout: for how long, in seconds; None: for ever.

        Raises:
            queue.Full: there were ``maxsize`` items all the time.
            ValueError: this process has closed the queue.
        """
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        if not block and self._channel.items_max and self._channel.is_full():
            raise Full
        try:
            item = _pack(obj)
        except Exception as error:
            self._on_queue_feeder_error(error, obj)
            return
        self._used = True
        if self._feeder.waiting or not self._send(item):
            self._put_slowly(item, block, timeout)

    def _put_slowly(self, item: items.Item, block: bool, timeout: float | None) -> None:
        may_send = not self._feeder.waiting
        outcome = self._channel.admit(item, may_send)
        if outcome == FULL and block:
            outcome = self._channel.wait_to_admit(item, may_send, timeout)
        if outcome == FULL:
            raise Full
        if outcome == HELD_BACK:
            self._feeder.hold(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first object (``multiprocessing.queues.Queue.get``).

        Args:
            block: whether to wait for one.
            timeout: for how long, in seconds; None: for ever.

        Raises:
            queue.Empty: there was none all the time.
            ValueError: this process has closed the queue.
        """
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        received = self._receive(block, timeout)
        if received is None:
            raise Empty
        return _load(received)

    def get_nowait(self) -> Any:
        """Take the first object, if there is one now (``multiprocessing.queues.Queue.get_nowait``)."""
        return self.get(False)

    def put_nowait(self, obj: Any) -> None:
        """Append an object, if there is room now (``multiprocessing.queues.Queue.put_nowait``)."""
        self.put(obj, False)

    def qsize(self) -> int:
        """How many items wait (``multiprocessing.queues.Queue.qsize``)."""
        return self._channel.count()

    def empty(self) -> bool:
        """Whether there is nothing to take now (``multiprocessing.queues.Queue.empty``).

        Raises:
            OSError: this process has used the queue, and closed it.
        """
        if self._closed and self._used:
            raise OSError("handle is closed")
        return self._channel.is_empty() and not self._feeder.waiting

    def full(self) -> bool:
        """Whether there are ``maxsize`` items (``multiprocessing.queues.Queue.full``)."""
        return self._channel.is_full()

    def close(self) -> None:
        """This process will put nothing more (``multiprocessing.queues.Queue.close``)."""
        self._closed = True

    def join_thread(self) -> None:
        """Wait until all that was put is in shared memory (``multiprocessing.queues.Queue.join_thread``)."""
        assert self._closed, f"Queue {self!r} not closed"
        self._feeder.join()

    def cancel_join_thread(self) -> None:
        """Let this process end without ``join_thread`` (``multiprocessing.queues.Queue.cancel_join_thread``)."""
        self._feeder.leave_at_exit()

    @staticmethod
    def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
        """``obj`` could not be pickled. Overridden by programs, as the standard library's."""
        import traceback

        traceback.print_exception(e)


class JoinableQueue(Queue, _StandardJoinableQueue):
    """A queue that counts which of its items are done with (``multiprocessing.queues.JoinableQueue``)."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._tally = Tally.create(self._handle)

    def __getstate__(self) -> Any:
        return *super().__getstate__(), self._tally

    def __setstate__(self, state: Any) -> None:
        *rest, self._tally = state
        super().__setstate__(tuple(rest))

    def task_done(self) -> None:
        """An item that was got is done with (``multiprocessing.queues.JoinableQueue.task_done``).

        Raises:
            ValueError: that would be more items than were put.
        """
        if not self._tally.report():
            raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Wait until all items are done with (``multiprocessing.queues.JoinableQueue.join``)."""
        self._tally.wait()


class SimpleQueue(_WithEnds, _StandardSimpleQueue):
    """A queue that writes in the caller, and waits there for room (``multiprocessing.queues.SimpleQueue``).

    Args:
        ctx: accepted as the standard library's, and not used.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._attach(Channel.create())

    def _attach(self, handle: Channel) -> None:
        self._handle = handle
        channel = self._channel = Away(handle) if handle.is_remote else handle
        self._send = channel.send
        self._receive = channel.receive
        self._closed = False

    def __getstate__(self) -> Any:
        return self._handle

    def __setstate__(self, state: Any) -> None:
        self._attach(state)

    def close(self) -> None:
        """This process will use it no more (``multiprocessing.queues.SimpleQueue.close``)."""
        self._closed = True
        self._reader.close()
        self._writer.close()

    def empty(self) -> bool:
        """Whether there is nothing to take now (``multiprocessing.queues.SimpleQueue.empty``).

        Raises:
            OSError: this process has closed it.
        """
        if self._closed:
            raise OSError("handle is closed")
        return self._channel.is_empty()

    def get(self) -> Any:
        """Take the first object, and wait for one (``multiprocessing.queues.SimpleQueue.get``)."""
        if self._closed:
            raise OSError("handle is closed")
        received = self._receive()
        assert received is not None, "waiting without a limit ends with an item"
        return _load(received)

    def put(self, obj: Any) -> None:
        """Append an object, and wait for room (``multiprocessing.queues.SimpleQueue.put``).

        Raises:
            OSError: this process has closed it.
            Whatever pickling raises.
        """
        if self._closed:
            raise OSError("handle is closed")
        item = _pack(obj)
        if not self._send(item):
            self._channel.deliver(item, held_back=False)


globals().update(standard_ones("multiprocessing.queues", __all__))
