"""The line of what a program is to be told, and how each thing in it is passed on.

::

    step ── Done, Failed, Yields, events, functions, Behind ──► Deliveries ── pass_on ──► promise.fulfil / reject
                                                                    │                     on_event, a function
                                        Behind: not before so many remarks have been handled (``reissue``)

User code runs here, and never in a step. Whatever a front door raises, the others get theirs.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from distpool.engines.protocol import Promise
from distpool.errors import CannotUnpickle, Failure
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import Done, Failed, Local, Yields
from distpool.scheduler.serialize import loads_result
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells.reissue import Behind, Reissue

#: Arguments in the name of a call that has failed are cut to so many characters.
LABEL_ARGUMENTS_MAX = 80


class Deliveries(deque[Any]):
    """The line itself: append to it from anywhere; all else is its leader's. ``on_event`` gets what concerns pools.

    ``name_of`` tells what a task's function is called, "" where nobody knows; for the text of errors.
    """

    def __init__(
        self, reissue: Reissue, on_event: Callable[[Local], None], name_of: Callable[[Task], str]
    ) -> None:
        super().__init__()
        self.woke_waiter = False  # a promise that somebody sleeps for was served since this was last reset
        self._reissue = reissue
        self._on_event = on_event
        self._name_of = name_of
        self._unfinished: list[Iterator[tuple[Task, Any]]] = []  # batches that are being passed on

    def take(self) -> Any:
        """Take the next out of the line; None if there is none, or remarks that came before it are not handled yet."""
        reissue = self._reissue
        try:
            while type(item := self.popleft()) is Behind:
                reissue.awaited = True  # before looking: what is handled after it is told
                if not reissue.is_past(item.number):
                    self.appendleft(item)
                    return None
                reissue.awaited = False
            return item
        except IndexError:
            return None

    @property
    def is_held_up(self) -> bool:
        """Whether there is something in the line, and ``take`` would give none now."""
        try:
            front = self[0]
        except IndexError:
            return False
        return type(front) is Behind and not self._reissue.is_past(front.number)

    def pass_on_all(self) -> None:
        """Pass on everything that there is to pass on, in order."""
        for pairs in list(self._unfinished):
            self._pass_on_pairs(
                pairs
            )  # a callback waits for a result, perhaps of the very batch it came with
        while (item := self.take()) is not None:
            self.pass_on(item)

    def pass_on(self, item: Any) -> None:
        """Pass one outcome on."""
        if type(item) is Done:
            pairs = zip(item.tasks, item.values, strict=True)
            self._unfinished.append(pairs)
            try:
                self._pass_on_pairs(pairs)
            finally:
                self._unfinished.remove(pairs)
            return
        try:
            if callable(item):
                item()
            elif type(item) is Yields:
                failure = None if item.error is None else Failure(error=item.error)
                item.task.token.item(item.index, item.value, failure)
            elif type(item) is Failed:
                promise = item.task.token
                if promise.wakeups is not None or (
                    promise.group is not None and promise.group.wakeups is not None
                ):
                    self.woke_waiter = True
                promise.reject(item.task.key, _failure(item, self._name_of))
            else:
                self._on_event(item)
        except BaseException:
            _report()

    def _pass_on_pairs(self, pairs: Iterator[tuple[Task, Any]]) -> None:
        for task, value in pairs:
            promise = task.token
            if promise.wakeups is not None or (
                (group := promise.group) is not None and group.wakeups is not None
            ):
                self.woke_waiter = True
            try:
                if (type(value) is bytes or type(value) is Kept) and not promise.raw:
                    try:
                        value = value.load() if isinstance(value, Kept) else loads_result(value)
                    except BaseException as error:
                        broken = CannotUnpickle.explained("the result", error)
                        promise.reject(task.key, Failure(exception=broken))
                        continue
                promise.fulfil(task.key, value)
            except BaseException:
                _report()


def is_for(item: Any, promise: Promise) -> bool:
    """Whether a delivery concerns this promise, or the calls that it stands for, and no other."""
    if type(item) is Done:
        return all(task.token is promise or task.token.group is promise for task in item.tasks)
    return type(item) is Failed and (item.task.token is promise or item.task.token.group is promise)


def _failure(item: Failed, name_of: Callable[[Task], str]) -> Failure:
    task: Task = item.task
    if item.overdue:
        assert task.limit is not None
        return Failure(limit_s=task.limit.limit_s, label=_label(task, task.limit.name, task.payload))
    was_its_death = item.death is not None and not item.reason
    label = "" if not was_its_death or task.token.raw else _label(task, name_of(task), item.arguments)
    cancelled = item.error is None and item.death is None and item.reason == "cancelled"
    return Failure(
        error=item.error,
        death=item.death,
        cancelled=cancelled,
        reason=item.reason,
        kind=item.kind,
        label=label,
    )


def _label(task: Task, name: str, values: Any) -> str:
    """What a call was: its function's name, with its arguments where those are at hand and short."""
    if not name:
        return ""
    if type(values) is not list:
        return f"{name} (item {task.key})" if task.limit is not None and task.limit.many else name
    arguments = ", ".join(map(repr, values))
    return f"{name}({arguments if len(arguments) <= LABEL_ARGUMENTS_MAX else arguments[:LABEL_ARGUMENTS_MAX] + '...'})"


def _report() -> None:
    """A front door raised, which it must not: say so as a thread would, and go on."""
    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
