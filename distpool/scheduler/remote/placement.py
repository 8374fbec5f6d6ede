"""Placement groups as a program has them: made, waited for, looked at, removed.

::

    make ── MakeGroup ──► agent ──► head ── places it, in its own time ──► created
    wait, when_placed ── GroupQuery(wait) ──► answered then; or when it is removed

One standing question for each group that somebody in this process waits for: a wait that runs out of time leaves it,
and the next one finds it. What is placed where is decided in ``cores.head_groups``. Not here: what may be asked for,
and in which words (``distpool.util.placement_group``).
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from distpool.errors import ClusterError, Failure
from distpool.scheduler import client
from distpool.scheduler.messages import (
    GROUP_REMOVED,
    GroupFacts,
    GroupQuery,
    GroupsReport,
    MakeGroup,
    RemoveGroup,
)
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.plans import Plan
from distpool.scheduler.remote.putting import put
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.shells.questions import Question


class _Standing:
    """Questions of a session that wait for groups, by group."""

    def __init__(self) -> None:
        self.questions: dict[str, Question] = {}
        self.lock = threading.Lock()


_standing: weakref.WeakKeyDictionary[client.Session, _Standing] = weakref.WeakKeyDictionary()


def make(facts: GroupFacts) -> None:
    """Have a group made; returns before it is placed. Raises ValueError for what the head will not make."""
    report = client.session().ask(MakeGroup(0, facts), GroupsReport)
    if report.refusal:
        raise ValueError(report.refusal)


def remove(group: str) -> None:
    """Give back what it has, and end what runs in it; nothing, if there is no such group."""
    client.session().ask(RemoveGroup(0, group), GroupsReport)


def find(group: str = "", name: str = "", namespace: str = "") -> list[GroupFacts]:
    """The group of this id, or this name; or all."""
    return list(client.session().ask(GroupQuery(0, group, name, namespace), GroupsReport).groups)


def wait(group: str, timeout_s: float | None) -> bool:
    """Whether it is placed within this time (None: however long it takes). At once False if it was removed."""
    session = client.session()
    question = _ask(session, group)
    return session.leading.wait(question, timeout_s) and _is_placed(question)


def when_placed(group: str, value: Any) -> ObjectRef:
    """A reference to ``value`` that is there when the group is placed, and fails if it is removed before."""
    session = client.session()
    ref = ObjectRef(Plan(name=f"the wait for placement group {group}"))
    encoded = put(value).value

    def then(question: Question) -> None:
        remote.later(0.0, lambda: deliver(question))

    def deliver(question: Question) -> None:
        try:
            placed = _is_placed(question)
        except ClusterError as error:
            ref.reject(0, Failure(reason=str(error)))
            return
        if placed:
            ref.fulfil(0, encoded)
        else:
            ref.reject(
                0,
                Failure(
                    reason=f"the placement group {group} was removed before it was placed", kind=GROUP_REMOVED
                ),
            )

    remote = here()
    session.begin_ask(GroupQuery(0, group, wait=True), then)
    return ref


def _ask(session: client.Session, group: str) -> Question:
    standing = _standing.setdefault(session, _Standing())
    with standing.lock:
        question = standing.questions.get(group)
        if question is None or question.settled:  # it may have lost a node since
            question = standing.questions[group] = session.begin_ask(GroupQuery(0, group, wait=True))
            for other in [name for name, asked in standing.questions.items() if asked.settled]:
                del standing.questions[other]
        return question


def _is_placed(question: Question) -> bool:
    report = question.value()
    assert isinstance(report, GroupsReport)
    return any(facts.state == "created" for facts in report.groups)
