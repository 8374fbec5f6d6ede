"""The process's tables of what travels by value: who is who, here and in the processes we speak with.

A function or class that is pickled by value has one identity in the whole session, its *uid*: a number whose upper
bits name the process that first exported it (its *token*) and whose lower bits count. Each process maps uids to its
own copy of the object, so that an instance of the driver's ``__main__.Foo`` that visits a worker comes home an
instance of the driver's very own ``Foo``, and all instances of it in a worker share one class.

The same table knows the *namespaces*: the dictionaries over which by-value functions are rebuilt, one per source
module. A namespace's key is the name of a real module (``"__main__"`` first of all), or a uid where the module is
known to its creator only.

Tables hold objects weakly where they can: who drops a local class gets its memory back. This module pickles nothing.
"""

from __future__ import annotations

import os
import weakref
from _thread import allocate_lock
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any, NamedTuple

MAIN = "__main__"
#: Names under which the program's main module is found; the second is what multiprocessing's spawn calls it.
MAIN_NAMES = frozenset({MAIN, "__mp_main__"})

NamespaceKey = str | int
Namespace = dict[str, Any]

_COUNTER_BITS = 32
#: Anonymous namespaces (dictionaries cannot be referenced weakly) kept at most; the oldest go first.
_NAMESPACES_MAX = 10_000


class Missing:
    """The type of MISSING, which says that a name is bound to nothing."""


MISSING = Missing()


class Stamp(NamedTuple):
    """Which version of which captured global: ``uid`` grows with each version of one exporter."""

    exporter: int
    uid: int
    key: NamespaceKey
    name: str


class _WeakEntry(weakref.ref[Any]):
    """A weak reference that knows under which uid and address its object is filed."""

    __slots__ = ("address", "uid")

    def __new__(cls, obj: Any, callback: Callable[[Any], None], uid: int) -> _WeakEntry:
        return super().__new__(cls, obj, callback)

    def __init__(self, obj: Any, callback: Callable[[Any], None], uid: int) -> None:
        super().__init__(obj, callback)  # type: ignore[call-arg]
        self.uid = uid
        self.address = id(obj)


class _StrongEntry:
    """The same for the few objects that take no weak reference."""

    __slots__ = ("_obj", "uid")

    def __init__(self, obj: Any, uid: int) -> None:
        self._obj = obj
        self.uid = uid

    def __call__(self) -> Any:
        return self._obj


class Registry:
    """The tables. There is one for the process (``REGISTRY``), since there is one ``sys.modules``."""

    def __init__(self) -> None:
        self._token = 0
        self._serials = count(1)
        self._lock = allocate_lock()
        self._by_address: dict[int, _WeakEntry | _StrongEntry] = {}
        self._by_uid: dict[int, _WeakEntry | _StrongEntry] = {}
        self._namespaces: dict[int, tuple[Namespace, ModuleType | None]] = {}
        self._namespace_keys: dict[int, int] = {}
        self._installed: dict[tuple[int, NamespaceKey, str], int] = {}
        self._origins: dict[tuple[NamespaceKey, str], tuple[Stamp, Any]] = {}
        #: Cells shared by functions that were captured at different times.
        self.cells: dict[int, Any] = {}
        #: True in a worker, whose ``__main__`` stands in for the driver's; False in the driver, which owns its own.
        self.main_is_received = False

    # ------------------------------------------------------------------------------- identities

    @property
    def token(self) -> int:
        """This process's number in uids: 63 random bits, new in each forked child."""
        if not self._token:
            self._token = int.from_bytes(os.urandom(8), "big") >> 1 or 1
        return self._token

    def after_fork(self) -> None:
        """In a forked child: what it exports from now on is its own; locks held elsewhere are gone."""
        self._token = 0
        self._lock = allocate_lock()

    def new_uid(self) -> int:
        """A number that no other object in the session has; in one process, later ones are greater."""
        return self.token << _COUNTER_BITS | next(self._serials)

    def find_uid(self, obj: Any) -> int | None:
        """The uid of an object that was exported or received here, else None."""
        entry = self._by_address.get(id(obj))
        return entry.uid if entry is not None and entry() is obj else None

    def uid_of(self, obj: Any) -> int:
        """The uid of ``obj``, given to it now if it has none."""
        uid = self.find_uid(obj)
        if uid is not None:
            return uid
        with self._lock:
            uid = self.find_uid(obj)  # another thread may have come first
            return uid if uid is not None else self._file(obj, self.new_uid())

    def adopt(self, obj: Any, uid: int) -> Any:
        """File an object that was just rebuilt; returns the one to use, which is the older one if there is one."""
        if not uid:
            return obj
        with self._lock:
            existing = self.find(uid)
            if existing is not None:
                return existing
            self._file(obj, uid)
        return obj

    def find(self, uid: int) -> Any | None:
        """This process's object of that uid, or None."""
        entry = self._by_uid.get(uid)
        return None if entry is None else entry()

    def forget(self, uid: int) -> None:
        """Drop a half-built object, so that the next attempt starts afresh."""
        entry = self._by_uid.pop(uid, None)
        if isinstance(entry, _WeakEntry):
            self._by_address.pop(entry.address, None)
        elif entry is not None:
            self._by_address.pop(id(entry()), None)

    def _file(self, obj: Any, uid: int) -> int:
        entry: _WeakEntry | _StrongEntry
        try:
            entry = _WeakEntry(obj, self._drop, uid)
        except TypeError:
            entry = _StrongEntry(obj, uid)
        self._by_address[id(obj)] = self._by_uid[uid] = entry
        return uid

    def _drop(self, entry: _WeakEntry) -> None:
        # Runs wherever the last reference went: two atomic operations, no lock.
        if self._by_address.get(entry.address) is entry:
            del self._by_address[entry.address]
        self._by_uid.pop(entry.uid, None)

    # ------------------------------------------------------------------------------- namespaces

    def namespace_uid(self, namespace: Namespace) -> int:
        """The key of a dictionary that belongs to no importable module; given to it now if it has none."""
        known = self._namespace_keys.get(id(namespace))
        if known is not None:
            return known
        key = self.new_uid()
        self.file_namespace(key, namespace)
        return key

    def find_namespace(self, key: int) -> Namespace | None:
        """This process's dictionary of that key, or None."""
        held = self._namespaces.get(key)
        return None if held is None else held[0]

    def namespace_module(self, key: int) -> ModuleType | None:
        """The module that was made for a received namespace, or None."""
        held = self._namespaces.get(key)
        return None if held is None else held[1]

    def file_namespace(self, key: int, namespace: Namespace, module: ModuleType | None = None) -> None:
        """Remember whose dictionary this is. Dictionaries take no weak references, so there is a limit."""
        if len(self._namespaces) >= _NAMESPACES_MAX:
            oldest = next(iter(self._namespaces))
            self._namespace_keys.pop(id(self._namespaces.pop(oldest)[0]), None)
        self._namespaces[key] = (namespace, module)
        self._namespace_keys[id(namespace)] = key

    # ---------------------------------------------------------------------------- captured globals

    def install(
        self,
        stamp: Stamp,
        namespace: Namespace,
        make: Callable[[], Any],
    ) -> None:
        """Bind a captured global, unless the name has a meaning here that it must not lose.

        ``make`` rebuilds the value and is called only if that value will be bound. The rules, in order:

        - one version of one exporter is bound once: what initializers and tasks have set since then stays;
        - a newer version of the same exporter is bound: its owner has rebound the name;
        - a name that code of this process has bound (or rebound) itself is left alone;
        - a namespace that is at home here (the driver's own ``__main__``) only gains names that it lacks.
        """
        place = (stamp.key, stamp.name)
        slot = (stamp.exporter, *place)
        last = self._installed.get(slot)
        if last is not None and stamp.uid <= last:
            return
        current = namespace.get(stamp.name, MISSING)
        if current is not MISSING:
            origin = self._origins.get(place)
            is_ours = origin is None or origin[1] is not current
            if self._is_home(stamp.key) or (last is None and is_ours):
                self._installed[slot] = stamp.uid
                return
        value = make()
        namespace[stamp.name] = value
        self._installed[slot] = stamp.uid
        self._origins[place] = (stamp, value)

    def origin(self, key: NamespaceKey, name: str, value: Any) -> Stamp | None:
        """The stamp under which ``value`` was bound to this name here, if nothing rebound the name since."""
        known = self._origins.get((key, name))
        return known[0] if known is not None and known[1] is value else None

    def _is_home(self, key: NamespaceKey) -> bool:
        if isinstance(key, int):
            return key >> _COUNTER_BITS == self._token
        return not (key == MAIN and self.main_is_received)


def is_from(uid: int, token: int) -> bool:
    """Whether the process with that token made this uid."""
    return uid >> _COUNTER_BITS == token


REGISTRY = Registry()
os.register_at_fork(after_in_child=REGISTRY.after_fork)
