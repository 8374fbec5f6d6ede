"""The promises of calls whose outcome is not simply their reference's.

::

    worker ── a list of values ──► Parts ──► a reference for each (of a generator that raised, the last ones fail)
           ── raised ──► Attempts ── may it be tried again? ── yes ──► the call is made again, with this promise
                            └── no, or it has a result ──► the promise behind it: a reference, or Parts

Not here: a call that yields its values (``generators``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.plans import ENDLESS, Plan
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.shells.remote_calls import ERROR

if TYPE_CHECKING:
    from distpool.scheduler.cores.tasks import Task
    from distpool.scheduler.remote.submitting import Call

__all__ = ["Attempts", "Parts", "Retries"]


class Parts(Promise):
    """The promise of a call that gives several values: each goes to a reference of its own."""

    __slots__ = ("maker", "number", "refs", "settled", "wakeups")

    raw = True

    def __init__(self, results: list[ObjectRef], plan: Plan) -> None:
        self.refs = results
        self.maker = plan
        self.number = results[0].number if results else refs.next_number()
        self.settled = False
        self.wakeups = None

    @property
    def quick(self) -> bool:  # type: ignore[override]
        """Whether settling it runs nothing of others."""
        return all(ref.quick for ref in self.refs)

    def fulfil(self, key: int, value: Any) -> None:
        """A list of values, as the worker has taken its result apart."""
        for ref, part in zip(self.refs, value or (), strict=True):
            if type(part) is dict:
                ref.task = None
                ref.reject(0, Failure(error=part[ERROR]))
            else:
                ref.fulfil(0, part)
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        """None of them has a value."""
        for ref in self.refs[:1]:
            ref.reject(0, failure)
            if not ref.settled:
                return  # the call is made again
        for ref in self.refs[1:]:
            ref.task = None
            ref.reject(0, failure)
        self.settle()


class Retries:
    """How often a call that raises may be made again; deaths of its workers use up the same."""

    __slots__ = ("_may", "left")

    def __init__(self, plan: Plan) -> None:
        self._may = plan.retry_on
        self.left = ENDLESS if plan.retries < 0 else plan.retries

    def use_one(self, failure: Failure, task: Task | None) -> bool:
        """Whether the call may be made again after this. ``task``: its last attempt."""
        if task is not None:
            self.left = min(self.left, task.retries)
        if self.left <= 0 or failure.error is None or self._may is None or not self._may(failure):
            return False
        self.left -= 1
        return True


class Attempts(Promise):
    """The promise of a call that is made again if it raises; ``promise`` gets how it ended at last."""

    raw = True
    quick = False

    def __init__(self, made: Call, promise: Promise) -> None:
        self._made = made
        self._promise = promise
        self._retries = Retries(made.plan)

    @property
    def number(self) -> int:
        """That of the call's (first) result."""
        number: int = self._promise.number  # type: ignore[attr-defined]
        return number

    @property
    def maker(self) -> Plan:
        """How it is called."""
        return self._made.plan

    def fulfil(self, key: int, value: Any) -> None:
        """Done; or a generator has raised after some of its values."""
        raised = value[-1] if type(value) is list and value and type(value[-1]) is dict else None
        if raised is None or not self._again(Failure(error=raised[ERROR])):
            self._promise.fulfil(0, value)

    def reject(self, key: int, failure: Failure) -> None:
        """Try again, if that may help."""
        if not self._again(failure):
            self._promise.reject(0, failure)

    def _again(self, failure: Failure) -> bool:
        """Returns whether it is."""
        results = self._promise.refs if isinstance(self._promise, Parts) else [self._promise]
        task = results[0].task if results else None  # type: ignore[attr-defined]
        if not self._retries.use_one(failure, task):
            return False
        self._made.start(self, self._retries.left, results)  # type: ignore[arg-type]
        return True
