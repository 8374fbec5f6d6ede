"""Concurrency groups: how many calls of an actor may run at once, and what waits for its turn.

::

    call ──► its method's group, "" for the rest ── room ──► begins
                                                 └─ none ──► group.waiting ── one of the group ends ──► begins
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from distpool.scheduler.messages import ActorTerms
from distpool.scheduler.shells.actor_links import Call


class Group:
    """One group. Only its actor's server changes it; anybody may take a call out of ``waiting``."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting: deque[Call] = deque()

    def next(self) -> Call | None:
        """The call that may begin now, if there is one."""
        if self.running >= self.limit:
            return None
        try:
            return self.waiting.popleft()
        except IndexError:
            return None  # the second thread took it back


class Groups:
    """The groups of one actor."""

    def __init__(self, terms: ActorTerms) -> None:
        self.by_name = {"": Group(terms.concurrency)}
        self.by_name.update({name: Group(limit) for name, limit in terms.groups.items()})

    def of(self, call: Call) -> Group:
        """The group that a call is counted in.

        Raises:
            AttributeError: the actor has no such method.
            ValueError: it has no such group.
        """
        name = call.method.resolved().group
        group = self.by_name.get(name)
        if group is None:
            known = ", ".join(sorted(filter(None, self.by_name))) or "none"
            raise ValueError(
                f"the actor has no concurrency group {name!r}; those that it was created with: {known}"
            )
        return group

    def waiting(self) -> Iterable[deque[Call]]:
        """Where calls wait."""
        return [group.waiting for group in self.by_name.values()]
