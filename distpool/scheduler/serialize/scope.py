"""What names and cells mean to the picklers of one exporter.

With a snapshot, the globals of ``__main__`` mean what they did when it was made, as a fork would have seen them;
without one, what they mean now. It is apart from the Exporter because its picklers ask here: they live in the
exporter, and would keep it alive.
"""

from __future__ import annotations

import builtins
import sys
from _thread import allocate_lock
from collections import OrderedDict
from types import CellType
from typing import Any

from distpool.scheduler.serialize.registry import MAIN, MISSING, REGISTRY, Namespace, NamespaceKey

_CELLS_MAX = 5_000

#: A global or a cell that was read while a function was pickled, and what it held.
Read = tuple[Namespace | CellType, str, Any]


class Scope:
    """Asked by picklers. Thread-safe.

    Args:
        snapshot: fix the globals of ``__main__`` now.
        closures: whether functions may be sent that have no name to find them by.
    """

    def __init__(self, snapshot: bool, closures: bool) -> None:
        self.sends_closures = closures
        #: What was pickled with the meanings of now; cleared when one of them changes.
        self.caches: list[OrderedDict[Any, Any]] = []
        self._snapshot: Namespace | None = dict(sys.modules[MAIN].__dict__) if snapshot else None
        self._lock = allocate_lock()
        self._cells: OrderedDict[int, tuple[CellType, Any, int]] = OrderedDict()

    def forget(self) -> None:
        """Let go of the snapshot, which holds all that the program had at that time."""
        self._snapshot = None
        self.caches.clear()

    def lookup(self, key: NamespaceKey, namespace: Namespace, name: str) -> Any:
        """What a global means, MISSING if nothing."""
        if self._snapshot is not None and key == MAIN:
            value = self._snapshot.get(name, MISSING)
            if value is not MISSING:
                return value
        return namespace.get(name, MISSING)

    def is_fixed(self, key: NamespaceKey, name: str, value: Any) -> bool:
        """Whether what ``lookup`` gave cannot change any more."""
        if self._snapshot is None or key != MAIN:
            return False
        return name in self._snapshot or (value is MISSING and hasattr(builtins, name))

    def redefine(self, key: NamespaceKey, namespace: Namespace, name: str) -> None:
        """A function or class is being sent that ``name`` leads to now: it must not meet its own predecessor.

        In a notebook a pool outlives the definitions that were there when it was made.
        """
        snapshot = self._snapshot
        if snapshot is None or key != MAIN or name not in snapshot or snapshot[name] is namespace.get(name):
            return
        snapshot[name] = namespace[name]
        for cache in self.caches:
            cache.clear()

    def cell_uid(self, cell: CellType, content: Any) -> int:
        """The identity of a shared cell for as long as it holds ``content``."""
        with self._lock:
            known = self._cells.get(id(cell))
            if known is not None and known[1] is content:
                return known[2]
            uid = REGISTRY.new_uid()
            self._cells[id(cell)] = (cell, content, uid)
        while len(self._cells) > _CELLS_MAX:
            pop_oldest(self._cells)
        return uid


def is_current(reads: list[Read]) -> bool:
    """Whether no global or cell that was read has been rebound since."""
    for holder, name, value in reads:
        if type(holder) is dict:
            if holder.get(name, MISSING) is not value:
                return False
        else:
            try:
                if holder.cell_contents is not value:  # type: ignore[union-attr]
                    return False
            except ValueError:  # emptied by `del`
                return False
    return True


def pop_oldest(table: OrderedDict[Any, Any]) -> None:
    """Make room for one."""
    try:
        table.popitem(last=False)
    except KeyError:  # another thread was quicker
        pass
