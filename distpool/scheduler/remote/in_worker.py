"""What a worker does for the remote calls that its tasks make: when one is answered, cancelled, or the worker retires.

::

    task done ──► make_safe: owners know what references this process has got ──► hand_over: the asker follows
                                                                                    what was pending in the answer
    attempt cancelled ──► cancel_calls: what it has called, and what waits to be called
    told to retire ──► linger ── looks, again and again ──► nothing is under way, and nobody is owed a value ──► it goes
        its own workers retire as well, and it stays until they are gone: they may owe values to others, as it has

``worker_hooks`` is how the worker, which knows nothing of remote calls, gets here. Who has made none pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distpool import worker_hooks
from distpool.engines.protocol import Promise
from distpool.scheduler.messages import CancelTasks, Contact, Leaving, Lingers, encode
from distpool.scheduler.serialize.carried import Pending
from distpool.scheduler.shells import actor_calls

if TYPE_CHECKING:
    from distpool.scheduler.remote.here import Remote
    from distpool.scheduler.remote.refs import ObjectRef

__all__ = ["install"]

#: How soon a retired worker looks again whether it may go: at first, and at most, as hundreds may wait for each other.
#: The end of one of its own workers it is told of: in a chain, one after the other goes.
LINGER_LOOK_S, LINGER_LOOK_S_MAX = 0.01, 0.5


def install(here: Callable[[], Remote], current: Callable[[], Remote | None]) -> None:
    """Have a worker of this process come here.

    Args:
        here: gives what its session has of remote calls, which is made if need be.
        current: gives that if there is any.
    """

    def make_safe() -> None:
        here().following.wait_safe()

    def hand_over(keep: list[Any], whom: tuple[str, str, str, int]) -> None:
        # Not what is pending now: what was pending when the answer was written.
        pending: list[ObjectRef] = [ref for held in keep if type(held) is Pending for ref in held.refs]
        if pending:
            here().following.hand_over(pending, Contact(*whom))

    def cancel_calls(attempt: int) -> None:
        if (remote := current()) is not None:
            _cancel_calls(remote, attempt)

    def linger() -> None:
        if (remote := current()) is not None:
            _linger(remote)

    worker_hooks.make_safe = make_safe
    worker_hooks.hand_over = hand_over
    worker_hooks.cancel_calls = cancel_calls
    worker_hooks.linger = linger


def _cancel_calls(remote: Remote, attempt: int) -> None:
    """On the second thread: the attempt is cancelled, and what it has called with it."""
    session = remote.session

    def find() -> None:
        """In a step."""
        core = session.core
        called = [task for task in core.unfinished(*core.pools.values()) if task.key == attempt]
        if called:
            session.leading.tell(CancelTasks(called, True))

    for waiting in [waiting for waiting in list(remote.waiting.values()) if waiting.task.key == attempt]:
        waiting.cancel()
    session.leading.tell(find)


class _Over(Promise):
    """Ready when a retired worker may go."""

    quick = False


def _linger(remote: Remote) -> None:
    """On the main thread of a worker that was told to retire."""
    session = remote.session
    over = _Over()
    said = False
    again_s = LINGER_LOOK_S

    def look() -> None:
        nonlocal said
        if over.settled:
            return
        if not said and actor_calls.is_actor:
            remote.leave_actors()
        if not remote.unfinished() and not remote.has_workers():
            over.settle()
            return
        if not said:
            said = True
            session.leading.tell(Leaving())
            session.leading.tell(
                lambda: session.shell.agents.say(session.shell.agents.home, encode(Lingers()))
            )

    def look_again() -> None:
        nonlocal again_s
        look()
        if not over.settled:
            remote.later(again_s, look_again)
            again_s = min(1.5 * again_s, LINGER_LOOK_S_MAX)

    session.on_worker_gone = look
    session.leading.tell(lambda: session.shell.deliveries.append(look_again))
    session.wait(over)
