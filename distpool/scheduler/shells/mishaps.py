"""The calls of this process that have failed of late, so that whoever asks sees why.

::

    Failed (of a pool's task, a remote call, a method) ──► note ──► the latest ``KEPT_MAX``, and how many in all
                                                             asked for "activity" ──► Mishap, with its traceback as text

A call that ends well never comes here. What was cancelled has not failed. The error stays as it came, and is read when
it is asked for: its text only, no code of the user's runs.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distpool.errors import describe_death
from distpool.scheduler.messages import Death, Failed

if TYPE_CHECKING:
    from distpool.scheduler.messages.activity import Mishap

__all__ = ["Mishaps"]

KEPT_MAX = 200
#: Of a pickled error that is bigger than this nothing is kept.
ERROR_BYTES_MAX = 32 << 10
#: So many are told at a time, the latest; and so much of the text of each, its end.
TOLD_MAX = 50
TEXT_CHARS_MAX = 8_000
#: Of so many askers it is known what they were told.
ASKERS_MAX = 8

_Kept = tuple[int, float, str, str, bytes | None, Death | None, str, str, str]


class Mishaps:
    """An owner's. ``name_of`` and ``id_of`` tell what a task is called; all in a step."""

    def __init__(self, name_of: Callable[[Any], str], id_of: Callable[[Any], str]) -> None:
        self.count = 0
        self._name_of = name_of
        self._id_of = id_of
        self._kept: deque[_Kept] = deque(maxlen=KEPT_MAX)
        self._told: dict[str, int] = {}

    def note(self, failed: Failed, sender: str) -> None:
        """A call has failed, as this worker has said ("worker:LEASE"), if one has."""
        if failed.reason == "cancelled" and failed.death is None and failed.error is None:
            return
        self.count += 1
        error, reason = failed.error, failed.reason
        if failed.overdue:
            reason = "it ran for longer than its time limit"
        if error is not None and len(error) > ERROR_BYTES_MAX:
            reason = f"its error is too big to be kept here: {len(error)} bytes"
            error = None
        task = failed.task
        name, number = self._name_of(task), self._id_of(task)
        lease = sender.partition(":")[2]
        self._kept.append(
            (self.count, time.time(), name, number, error, failed.death, reason, failed.kind, lease)
        )

    def tell(self, asker: str) -> tuple[Mishap, ...]:
        """The latest that this asker was not told of yet."""
        told = self._told.pop(asker, 0)
        self._told[asker] = self.count
        while len(self._told) > ASKERS_MAX:
            del self._told[next(iter(self._told))]
        new = [kept for kept in self._kept if kept[0] > told]
        return tuple(map(_mishap, new[-TOLD_MAX:]))


def _mishap(kept: _Kept) -> Mishap:
    from distpool.scheduler.messages.activity import Mishap  # for who asks: others need none of it

    number, at_s, name, task, error, death, reason, kind, lease = kept
    word, text = why(name, error, death, reason, kind)
    node, worker = "", 0
    if lease:
        start, _, last = lease.rpartition(".")
        node, worker = start.rpartition(".")[0], int(last)
    cut = len(text) > TEXT_CHARS_MAX
    return Mishap(number, at_s, name, word, text[-TEXT_CHARS_MAX:], node, worker, task, cut)


def why(
    name: str, error: bytes | None, death: Death | None, reason: str, kind: str, *, of_actor: bool = False
) -> tuple[str, str]:
    """Ray's word for why a call has failed, and what there is to say. No code of the user's runs."""
    if error is not None:
        word = "ACTOR_CREATION_FAILED" if kind == "actor constructor" else "TASK_EXECUTION_EXCEPTION"
        try:
            # Our own worker's pickle, a dict of texts and bytes: the exception in it stays pickled.
            return word, str(pickle.loads(error)["text"])
        except Exception:
            return word, "its error cannot be read"
    if reason == "cancelled" and death is None:
        return "TASK_CANCELLED", "it was cancelled"
    text = describe_death(name, death, reason)
    return "ACTOR_DIED" if of_actor or kind else "WORKER_DIED" if death else "OTHER", text
