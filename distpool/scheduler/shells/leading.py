"""Which thread drives an OwnerShell: the engine thread, or one that waits for a result and borrows the shell meanwhile.

::

                        woke a waiting thread, and nobody else waits
      engine thread:  LEADS ───────────────────────────────────────────► PARKED   (a moment, or while borrowed)
                        ▲                                                  │  ▲
                        └── told to, or nobody borrowed for PARK_S ────────┘  │ waits, finds it parked: leads itself
      waiting thread:   SLEEPS on a lock of its own ◄── somebody leads ── BORROWS ──► leaves when its result is there

A program that submits, waits, and submits again thus has no thread switch in its round trip. Exactly one thread leads,
under ``_lead_lock``. A borrower delivers only what it waits for itself, and only if that runs no callback; the rest,
and whatever takes long (``chores``), is the engine thread's. While the main thread leads, signal handlers are held
(``signals.py``).

Lost wake-ups are impossible by order: a waiter adds its lock, then looks whether it is ready; who settles says ready,
then looks for locks. The leader says ``sleeping``, then looks into the inbox; who submits fills the inbox, then looks
whether it sleeps.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distpool.engines.protocol import Promise
from distpool.errors import ClusterError
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import Local, Message
from distpool.scheduler.shells.deliveries import is_for
from distpool.scheduler.shells.owner import OwnerShell
from distpool.scheduler.signals import DeferredSignals, on_main_thread

#: How long the engine thread steps aside for a borrower.
PARK_S = 0.001
#: How long the main thread sleeps at a time while its signals are held and another thread leads.
HELD_SLEEP_S = 0.05
#: How long it waits at a time in any case: a signal that comes just before a system call does not end that.
MAIN_WAIT_S = 1.0


class Leading:
    """Drives one OwnerShell on whichever thread is best placed to."""

    def __init__(self, shell: OwnerShell) -> None:
        self.chores: deque[Callable[[], None]] = deque()  # for the engine thread, outside of the lock
        self._shell = shell
        self._signals = DeferredSignals(shell.waker.wake)
        self._lead_lock = threading.Lock()
        self._engine_ident = 0
        self._borrower = 0  # the thread that has borrowed, if one has
        self._borrows = 0
        self._claimed = False  # the engine thread wants the lock
        self._unpark = threading.Lock()
        self._unpark.acquire()
        self._parked = False
        self._parked_deep = False  # until told, not for a moment
        self._submits_unled = 0
        self._waiting: dict[Any, Promise] = {}  # lock that somebody sleeps on -> for what
        self._register_lock = threading.RLock()  # an allocation under it may run a __del__ that waits too
        self._stopping = False
        self._failure: BaseException | None = None

    # ------------------------------------------------------------------------------- any thread

    def submit(self, task: Task) -> None:
        """Hand a task to the core; it is in nobody's way until the leader takes it."""
        shell = self._shell
        shell.inbox.append(task)
        if shell.sleeping:
            shell.sleeping = False
            shell.waker.wake()
        elif self._parked:
            self._submits_unled += 1
            if self._submits_unled > 1:
                self._release_park()  # not a round trip: somebody must lead
        if self._stopping:
            self._refuse()

    def submit_all(self, tasks: list[Task]) -> None:
        """Hand over many tasks at once; somebody leads for them."""
        self._shell.inbox.extend(tasks)
        self.wake()
        if self._stopping:
            self._refuse()

    def submit_before_waiting(self, tasks: list[Task]) -> None:
        """Hand over many tasks, by a thread that waits next, and leads for them itself if nobody does."""
        shell = self._shell
        shell.inbox.extend(tasks)
        if shell.sleeping:
            shell.sleeping = False
            shell.waker.wake()
        if self._stopping:
            self._refuse()

    def _refuse(self) -> None:
        if self._engine_ident == 0:
            self._shell.refuse_inbox("the session has ended")

    def tell(self, message: Local | Message | Callable[[], None]) -> None:
        """Hand the core a message of the program's, or the leader a function to call in its step."""
        self._shell.inbox.append(message)
        self.wake()

    def wake(self) -> None:
        """Let the inbox be looked at soon. Safe in ``__del__``, weakref callbacks and signal handlers."""
        self._shell.sleeping = False
        self._shell.waker.wake()
        if self._parked:
            self._release_park()

    def wake_if_asleep(self) -> None:
        """Like ``wake``, for what the leader looks at after each step anyway."""
        if self._shell.sleeping:
            self.wake()

    def wait(self, promise: Promise, timeout_s: float | None) -> bool:
        """Wait until the promise is settled; leads meanwhile if the engine thread has stepped aside."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        me = threading.get_ident()
        if me == self._engine_ident:
            return self._wait_inside(promise, deadline)
        if me == self._borrower:
            raise RuntimeError("a finalizer waits for a result while its own thread drives the engine")
        on_main = on_main_thread()
        while not promise.settled:
            until = deadline
            if on_main:
                soon = time.monotonic() + MAIN_WAIT_S
                until = soon if deadline is None else min(soon, deadline)
            if self._parked and not self._claimed and not self._stopping:
                in_time = self._borrow(promise, until)
            else:
                in_time = self._sleep(promise, until)
            if not in_time and until == deadline:
                break
        return promise.settled

    # --------------------------------------------------------------------------------- sleeping

    def _sleep(self, promise: Promise, deadline: float | None) -> bool:
        """Sleep until somebody settles the promise. False: time is up."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting[lock] = promise
        try:
            with self._register_lock:
                wakeups = promise.wakeups
                if wakeups is None:
                    promise.wakeups = [lock]
                else:
                    wakeups.append(lock)
            if promise.settled:
                return True
            if self._parked:
                self._release_park()
            if deadline is None:
                return lock.acquire()
            return lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        finally:
            self._waiting.pop(lock, None)
            if not promise.settled:
                self._unregister(promise, lock)

    def _unregister(self, promise: Promise, lock: Any) -> None:
        """Take back a lock that nobody will wait on; by a copy, since ``settle`` may be going through the old list."""
        with self._register_lock:
            if promise.wakeups is not None:
                promise.wakeups = [other for other in promise.wakeups if other is not lock] or None

    def _anybody_waits(self) -> bool:
        """Whether a thread sleeps for something that is not there yet."""
        return any(not promise.settled for promise in list(self._waiting.values()))

    # -------------------------------------------------------------------------------- borrowing

    def _borrow(self, promise: Promise, deadline: float | None) -> bool:
        """Lead until the promise is settled, a signal wants its handler, or somebody else must. False: time is up."""
        if not on_main_thread():
            return self._lead_until(promise, deadline)
        try:
            self._signals.hold()
            return self._lead_until(promise, deadline)
        finally:
            self._signals.release()

    def _lead_until(self, promise: Promise, deadline: float | None) -> bool:
        if not self._lead_lock.acquire(blocking=False):
            return self._sleep_briefly(promise, deadline)
        self._borrower = threading.get_ident()
        self._borrows += 1
        self._submits_unled = 0
        shell = self._shell
        try:
            while not promise.settled and self._may_borrow():
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                shell.step(deadline, eager=True, stay=self._may_borrow)
                self._deliver_own(promise)
            return True
        except BaseException as error:  # the engine is broken, not the caller's call: see ``run``
            self._failure = error
            self._stopping = True
            return True
        finally:
            self._borrower = 0
            self._lead_lock.release()
            if self._parked_deep or shell.deliveries or self._stopping or self._anybody_waits():
                self._release_park()

    def _may_borrow(self) -> bool:
        return not (self._signals.recorded or self._claimed or self._stopping)

    def _sleep_briefly(self, promise: Promise, deadline: float | None) -> bool:
        """Another thread leads: sleep until it delivers; only for a moment at a time if signals are held here."""
        if not on_main_thread():
            return self._sleep(promise, deadline)
        soon = time.monotonic() + HELD_SLEEP_S
        self._sleep(promise, soon if deadline is None else min(soon, deadline))
        return deadline is None or time.monotonic() < deadline

    def _deliver_own(self, promise: Promise) -> None:
        """Deliver what this thread waits for, if that runs no callback; the rest is the engine thread's."""
        shell = self._shell
        while shell.deliveries and (item := shell.deliveries.take()) is not None:
            if promise.quick and is_for(item, promise):
                shell.deliveries.pass_on(item)
            else:
                shell.deliveries.appendleft(item)  # and what comes after it must not overtake it
                self._release_park()
                return

    # ------------------------------------------------------------------------------- the engine

    def run(self) -> None:
        """The engine thread: lead, deliver, step aside; until ``stop``. If the engine fails, so does every call."""
        self._engine_ident = threading.get_ident()
        try:
            while not self._stopping:
                self._turn()
            if self._failure is not None:
                raise self._failure
            with self._lead_lock:
                self._shell.drain_inbox()  # the goodbye
            self._shell.reissue.wait_handled()
            self._shell.deliveries.pass_on_all()
        except BaseException as error:
            self._stopping = True
            with self._lead_lock:
                self._shell.abort(f"the engine failed: {error!r}")
            raise
        finally:
            self._engine_ident = 0
            self._shell.refuse_inbox("the session has ended")

    def _turn(self) -> None:
        shell = self._shell
        while self.chores:
            self.chores.popleft()()
        shell.deliveries.pass_on_all()  # what borrowers have left
        if self._lead_lock.acquire(blocking=False):
            try:
                shell.step(None, eager=False, stay=self._may_stay)
            finally:
                self._lead_lock.release()
        else:
            shell.deliveries.woke_waiter = True  # a borrower leads
        shell.deliveries.pass_on_all()
        if self._borrower:
            shell.waker.wake()  # it may have been for the borrower
        if shell.deliveries.woke_waiter:
            shell.deliveries.woke_waiter = False
            if self._borrower or not (shell.deliveries or self._anybody_waits()):
                self._park()

    def _may_stay(self) -> bool:
        return not (self._stopping or self.chores)

    def _wait_inside(self, promise: Promise, deadline: float | None) -> bool:
        """A callback on the engine thread waits for a result: the engine goes on underneath it."""
        shell = self._shell
        while not promise.settled and not self._stopping:
            shell.deliveries.pass_on_all()
            if promise.settled or (deadline is not None and time.monotonic() >= deadline):
                break
            if self._lead_lock.acquire(blocking=False):
                try:
                    shell.step(deadline, eager=False, stay=self._may_stay)
                finally:
                    self._lead_lock.release()
            else:
                self._unpark.acquire(timeout=PARK_S)  # a borrower leads, and leaves the deliveries to us
        return promise.settled

    def exclusively(self, function: Callable[[], None]) -> None:
        """On the engine thread, outside of a step: call ``function`` under the lock; a borrower leaves for it."""
        self._claimed = True
        try:
            self._shell.waker.wake()
            with self._lead_lock:
                function()
        finally:
            self._claimed = False

    def add_chore(self, chore: Callable[[], None]) -> None:
        """Have the engine thread do something that takes long."""
        self.chores.append(chore)
        self.wake()

    def stop(self) -> None:
        """Let ``run`` return, after what it is doing."""
        self._stopping = True
        self.wake()

    def close(self, farewell_ms: int) -> None:
        """Close the shell; after ``run`` has returned. A borrower has been told to leave, and is waited for."""
        with self._lead_lock:
            self._shell.close(farewell_ms)

    def abandon(self) -> None:
        """In a forked child: all this is the parent's, its sockets and threads are not here."""
        self._signals.abandon()
        self.__class__ = _Abandoned

    def _park(self) -> None:
        """Step aside: whoever waits may lead. Back after a moment without a borrower, or when told to."""
        self._submits_unled = 0
        self._parked = True
        try:
            while not (self._stopping or self.chores) and (
                not self._shell.deliveries or self._shell.deliveries.is_held_up
            ):
                borrows = self._borrows
                if self._unpark.acquire(timeout=PARK_S):
                    return
                if self._borrower:
                    self._parked_deep = True
                    if self._borrower:
                        self._unpark.acquire()
                    return
                if self._borrows == borrows:
                    return
        finally:
            self._parked = self._parked_deep = False

    def is_engine_thread(self) -> bool:
        """Whether the engine itself asks."""
        return threading.get_ident() == self._engine_ident

    def _release_park(self) -> None:
        with suppress(RuntimeError):  # it has been told already
            self._unpark.release()


class _Abandoned(Leading):
    """What a forked child sees of its parent's engine: not to be touched."""

    def submit(self, task: Task) -> None:
        raise ClusterError("this pool is the parent process's; make one of your own after the fork")

    def submit_all(self, tasks: list[Task]) -> None:
        raise ClusterError("this pool is the parent process's; make one of your own after the fork")

    def submit_before_waiting(self, tasks: list[Task]) -> None:
        raise ClusterError("this pool is the parent process's; make one of your own after the fork")

    def tell(self, message: Local | Message | Callable[[], None]) -> None:
        """Nothing: ``close`` and ``terminate`` of an inherited pool are the parent's business."""

    def wake(self) -> None:
        """Nothing."""

    def wait(self, promise: Promise, timeout_s: float | None) -> bool:
        if not promise.settled:
            raise ClusterError("this call was made by the parent process, which alone gets its result")
        return True
