"""The one pickler: C speed for plain data, and a say in every function, class and odd object that it meets.

::

    dump(obj) ── exact builtin types ──────────────────────► C, no Python runs
              └─ anything else ─► reducer_override
                                    ├─ functions, classes, modules, cells, ...   byvalue.py (by reference or by value)
                                    ├─ ForkingPickler's reducers (sockets, Connections, tensors)
                                    └─ NotImplemented ─► C: copyreg's table, __reduce_ex__

There is no second try with another pickler. One instance serves many dumps (making one costs twice as much as using
it); between them its owner must call ``reset``. It knows its exporter's scope only: the exporter holds it, not it the
exporter.
"""

from __future__ import annotations

import copyreg
import sys
import weakref
from _pickle import Pickler
from collections.abc import Callable
from pickle import PickleBuffer
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

from distpool.scheduler.serialize import byvalue
from distpool.scheduler.serialize.byvalue import HEAP_TYPE
from distpool.scheduler.serialize.importable import is_by_reference
from distpool.scheduler.serialize.rebuild import definition
from distpool.scheduler.serialize.registry import REGISTRY, Namespace, NamespaceKey
from distpool.scheduler.serialize.stored import out_of_band

if TYPE_CHECKING:
    from distpool.scheduler.serialize.carried import Carried
    from distpool.scheduler.serialize.scope import Scope

#: What a pickle needs besides itself: definitions by uid (with the object, so that it stays alive), and captured
#: globals by namespace key and name (with the dictionary).
Needs = dict[int | tuple[NamespaceKey, str], Any]

Reducer = Callable[["TaskPickler", Any], Any]

#: The reducer of each type met so far, None where C knows best; by address, since a type must not live on for this.
_reducers: dict[int, Reducer | None] = {id(kind): reducer for kind, reducer in byvalue.REDUCERS.items()}
_UNKNOWN: Any = object()
#: What removes a type from ``_reducers`` when it goes, before its address can be another's.
_watched: dict[int, weakref.ref[type]] = {}

_modules = sys.modules


class Lent:
    """Stands among what must be kept for a blob: one thing, whatever attributes it may have."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing


class TaskPickler(Pickler):
    """A C pickler that notes in ``needs`` what must come along with its output.

    Whatever it notes, it also appends an empty chunk to the output: so output of one chunk, the common case, says by
    itself that there is nothing else to see to.
    """

    scope: Scope
    #: What it has written: bytes, or big objects of the caller's themselves.
    chunks: list[Any]
    #: What should go into the store.
    buffers: list[PickleBuffer]
    #: The definition being pickled itself, which is written out where any other is only named.
    root: Any = None
    #: Whether what it pickles may lie in a store.
    stores = False
    #: Whether cells get an identity of their own (while definitions and captured globals are pickled).
    shares_cells = False
    needs: Needs
    #: References in it: they must live until it is loaded.
    carried: list[Carried]
    #: What this process must not let go of until the pickle is loaded: that only finds what is still there.
    lent: list[Lent]
    #: Cells whose content is written by the function that holds them, by address.
    hollow: dict[int, CellType]
    #: Cells and contents that were written: the output is stale once they differ.
    seen_cells: list[tuple[CellType, Any]]

    def reset(self) -> None:
        """Forget everything about the last dump."""
        self.clear_memo()
        self.chunks.clear()
        self.buffers.clear()
        if self.needs:
            self.needs = {}
        if self.hollow:
            self.hollow = {}
            self.seen_cells = []
        if self.carried:
            self.carried = []
        if self.lent:
            self.lent = []

    def reducer_override(self, obj: Any) -> Any:
        """Called by the C pickler for each object that is not of an exact builtin type."""
        kind = type(obj)
        reducer = _reducers.get(id(kind), _UNKNOWN)
        if reducer is _UNKNOWN:
            reducer = _learn(kind)
        if reducer is not None:
            return reducer(self, obj)
        return self.reduce_registered(obj)

    @staticmethod
    def reduce_registered(obj: Any) -> Any:
        """As multiprocessing would: by a reducer that somebody has registered with it, or else as C does."""
        reduction = _modules.get("multiprocessing.reduction")
        if reduction is not None:
            extra = reduction.ForkingPickler._extra_reducers.get(type(obj))
            if extra is not None:
                return extra(obj)
        return NotImplemented

    def refer(self, obj: Any) -> tuple[Any, ...]:
        """Name a definition instead of writing it, and note that it must come along."""
        uid = REGISTRY.uid_of(obj)
        self.needs[uid] = obj
        self.chunks.append(b"")
        return definition, (uid,)

    def carry(self, reference: Carried) -> int:
        """Note that a reference comes along; returns its place among those."""
        self.carried.append(reference)
        self.chunks.append(b"")
        return len(self.carried) - 1

    def lend(self, thing: Any) -> None:
        """Note that this very thing must be there until the pickle is loaded, wherever that is."""
        self.lent.append(Lent(thing))
        self.chunks.append(b"")

    def capture(self, key: NamespaceKey, namespace: Namespace, name: str) -> None:
        """Note that a global must come along."""
        self.needs[key, name] = namespace
        self.chunks.append(b"")

    def leave_hollow(self, cell: CellType) -> None:
        """Note that a cell's content will be written by its function."""
        self.hollow[id(cell)] = cell
        self.chunks.append(b"")


class _Writer:
    """A file for the C pickler that costs nothing: its ``write`` is a list's ``append``."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Any], None]) -> None:
        self.write = write


def new_pickler(
    scope: Scope,
    chunks: list[Any],
    *,
    stores: bool,
    buffer_callback: Callable[[PickleBuffer], Any] | None = None,
) -> TaskPickler:
    """A pickler that appends its output to ``chunks``.

    Args:
        scope: what names mean.
        chunks: an empty list.
        stores: whether big buffers are put aside for the store, in ``buffers``.
        buffer_callback: gets the buffers instead, as in ``pickle.Pickler``.
    """
    buffers: list[PickleBuffer] = []
    if stores:
        buffer_callback = out_of_band(buffers, chunks)
    pickler = TaskPickler(_Writer(chunks.append), 5, buffer_callback=buffer_callback)
    pickler.scope = scope
    pickler.stores = stores
    pickler.chunks = chunks
    pickler.buffers = buffers
    pickler.needs = {}
    pickler.hollow = {}
    pickler.carried = []
    pickler.lent = []
    pickler.seen_cells = []
    return pickler


def register(kind: type, reducer: Reducer) -> None:
    """Have instances of exactly this class, which must live for ever, pickled by ``reducer``."""
    _reducers[id(kind)] = reducer


def _learn(kind: type) -> Reducer | None:
    """Which reducer instances of a type need, looked up once."""
    if kind in copyreg.dispatch_table:
        return None  # and not remembered: the table can change
    reducer: Reducer | None
    if issubclass(kind, type):
        reducer = byvalue.reduce_class
    elif issubclass(kind, ModuleType):
        reducer = byvalue.reduce_module_of_a_class
    elif hasattr(kind, "lent_when_pickled"):
        reducer = byvalue.reduce_lent
    else:
        reducer = byvalue.LATE_REDUCERS.get((str(kind.__module__), kind.__qualname__))
        if (
            reducer is None
            and kind.__flags__ & HEAP_TYPE
            and _reduces_itself(kind)
            and not is_by_reference(kind)
        ):
            reducer = byvalue.reduce_by_itself
    address = id(kind)
    _watched[address] = weakref.ref(
        kind, lambda _: (_reducers.pop(address, None), _watched.pop(address, None))
    )
    _reducers[address] = reducer
    return reducer


def _reduces_itself(kind: type) -> bool:
    methods = (("__reduce__", object.__reduce__), ("__reduce_ex__", object.__reduce_ex__))
    return any(getattr(kind, name) is not inherited for name, inherited in methods)
