"""``Future``: a ``concurrent.futures.Future`` that is itself the promise which an engine fulfils.

A standard future carries a Condition from birth, most of its cost in time and memory. Here it is made only when
foreign code (``wait``, ``as_completed``) asks for it::

                     no Condition yet                        a Condition was asked for
    state changes    under the one lock _births              under the Condition, then _births
    waiting          Engine.wait (Promise.settled, wakeups)    both ways

Whoever holds the Condition therefore sees a state that stands still, as the standard library's own code expects,
and the Condition cannot come into being in the middle of a change.

Stands in for ``concurrent.futures.Future``.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from concurrent.futures.process import _RemoteTraceback
from typing import TYPE_CHECKING, Any, TypeVar

from distpool.engines.protocol import Call, Failure, Promise
from distpool.errors import TimeoutError

if TYPE_CHECKING:
    from distpool.executor_work import Work

T = TypeVar("T")

_LOGGER = logging.getLogger("concurrent.futures")
_DONE = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))
#: Reentrant, because a garbage collection inside may run a finalizer that cancels another future.
_births = threading.RLock()


def _after_fork_in_child() -> None:
    """In a forked child: whichever thread held the lock is not here."""
    global _births
    _births = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Future(Promise, concurrent.futures.Future[T]):
    """The result of one call, now or later (``concurrent.futures.Future``).

    ``cancel`` takes back a call that waits and interrupts one that runs; the future is cancelled at once.
    """

    # What every future has; what few have is kept in the instance's dict, which the others do not make.
    __slots__ = ("_call", "_result", "_state", "_work", "settled")

    _state: str
    _exception: BaseException | None = None
    _done_callbacks: Any = ()
    _waiters: Any = ()
    _made_condition: threading.Condition | None = None

    def __init__(self, work: Work | None = None) -> None:
        self.settled = False
        self._state = PENDING
        self._result: Any = None
        self._work = work
        self._call: Call | None = None

    # ---------------------------------------------------------------------- what programs call

    def result(self, timeout: float | None = None) -> T:
        """The value, or the call's own exception.

        Args:
            timeout: seconds to wait for it; None: for ever.

        Raises:
            TimeoutError: not there in time.
            CancelledError: it was cancelled.
            WorkerDied: the worker died under the call, more often than it may be repeated.
        """
        if not self.settled:
            self._wait(timeout)
        try:
            if self._exception is not None:
                raise self._exception
            if self._state != FINISHED:
                raise CancelledError
            return self._result  # type: ignore[no-any-return]
        finally:
            del self  # the exception's traceback holds this frame, and the future the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The call's exception, or None if it returned; waits and raises as ``result`` does."""
        if not self.settled:
            self._wait(timeout)
        if self._state != FINISHED:
            raise CancelledError
        return self._exception

    def cancel(self) -> bool:
        """Take the call back, or stop it; False if it has ended."""
        if not self._change(CANCELLED_AND_NOTIFIED, None, None):
            if self.cancelled() and not self.settled:
                self._settled()  # the first attempt was interrupted by a signal
            return self.cancelled()
        work, call = self._work, self._call
        self._settled()
        if work is not None and call is not None:
            work.take_back([call], running=True)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        """Whether it lies with a worker."""
        state, call = self._state, self._call
        return state == RUNNING or (state == PENDING and call is not None and call.offered)

    def done(self) -> bool:
        """Whether it has ended, or was cancelled."""
        return self._state in _DONE

    def add_done_callback(self, fn: Callable[[Future[T]], Any]) -> None:
        """Call ``fn(future)`` when it has ended: in a thread of the engine, or here if it has ended already."""
        with _births:
            if self._state not in _DONE:
                self.quick = False
                if not self._done_callbacks:
                    self._done_callbacks = []
                self._done_callbacks.append(fn)
                return
        try:
            fn(self)
        except Exception:
            _LOGGER.exception("exception calling callback for %r", self)

    def __repr__(self) -> str:
        state = "running" if self.running() else self._state.replace("_and_notified", "").lower()
        what = ""
        if self._state == FINISHED:
            error = self._exception
            what = f" raised {type(error).__name__}" if error else f" returned {type(self._result).__name__}"
        return f"<{type(self).__name__} at {id(self):#x} state={state}{what}>"

    # ------------------------------------------------------------------------ what engines call

    def fulfil(self, key: int, value: Any) -> None:
        """The call returned."""
        with _births:
            alone = self._made_condition is None
            if alone:
                if self._state in _DONE:
                    alone = False  # cancelled; or so interrupted by a signal that nobody was told
                else:
                    self._result = value
                    self._state = FINISHED
        if not alone:
            if self._change(FINISHED, value, None) or not self.settled:
                self._settled()
            return
        # As _settled, but this is the path that nearly all calls take.
        work: Any = self._work
        pending = work.pending
        pending.pop(self, None)
        if not pending:
            work.ran_empty()
        self._call = None
        self.settled = True
        if self.wakeups is not None or self._done_callbacks:
            self._settled()

    def reject(self, key: int, failure: Failure) -> None:
        """The call failed."""
        work = self._work
        if work is None:
            return
        if self._state in _DONE:
            if not self.settled:
                self._settled()
            return
        broken = work.broken
        if broken is not None:
            changed = self._change(FINISHED, None, broken)
        elif failure.cancelled:
            changed = self._change(CANCELLED_AND_NOTIFIED, None, None)
        else:
            changed = self._change(FINISHED, None, failure.to_exception(_RemoteTraceback))
        if changed:
            self._settled()

    def calls(self) -> list[Call]:
        """Its call, while that has not ended."""
        call = self._call
        return [] if call is None else [call]

    # -------------------------------------------------------- what other executors and tests call

    def set_running_or_notify_cancel(self) -> bool:
        """False if it was cancelled; else it counts as running from now on."""
        with _births:
            if self._state in (CANCELLED, CANCELLED_AND_NOTIFIED):
                return False
            if self._state == PENDING:
                self._state = RUNNING
                return True
        _LOGGER.critical("Future %s in unexpected state: %s", id(self), self._state)
        raise RuntimeError("Future in unexpected state")

    def set_result(self, result: T) -> None:
        """End it with a value. Raises InvalidStateError if it has ended."""
        if not self._change(FINISHED, result, None):
            raise InvalidStateError(f"{self._state}: {self!r}")
        self._settled()

    def set_exception(self, exception: BaseException | None) -> None:
        """End it with an exception. Raises InvalidStateError if it has ended."""
        if not self._change(FINISHED, None, exception):
            raise InvalidStateError(f"{self._state}: {self!r}")
        self._settled()

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        """For foreign code, which takes it before it looks at ``_state`` or ``_waiters``."""
        made = self._made_condition
        if made is None:
            with _births:
                made = self._made_condition
                if made is None:
                    self._waiters = []
                    self._made_condition = made = threading.Condition()
        return made

    # --------------------------------------------------------------------------------- helpers

    def _wait(self, timeout_s: float | None) -> None:
        if timeout_s is not None and timeout_s < 0:
            timeout_s = 0.0
        work = self._work
        if work is not None:
            if not work.engine.wait(self, timeout_s):
                raise TimeoutError
        elif not self.settled:  # nobody's: somebody sets it by hand
            with self._condition:
                if not self._condition.wait_for(self.done, timeout_s):
                    raise TimeoutError

    def _change(self, state: str, result: Any, error: BaseException | None) -> bool:
        """End it, unless it has ended; wakes foreign waiters."""
        with _births:
            condition = self._made_condition
            if condition is None:
                return self._write(state, result, error)
        with condition:
            with _births:
                if not self._write(state, result, error):
                    return False
            for waiter in self._waiters:
                if state == CANCELLED_AND_NOTIFIED:
                    waiter.add_cancelled(self)
                elif error is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            condition.notify_all()
            return True

    def _write(self, state: str, result: Any, error: BaseException | None) -> bool:
        if self._state in _DONE:
            return False
        self._result = result
        if error is not None:
            self._exception = error
        self._state = state
        return True

    def _settled(self) -> None:
        """It has ended: wake who waits here, call back, let go."""
        work = self._work
        if work is not None:
            work.settled(self)
            self._call = None
        self.settle()
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]
