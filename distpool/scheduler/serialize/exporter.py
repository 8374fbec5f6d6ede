"""The sending side: functions, arguments and results to bytes.

An Exporter belongs to one pool or executor, or to the process where there is none. It remembers what it has pickled,
and fixes what captured globals mean: with ``snapshot=True`` their values at the time it was made, as a fork would
have seen them; otherwise their values at each call.

::

    function(f) ── known and nothing rebound ──────────────────────► (id, blob) from the cache
         └─ else pickle f ─► needs: definitions by uid, globals by name
                                └─ each pickled alone, once ─► its own needs ─► ... ─► entries, needed first
                                                                                         └─► frame(entries, payload)

It holds no lock while user code runs (``__reduce__`` may submit tasks or wait for other threads); two threads that
pickle the same thing at once merely do it twice.
"""

from __future__ import annotations

import builtins
import pickle
import sys
from _thread import allocate_lock
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import _lru_cache_wrapper
from itertools import count
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

from distpool.scheduler.serialize.blobs import Entry, frame, pack_entries
from distpool.scheduler.serialize.byvalue import facts_of
from distpool.scheduler.serialize.explain import explain_pickling
from distpool.scheduler.serialize.pickler import Needs, TaskPickler, new_pickler
from distpool.scheduler.serialize.rebuild import ModuleFacts
from distpool.scheduler.serialize.registry import (
    MAIN,
    MISSING,
    REGISTRY,
    Namespace,
    NamespaceKey,
    Stamp,
    is_from,
)

#: Exact types that a short tuple may hold to be pickled by C alone; the bytes are the same, without a Python call.
_SIMPLE = frozenset({int, str, float, bool, bytes, type(None)})
_SIMPLE_TUPLE_MAX = 6

#: Pickled definitions, and functions ready to send, kept at most; the least recently used go first.
UNITS_MAX = 2_000
FUNCTIONS_MAX = 1_000
_CELLS_MAX = 5_000
_HEADERS_MAX = 256
_HEADER_BYTES_MAX = 64 * 1024

_function_ids = count(1)

#: A global or a cell that was read while a function was pickled, and what it held.
Read = tuple[Namespace | CellType, str, Any]
#: A captured global as a pickler asks for it.
Place = tuple[NamespaceKey, str]


class Unit:
    """One thing that is pickled alone: a definition, or one version of a captured global."""

    __slots__ = ("data", "facts", "needs", "obj", "stamp", "uid")

    def __init__(
        self, uid: int, obj: Any, stamp: Stamp | None, facts: ModuleFacts | None, data: bytes, needs: Needs
    ) -> None:
        self.uid = uid
        self.obj = obj
        self.stamp = stamp
        self.facts = facts
        self.data = data
        self.needs = needs

    def entry(self) -> Entry:
        """As it stands in a blob."""
        return self.uid, None if self.stamp is None else tuple(self.stamp), self.facts, self.data


class Exported:
    """A function ready to send, and what must still be so for its blob to be right."""

    __slots__ = ("answer", "function", "is_used", "reads")

    def __init__(self, function: Any, answer: tuple[int, bytes], reads: list[Read]) -> None:
        self.function = function
        self.answer = answer
        self.reads = reads
        self.is_used = False


class Exporter:
    """Pickles for one pool or executor (or, with ``snapshot=False``, for a process without one). Thread-safe.

    Args:
        snapshot: fix the globals of ``__main__`` now, shallowly, as a fork would; names that are defined later are
            still found. Without it each call sees the globals of its time.
        closures: send functions that have no name to find them by; without it they are refused with the standard
            pickle's own error. (Classes and their methods go by value in any case.)
    """

    def __init__(self, snapshot: bool = True, closures: bool = True) -> None:
        self.uid = REGISTRY.new_uid()
        self.sends_closures = closures
        self._snapshot: Namespace | None = None
        if snapshot:
            self._snapshot = dict(sys.modules[MAIN].__dict__)
        self._lock = allocate_lock()
        self._functions: OrderedDict[int, Exported] = OrderedDict()
        self._definitions: OrderedDict[int, Unit] = OrderedDict()
        self._globals: dict[Place, Unit] = {}
        self._stamps: dict[Place, tuple[Any, Stamp]] = {}
        self._cells: OrderedDict[int, tuple[CellType, Any, int]] = OrderedDict()
        self._headers: OrderedDict[tuple[Any, ...], tuple[bytes, list[Read]]] = OrderedDict()
        self._free: list[tuple[TaskPickler, list[bytes]]] = []

    # --------------------------------------------------------------------------------- functions

    def function(self, function: Callable[..., Any]) -> tuple[int, bytes]:
        """The id and the blob of something to call.

        Plain functions, builtins and classes are pickled once, and again only after a global that they read was
        rebound; the id, positive, may then be used for every call. Anything else (partials, bound methods, callable
        objects) may have changed since the last call: it is pickled anew, under a new *negative* id, and a worker
        should load its blob afresh for each call, since a call may change the object.

        Raises:
            Whatever pickle raises, of the same type, with a note that names the path to the culprit.
        """
        known = self._functions.get(id(function))
        if known is not None and known.function is function and (not known.reads or _is_current(known.reads)):
            known.is_used = True
            return known.answer
        return self._export(function)

    def _export(self, function: Callable[..., Any]) -> tuple[int, bytes]:
        try:
            payload, needs, cells = self._pickle(function)
            header, reads = self._header(needs)
        except Exception as error:
            label = getattr(function, "__qualname__", None) or type(function).__qualname__
            explain_pickling(error, function, str(label), self._try)
            raise
        blob = frame(header, payload) if header else payload
        if not _is_stable(function):
            return -next(_function_ids), blob
        answer = next(_function_ids), blob
        reads = [*reads, *((cell, "", content) for cell, content in cells)]
        self._functions[id(function)] = Exported(function, answer, reads)
        if len(self._functions) > FUNCTIONS_MAX:
            self._drop_functions()
        return answer

    def _drop_functions(self) -> None:
        """Make room; what was used since it last came to the head of the line goes to its end once more."""
        while len(self._functions) > FUNCTIONS_MAX:
            try:
                key, oldest = self._functions.popitem(last=False)
            except KeyError:  # other threads make room too
                return
            if oldest.is_used:
                oldest.is_used = False
                self._functions[key] = oldest

    # --------------------------------------------------------------------------- arguments, results

    def dumps(
        self,
        obj: Any,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        *,
        label: str = "args",
        to: int = 0,
    ) -> bytes:
        """Pickle any object; the copy is complete when this returns.

        Args:
            obj: arguments or a result.
            buffer_callback: as in ``pickle.Pickler``: gets large buffers, which then travel apart.
            label: what the path in an error's note begins with.
            to: the token of the process that will load it: its own definitions are then only named.

        Raises:
            Whatever pickle raises, of the same type, with a note like ``at args[0].lock: cannot pickle ...``.
        """
        if type(obj) is tuple and len(obj) <= _SIMPLE_TUPLE_MAX:
            for item in obj:
                if type(item) not in _SIMPLE:
                    break
            else:
                return pickle.dumps(obj, 5)
        try:
            if buffer_callback is not None:
                return self._dumps(obj, buffer_callback, to)
            # What _dumps does, in line, for the common case.
            try:
                pickler, chunks = self._free.pop()
            except IndexError:
                pickler, chunks = self._new_pickler()
            pickler.dump(obj)
            if pickler.needs or pickler.hollow or len(chunks) > 1:
                payload, needs, _ = self._take(pickler, chunks)
                header, _ = self._header(needs, to)
                return frame(header, payload) if header else payload
            pickler.clear_memo()
            payload = chunks.pop()
            self._free.append((pickler, chunks))
            return payload
        except Exception as error:
            explain_pickling(error, obj, label, self._try)
            raise

    def _dumps(self, obj: Any, buffer_callback: Callable[[Any], Any] | None = None, to: int = 0) -> bytes:
        payload, needs, _ = self._pickle(obj, buffer_callback)
        header, _ = self._header(needs, to)
        return frame(header, payload) if header else payload

    def _try(self, obj: Any) -> None:
        """Pickle ``obj`` with all that it needs, for ``explain``: only whether it raises counts."""
        self._dumps(obj)

    # ----------------------------------------------------------------------------------- pickling

    def _pickle(
        self, obj: Any, buffer_callback: Callable[[Any], Any] | None = None
    ) -> tuple[bytes, Needs, list[tuple[CellType, Any]]]:
        if buffer_callback is None:
            try:
                pickler, chunks = self._free.pop()
            except IndexError:
                pickler, chunks = self._new_pickler()
            pickler.dump(obj)  # if it raises, the pickler is not used again
            return self._take(pickler, chunks)
        pickler, chunks = self._new_pickler(buffer_callback)
        pickler.dump(obj)
        return b"".join(chunks), pickler.needs, pickler.seen_cells

    def _take(
        self, pickler: TaskPickler, chunks: list[bytes]
    ) -> tuple[bytes, Needs, list[tuple[CellType, Any]]]:
        """What a pickler has made; the pickler is free for the next."""
        payload = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        needs, cells = pickler.needs, pickler.seen_cells
        pickler.reset()
        chunks.clear()
        self._free.append((pickler, chunks))
        return payload, needs, cells

    def _pickle_unit(self, obj: Any, root: Any) -> tuple[bytes, Needs]:
        pickler, chunks = self._new_pickler()
        pickler.root = root
        pickler.shares_cells = True
        pickler.dump(obj)
        return b"".join(chunks), pickler.needs

    def _new_pickler(
        self, buffer_callback: Callable[[Any], Any] | None = None
    ) -> tuple[TaskPickler, list[bytes]]:
        chunks: list[bytes] = []
        return new_pickler(self, _Chunks(chunks.append), buffer_callback), chunks

    # -------------------------------------------------------------------------- what comes along

    def _header(self, needs: Needs, to: int = 0) -> tuple[bytes, list[Read]]:
        """The entries that must come before a pickle with these needs (empty if none), and what was read for them."""
        if not needs:
            return b"", []
        key = (to, *needs)
        known = self._headers.get(key)
        if known is not None and (not known[1] or _is_current(known[1])):
            return known
        units, reads = self._collect(needs, to)
        header = pack_entries(unit.entry() for unit in units) if units else b""
        if len(header) <= _HEADER_BYTES_MAX:
            self._headers[key] = header, reads
            if len(self._headers) > _HEADERS_MAX:
                self._pop_oldest(self._headers)
        return header, reads

    def _collect(self, needs: Needs, to: int = 0) -> tuple[list[Unit], list[Read]]:
        """All units that ``needs`` lead to, each after what it needs itself; and the globals that were read."""
        units: list[Unit] = []
        reads: list[Read] = []
        seen = set()
        path: list[tuple[Unit | None, Iterable[Any]]] = [(None, iter(list(needs.items())))]
        while path:
            unit, rest = path[-1]
            for need, source in rest:
                if need in seen:
                    continue
                seen.add(need)
                if isinstance(need, int):
                    child = None if to and is_from(need, to) else self._definition_unit(need, source)
                else:
                    child = self._global_unit(need, source, reads, to)
                if child is not None:
                    path.append((child, iter(list(child.needs.items()))))
                    break
            else:
                path.pop()
                if unit is not None:
                    units.append(unit)
        return units, reads

    def _definition_unit(self, uid: int, obj: Any) -> Unit:
        unit = self._definitions.get(uid)
        if unit is None:
            data, needs = self._pickle_unit(obj, root=obj)
            unit = self._definitions[uid] = Unit(uid, obj, None, None, data, needs)
            if len(self._definitions) > UNITS_MAX:
                self._pop_oldest(self._definitions)
        return unit

    def _global_unit(self, place: Place, namespace: Namespace, reads: list[Read], to: int) -> Unit | None:
        key, name = place
        value = self.lookup(key, namespace, name)
        if not self._is_fixed(key, name, value):
            reads.append((namespace, name, value))
        if value is MISSING:
            return None
        unit = self._globals.get(place)
        if unit is None or unit.obj is not value:
            stamp = REGISTRY.origin(key, name, value) or self._stamp(key, name, value)
            if to and is_from(stamp.uid, to):
                return None
            data, needs = self._pickle_unit(value, root=None)
            unit = self._globals[place] = Unit(stamp.uid, value, stamp, facts_of(key, namespace), data, needs)
        return None if to and is_from(unit.uid, to) else unit

    def _stamp(self, key: NamespaceKey, name: str, value: Any) -> Stamp:
        """The version of a global's value: a new one whenever the name has been rebound."""
        with self._lock:
            known = self._stamps.get((key, name))
            if known is not None and known[0] is value:
                return known[1]
            stamp = Stamp(self.uid, REGISTRY.new_uid(), key, name)
            self._stamps[key, name] = (value, stamp)
            return stamp

    # ------------------------------------------------------------------------- asked by picklers

    def lookup(self, key: NamespaceKey, namespace: Namespace, name: str) -> Any:
        """What a global means for the functions of this exporter, MISSING if nothing."""
        if self._snapshot is not None and key == MAIN:
            value = self._snapshot.get(name, MISSING)
            if value is not MISSING:
                return value
        return namespace.get(name, MISSING)

    def redefine(self, key: NamespaceKey, namespace: Namespace, name: str) -> None:
        """A function or class is being sent that ``name`` leads to now: it must not meet its own predecessor.

        In a notebook a pool outlives the definitions that were there when it was made.
        """
        snapshot = self._snapshot
        if snapshot is None or key != MAIN or name not in snapshot or snapshot[name] is namespace.get(name):
            return
        snapshot[name] = namespace[name]
        self._functions.clear()
        self._headers.clear()

    def cell_uid(self, cell: CellType, content: Any) -> int:
        """The identity of a shared cell for as long as it holds ``content``."""
        with self._lock:
            known = self._cells.get(id(cell))
            if known is not None and known[1] is content:
                return known[2]
            uid = REGISTRY.new_uid()
            self._cells[id(cell)] = (cell, content, uid)
        while len(self._cells) > _CELLS_MAX:
            self._pop_oldest(self._cells)
        return uid

    def _is_fixed(self, key: NamespaceKey, name: str, value: Any) -> bool:
        """Whether what was read cannot change any more for this exporter."""
        if self._snapshot is None or key != MAIN:
            return False
        return name in self._snapshot or (value is MISSING and hasattr(builtins, name))

    @staticmethod
    def _pop_oldest(table: OrderedDict[Any, Any]) -> None:
        try:
            table.popitem(last=False)
        except KeyError:  # another thread was quicker
            pass


class _Chunks:
    """A file for the C pickler that costs nothing: its ``write`` is a list's ``append``."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


def _is_current(reads: list[Read]) -> bool:
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


def _is_stable(function: Any) -> bool:
    """Whether a callable's meaning is fixed by its identity."""
    kind = type(function)
    if kind is FunctionType or issubclass(kind, (type, _lru_cache_wrapper)):
        return True
    if kind is BuiltinFunctionType:
        owner = function.__self__
        return owner is None or isinstance(owner, (ModuleType, type))
    return False
