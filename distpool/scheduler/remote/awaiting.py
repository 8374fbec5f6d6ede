"""References as futures: of an event loop, and of ``concurrent.futures``.

::

    the engine's thread: ref is ready ─► the loop's inbox ── one call_soon_threadsafe for many ──► futures are set

Waking a loop from another thread costs a system call; a thousand references that become ready at once wake it once.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from distpool.scheduler.remote.refs import ObjectRef


def value_of(ref: ObjectRef) -> Any:
    """The value of a ready reference; raises what the front doors raise for one that has none."""
    return importlib.import_module("distpool.objects").value_of(ref)


class _Inbox:
    """Futures of one event loop whose references are ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._ready: deque[tuple[asyncio.Future[Any], ObjectRef]] = deque()
        self._lock = threading.Lock()
        self._called = False

    def put(self, future: asyncio.Future[Any], ref: ObjectRef) -> None:
        """On any thread."""
        self._ready.append((future, ref))
        with self._lock:
            if self._called:
                return
            self._called = True
        loop = self._loop()
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                pass  # it is closed, and nobody awaits anything there

    def _drain(self) -> None:
        with self._lock:
            self._called = False
        while self._ready:
            future, ref = self._ready.popleft()
            if not future.done():
                _set(future, ref)


_inboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Inbox] = weakref.WeakKeyDictionary()


def as_future(ref: ObjectRef) -> asyncio.Future[Any]:
    """A future of the running loop; where none runs, of this thread's own, as ``asyncio.wrap_future`` has it.

    Raises RuntimeError where there is neither.
    """
    import asyncio  # whoever awaits has it already; nobody else pays for it

    loop = asyncio.get_event_loop()
    future: asyncio.Future[Any] = loop.create_future()
    if ref.settled:
        _set(future, ref)
        return future
    into = _inboxes.get(loop)
    if into is None:
        into = _inboxes[loop] = _Inbox(loop)
    inbox = into
    watcher = lambda ready: inbox.put(future, ready)  # noqa: E731  # it has to be known again

    def leave(_: Any) -> None:
        if future.cancelled():  # or who asks again and again for a while would leave more and more here
            ref.unwatch(watcher)

    future.add_done_callback(leave)
    ref.watch(watcher)
    return future


def as_concurrent_future(ref: ObjectRef) -> concurrent.futures.Future[Any]:
    """A future of the standard library; it cannot be cancelled, the reference can."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    ref.watch(lambda ready: _set(future, ready))
    return future


def _set(future: asyncio.Future[Any] | concurrent.futures.Future[Any], ref: ObjectRef) -> None:
    try:
        future.set_result(value_of(ref))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, StopIteration):  # which no future takes
            error = RuntimeError(f"the call raised StopIteration: {error}")
        future.set_exception(error)
