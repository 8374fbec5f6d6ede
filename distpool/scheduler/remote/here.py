"""What a process has of remote calls, beside its session: made at the first call, and ended with the session.

::

    here() ──► Remote ─┬─ pools      the workers, by shape                ``shared_pools``
                       ├─ waiting    calls whose arguments are pending    ``submitting``
                       ├─ following  values that other processes make     ``following``
                       ├─ lineage    how values are made again            ``lineage``, ``recovering``
                       ├─ adopting   actors that outlive who made them    ``adopting``
                       └─ records    what has run, for people             ``records``

References know nothing of sessions: what happens to one is told to the lists of hooks in ``refs``, and from there to
these parts. ``in_worker`` does the same for what happens to a worker's tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from distpool.errors import Failure
from distpool.scheduler import client
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import Contact, Preload, encode
from distpool.scheduler.remote import in_worker, refs
from distpool.scheduler.remote.following import EARLY_S, Following
from distpool.scheduler.remote.lineage import Lineage
from distpool.scheduler.remote.origins import Item, Origin
from distpool.scheduler.remote.records import Records
from distpool.scheduler.remote.recovering import Recovering
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.remote.shared_pools import SharedPools
from distpool.scheduler.session import Session
from distpool.scheduler.shells import worker_start

if TYPE_CHECKING:
    from distpool.scheduler.remote.adopting import Adopting
    from distpool.scheduler.remote.submitting import Waiting

__all__ = ["Remote", "current", "here"]

#: What workers of remote calls need, and would have to import one by one.
PRELOADED = ("distpool.tasks", "distpool.objects", "distpool.actors", "distpool.scheduler.shells.actor_loop")


class Remote:
    """What a session has of remote calls."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.leading = session.leading
        self.pools = SharedPools(session)
        self.following = Following(session)
        self.adopting = _adopting(session)
        self.records = Records(session)
        self.lineage = Lineage(session)
        self.recovering = Recovering(session)
        self.waiting: dict[ObjectRef, Waiting] = {}  # calls, by their (first) result
        if worker_start.this_worker is None:
            preload = encode(Preload(PRELOADED))
            self.leading.tell(lambda: session.shell.agents.tell_all(preload))

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Call ``what`` on the thread that delivers, after a while."""
        shell = self.session.shell
        self.leading.tell(lambda: shell.call_later(delay_s, what))

    def end(self) -> None:
        """The session has ended: what nobody will ever settle is lost."""
        failure = Failure(reason="the session that it was made in has ended", kind="lost")
        for waiting in list(self.waiting.values()):
            waiting.task.token.reject(0, failure)
        self.waiting.clear()
        self.following.end(failure)
        self.recovering.end(failure)

    def unfinished(self) -> bool:
        """Whether this process must stay: it has calls under way, or owes others values or actors. In a delivery."""
        for pool in list(self.session.core.pools.values()):
            actor = pool.actor
            if pool.pending or pool.offered or pool.resting:
                return True
            if actor is not None and actor.borrow is None and pool.live:
                return True
        return bool(self.waiting) or self.following.owes

    def cancel_for_another(self, ref: ObjectRef, *, force: bool, recursive: bool) -> None:
        """Another process cancels a call of this one's; a method's not by force, which would end the actor."""
        from distpool.scheduler.remote import submitting  # which stands on this module

        of_actor = getattr(ref.maker, "link", None) is not None
        submitting.cancel(ref, force=force and not of_actor, recursive=recursive)

    def leave_actors(self) -> None:
        """This process is an actor that ends: see ``actors.leave_to_others``. In a delivery."""
        from distpool.scheduler.remote import actors  # which stands on this module

        actors.leave_to_others()

    def has_workers(self) -> bool:
        """Whether shared workers of this process are there still: they would end with it. In a delivery."""
        return any(pool.leases for pool in list(self.session.core.pools.values()) if not pool.dedicated)


def here() -> Remote:
    """This process's, of its session, which the first call starts."""
    session = client.session()
    remote: Remote | None = session.remote
    if remote is None:
        with _making:
            remote = session.remote
            if remote is None:
                remote = session.remote = Remote(session)
    return remote


def current() -> Remote | None:
    """This process's, if it has made any call."""
    session = client.current()
    return None if session is None else session.remote


def _adopting(session: Session) -> Adopting:
    from distpool.scheduler.remote.adopting import Adopting  # which stands on this module

    return Adopting(session)


_making = threading.RLock()

# ------------------------------------------------------------------- what happens to this process's references


def _arrived(ref: ObjectRef, expected: bool, via: Contact | None) -> None:
    here().following.follow(ref, expected, via)


def _gone(ref: ObjectRef, whom: Contact) -> None:
    here().recovering.arrived(ref, whom)


def _remember(ref: ObjectRef, task: Task) -> Origin | Item | None:
    return here().lineage.remember(ref, task)


def _failed(task: Task, failure: Failure) -> bool:
    return here().lineage.failed(task, failure)


def _returned(ref: ObjectRef) -> None:
    if (remote := current()) is not None:
        remote.following.came_back(ref)


def _keep_a_while(unkept: list[ObjectRef]) -> None:
    """An exception with references in it is loaded when somebody asks for it; whoever raised it has let go by then."""
    if (remote := current()) is not None:
        remote.later(EARLY_S, unkept.clear)


refs.on_arrival.append(_arrived)
refs.on_gone.append(_gone)
refs.on_stored.append(_remember)
refs.on_failed.append(_failed)
refs.on_return.append(_returned)
refs.on_unkept.append(_keep_a_while)
in_worker.install(here, current)
