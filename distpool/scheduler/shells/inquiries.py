"""Who in this process answers what somebody in the cluster asks, by topic; and who knows what its calls are called.

::

    agent ── Inquire ──► OwnerShell ──► Inquiries.answer ──► topics["tasks"]  (``remote.records``), ...
          ◄─ Inquired ──      say(b"...") ◄──────────────────── outlook        "activity", "load", ..., made when asked

It answers in a step, so nothing of it may be slow, or wait. A topic that nobody knows is answered by nothing at all.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distpool import worker_hooks
from distpool.scheduler.messages import Inquire

if TYPE_CHECKING:
    from distpool.scheduler.cores.tasks import Task
    from distpool.scheduler.messages.insights import Ended, Needed
    from distpool.scheduler.shells.outlook import Outlook

#: Gets the question, and what to call with the answer; both in a step.
Inquiry = Callable[[Inquire, Callable[[bytes], None]], None]

#: A task that waits outside of the core: itself, its state, how many come first, what it needs, how much more of that.
Outside = tuple[Any, str, int, "tuple[Needed, ...]", int]

OUTLOOK_TOPICS = ("activity", "load", "why", "stacks")


@dataclass
class Knowledge:
    """What the core does not know of its tasks; whoever makes them replaces these."""

    #: What pools are called, by their numbers, and the ids of the actors that some of them are.
    names_of_pools: Callable[[], Mapping[int, tuple[str, str]]] = dict
    #: What a task's function is called.
    name_of: Callable[[Task], str] = lambda _task: ""
    #: The name of the task itself, the same in every process; pools' tasks have none.
    id_of: Callable[[Task], str] = lambda _task: ""
    #: Of what a person has typed: whether a task is meant that is called like this.
    matcher: Callable[[str], Callable[[Task, str], bool]] = lambda about: lambda _task, name: name == about
    #: Tasks that are waiting for their arguments, or for their turn.
    waiting_outside: Callable[[], Iterable[Outside]] = lambda: ()
    #: Those that have ended of late, and are meant.
    ended: Callable[[str], list[Ended]] = lambda _about: []


@dataclass
class Inquiries:
    """A part of a session. ``make`` makes what answers the topics of ``outlook``."""

    make: Callable[[Knowledge], Outlook]
    topics: dict[str, Inquiry] = field(default_factory=dict)
    knowledge: Knowledge = field(default_factory=Knowledge)
    _outlook: Outlook | None = None

    def answer(self, question: Inquire, say: Callable[[bytes], None]) -> None:
        """Somebody asks."""
        inquiry = self.topics.get(question.topic)
        if inquiry is None and question.topic in OUTLOOK_TOPICS:
            if self._outlook is None:
                self._outlook = self.make(self.knowledge)
            inquiry = self._outlook.answer
        try:
            if question.topic == "metrics":
                say(b"" if worker_hooks.tell_metrics is None else worker_hooks.tell_metrics())
            elif inquiry is None:
                say(b"")
            else:
                inquiry(question, say)
        except Exception:  # a bug of ours, and whoever has asked must not be the end of this session
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            say(b"")
