"""What must come along with a pickle: definitions and captured globals, each pickled alone, once.

::

    needs of a pickle ─► collect ─► Unit ─► its own needs ─► ... ─► entries, needed first ─► header
                                     └─ big buffers: into the store, held by the Unit

A unit that lies in the store is stored once, however many functions and calls need it; when its global is rebound, the
old version is let go as soon as no pending call needs it. Where a blob's reader cannot rely on this process to hold
things (results), or there is no store, units are in band.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.blobs import Entry, frame
from distpool.scheduler.serialize.byvalue import facts_of
from distpool.scheduler.serialize.pickler import Needs, new_pickler
from distpool.scheduler.serialize.rebuild import ModuleFacts
from distpool.scheduler.serialize.registry import (
    MISSING,
    REGISTRY,
    Namespace,
    NamespaceKey,
    Stamp,
    is_from,
)
from distpool.scheduler.serialize.scope import Read, Scope, is_current, pop_oldest
from distpool.scheduler.serialize.stored import STORED_BYTES_MIN, Held, Store

#: Pickled definitions kept at most; the least recently used go first.
UNITS_MAX = 2_000
_HEADERS_MAX = 256
_HEADER_BYTES_MAX = 64 * 1024

#: A captured global as a pickler asks for it.
Place = tuple[NamespaceKey, str]


class Unit:
    """One thing that is pickled alone: a definition, or one version of a captured global."""

    __slots__ = ("data", "facts", "kept", "needs", "obj", "stamp", "store", "uid")

    def __init__(self, uid: int, obj: Any, stamp: Stamp | None, facts: ModuleFacts | None) -> None:
        self.uid = uid
        self.obj = obj
        self.stamp = stamp
        self.facts = facts
        self.data = b""
        self.needs: Needs = {}
        self.kept: list[Held] = []
        self.store: Store | None = None

    def fill(self, scope: Scope, store: Store | None) -> None:
        """Pickle the object; its big buffers into ``store``, if there is one."""
        chunks: list[Any] = []
        pickler = new_pickler(scope, chunks, stores=store is not None)
        pickler.root = self.obj if self.stamp is None else None
        pickler.shares_cells = True
        pickler.dump(self.obj)
        self.needs = pickler.needs
        if store is None:
            self.data = stored.in_band(chunks, pickler.carried)
            self.kept += pickler.carried  # type: ignore[arg-type]  # anything that is to live on
        else:
            self.data = stored.pack(chunks, pickler.buffers, self.kept, carried=pickler.carried)
            self.store = store if self.kept else None

    def suits(self, store: Store | None) -> bool:
        """Whether it is as it would be if it were pickled for this store (None: for in band) now."""
        if self.kept:
            return self.store is store
        return store is None or len(self.data) < STORED_BYTES_MIN

    def entry(self) -> Entry:
        """As it stands in a blob."""
        return self.uid, None if self.stamp is None else tuple(self.stamp), self.facts, self.data


class Header(NamedTuple):
    """What stands before a pickle (nothing if nothing need), what was read for it, and what must be kept."""

    data: bytes
    reads: list[Read]
    kept: list[Held]


_NOTHING = Header(b"", [], [])


class Units:
    """The units of one exporter, and the headers made of them."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._exporter = REGISTRY.new_uid()
        self._lock = allocate_lock()
        self.definitions: OrderedDict[int, Unit] = OrderedDict()
        self._globals: dict[Place, Unit] = {}
        self._stamps: dict[Place, tuple[Any, Stamp]] = {}
        self.headers: OrderedDict[tuple[Any, ...], Header] = OrderedDict()
        scope.caches.append(self.headers)

    def header(self, needs: Needs, to: int = 0, store: Store | None = None) -> Header:
        """What must come before a pickle with these needs.

        Args:
            needs: as the pickler has noted them.
            to: the token of the process that will load it, whose own definitions it need not be sent; 0: any.
            store: where big units may lie, if whoever loads it can rely on this process to hold them.
        """
        if not needs:
            return _NOTHING
        key = (to, store is not None, *needs)
        known = self.headers.get(key)
        if known is not None and (not known.reads or is_current(known.reads)):
            return known
        units, reads = self._collect(needs, to, store)
        kept = [held for unit in units for held in unit.kept]
        if kept:
            reads.append((stored.STATE, "store", store))
        header = Header(frame([unit.entry() for unit in units]) if units else b"", reads, kept)
        if len(header.data) <= _HEADER_BYTES_MAX:
            self.headers[key] = header
            if len(self.headers) > _HEADERS_MAX:
                pop_oldest(self.headers)
        return header

    def _collect(self, needs: Needs, to: int, store: Store | None) -> tuple[list[Unit], list[Read]]:
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
                    child = None if to and is_from(need, to) else self._definition(need, source, store)
                else:
                    child = self._global(need, source, reads, to, store)
                if child is not None:
                    path.append((child, iter(list(child.needs.items()))))
                    break
            else:
                path.pop()
                if unit is not None:
                    units.append(unit)
        return units, reads

    def _definition(self, uid: int, obj: Any, store: Store | None) -> Unit:
        known = self.definitions.get(uid)
        if known is not None and known.suits(store):
            return known
        unit = Unit(uid, obj, None, None)
        unit.fill(self._scope, store)
        if (
            store is not None or known is None
        ):  # what lies in the store stays there, whoever wants a copy in band
            self.definitions[uid] = unit
            if len(self.definitions) > UNITS_MAX:
                pop_oldest(self.definitions)
        return unit

    def _global(
        self, place: Place, namespace: Namespace, reads: list[Read], to: int, store: Store | None
    ) -> Unit | None:
        key, name = place
        value = self._scope.lookup(key, namespace, name)
        if not self._scope.is_fixed(key, name, value):
            reads.append((namespace, name, value))
        if value is MISSING:
            return None
        known = self._globals.get(place)
        if known is not None and known.obj is value:
            if to and is_from(known.uid, to):
                return None
            if known.suits(store):
                return known
        stamp = REGISTRY.origin(key, name, value) or self._stamp(key, name, value)
        if to and is_from(stamp.uid, to):
            return None
        unit = Unit(stamp.uid, value, stamp, facts_of(key, namespace))
        unit.fill(self._scope, store)
        if store is not None or known is None or known.obj is not value:
            self._globals[place] = unit
        if known is not None and known.kept and known.obj is not value:
            self._let_go(known.kept)
        return unit

    def _let_go(self, kept: list[Held]) -> None:
        """Forget all that was made of a version that is no more, so that its data can leave the store."""
        gone = set(map(id, kept))
        for cache in self._scope.caches:
            for key, made in list(cache.items()):
                if not gone.isdisjoint(map(id, made.kept)):
                    cache.pop(key, None)

    def _stamp(self, key: NamespaceKey, name: str, value: Any) -> Stamp:
        """The version of a global's value: a new one whenever the name has been rebound."""
        with self._lock:
            known = self._stamps.get((key, name))
            if known is not None and known[0] is value:
                return known[1]
            stamp = Stamp(self._exporter, REGISTRY.new_uid(), key, name)
            self._stamps[key, name] = (value, stamp)
            return stamp
