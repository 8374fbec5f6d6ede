"""The methods by which a context makes things, for things that are distpool's: one list for two users.

::

    distpool.context      mixes them into contexts of its own          distpool.get_context("spawn").Queue()
    distpool.run          puts them into the standard library's own    multiprocessing.get_context("spawn").Queue()

Each imports what it makes when it is called, so this module costs nothing and knows nothing. ``self`` is a context:
``get_context()`` gives the one of the start method that is meant, which goes to the made thing as ``ctx``.

Stands in for the methods of ``multiprocessing.context.BaseContext`` that bear these names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a program under ``distpool run`` that makes nothing must not pay for these imports
    from collections.abc import Callable, Iterable
    from typing import Any

    from distpool.managers import SyncManager as _SyncManager
    from distpool.pool import Pool as _Pool
    from distpool.queues import JoinableQueue as _JoinableQueue
    from distpool.queues import Queue as _Queue
    from distpool.queues import SimpleQueue as _SimpleQueue
    from distpool.synchronize import Barrier as _Barrier
    from distpool.synchronize import BoundedSemaphore as _BoundedSemaphore
    from distpool.synchronize import Condition as _Condition
    from distpool.synchronize import Event as _Event
    from distpool.synchronize import Lock as _Lock
    from distpool.synchronize import RLock as _RLock
    from distpool.synchronize import Semaphore as _Semaphore


class ContextMakers:
    """Mixed into a context; its public methods are all that a context makes, but for processes and pipes."""

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method, or that which things made now belong to."""
        raise NotImplementedError("mix this class into a context")

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        **ours: Any,
    ) -> _Pool:
        """A pool of worker processes (``multiprocessing.pool.Pool``); ``ours``: what only distpool's takes."""
        from distpool.pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context(), **ours)

    def Manager(self) -> _SyncManager:
        """A started manager of lists, dictionaries, locks and more (``multiprocessing.managers.SyncManager``)."""
        from distpool.managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Lock(self) -> _Lock:
        """A lock that any process may release (``multiprocessing.synchronize.Lock``)."""
        from distpool.synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> _RLock:
        """A lock that its holder may acquire again (``multiprocessing.synchronize.RLock``)."""
        from distpool.synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> _Condition:
        """A condition over ``lock``, or over an RLock of its own (``multiprocessing.synchronize.Condition``)."""
        from distpool.synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> _Semaphore:
        """A semaphore of ``value`` units (``multiprocessing.synchronize.Semaphore``)."""
        from distpool.synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> _BoundedSemaphore:
        """One that refuses more releases than acquires (``multiprocessing.synchronize.BoundedSemaphore``)."""
        from distpool.synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> _Event:
        """A flag to wait for (``multiprocessing.synchronize.Event``)."""
        from distpool.synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> _Barrier:
        """A meeting of ``parties`` waiters, ``timeout`` in seconds (``multiprocessing.synchronize.Barrier``)."""
        from distpool.synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> _Queue:
        """A queue of at most ``maxsize`` items, 0 for the most (``multiprocessing.queues.Queue``)."""
        from distpool.queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> _JoinableQueue:
        """A queue that counts what is done with its items (``multiprocessing.queues.JoinableQueue``)."""
        from distpool.queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> _SimpleQueue:
        """A queue without a thread (``multiprocessing.queues.SimpleQueue``)."""
        from distpool.queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A ctypes object in shared memory, without a lock (``multiprocessing.sharedctypes.RawValue``)."""
        from distpool.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """A ctypes array in shared memory, without a lock (``multiprocessing.sharedctypes.RawArray``)."""
        from distpool.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A ctypes object in shared memory with its lock (``multiprocessing.sharedctypes.Value``)."""
        from distpool.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """A ctypes array in shared memory with its lock (``multiprocessing.sharedctypes.Array``)."""
        from distpool.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())


#: What a context makes that is distpool's, by the name of its method.
MAKERS = {name: method for name, method in vars(ContextMakers).items() if name[0].isupper()}
