"""The sending side: functions, arguments and results to bytes.

An Exporter belongs to one pool or executor, or to the process where there is none. It remembers what it has pickled,
and fixes what captured globals mean: with ``snapshot=True`` their values at the time it was made, as a fork would
have seen them; otherwise their values at each call.

::

    function(f) ── known and nothing rebound ──────────────────────► (id, blob, keep) from the cache
         └─ else pickle f ─► needs: definitions by uid, globals by name
                  │             └─ units.py: each pickled alone, once ─► header
                  │ big buffers                                            └─► pack(header, pickle) ─► blob
                  └─► store, if this process has one ─► Held ─► keep

Who passes a blob on must hold on to what came in ``keep`` until the blob has been loaded, or never will be.

It holds no lock while user code runs (``__reduce__`` may submit tasks or wait for other threads); two threads that
pickle the same thing at once merely do it twice.
"""

from __future__ import annotations

import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import _lru_cache_wrapper
from itertools import count
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.explain import explain_pickling
from distpool.scheduler.serialize.pickler import Lent, TaskPickler, new_pickler
from distpool.scheduler.serialize.scope import Read, Scope, is_current
from distpool.scheduler.serialize.stored import BRIEF_BYTES_MIN, Held, Refused, Shared
from distpool.scheduler.serialize.units import Units

#: Exact types that a short tuple may hold to be pickled by C alone; the bytes are the same, without a Python call.
_SIMPLE = frozenset({int, str, float, bool, bytes, type(None)})
_SIZED = frozenset({str, bytes})
_SIMPLE_CHARS_MAX = 4096
_SIMPLE_TUPLE_MAX = 6

#: A pickler that has written more than this is not used again: its memo has grown with it, never shrinks, and is gone
#: through each time it is cleared.
REUSED_BYTES_MAX = 4096
#: Functions ready to send, kept at most; the least recently used go first.
FUNCTIONS_MAX = 1_000

_function_ids = count(1)

#: Number (negative if to be loaded anew for each call), blob, and what must be kept while calls with it are pending.
Answer = tuple[int, bytes, "tuple[Held | Lent, ...] | None"]
#: A pickler that is free, and the list that it writes to.
Free = tuple[TaskPickler, list[Any]]


class Exported:
    """A function ready to send, and what must still be so for its blob to be right.

    It goes with the function: a closure over a big array, made anew for each call, must not pile up here.
    """

    __slots__ = ("answer", "function", "is_used", "kept", "reads")

    def __init__(self, function: weakref.ref[Any], answer: Answer, reads: list[Read]) -> None:
        self.function = function
        self.answer = answer
        self.kept = answer[2] or ()
        self.reads = reads
        self.is_used = False


class Exporter:
    """Pickles for one pool or executor (or, with ``snapshot=False``, for a process without one). Thread-safe.

    Args:
        snapshot: fix the globals of ``__main__`` now, shallowly, as a fork would; names that are defined later are
            still found. Without it each call sees the globals of its time.
        closures: send functions that have no name to find them by; without it they are refused with the standard
            pickle's own error. (Classes and their methods go by value in any case.)
        stores_units: whether what comes along with a pickle may lie in the store on its own. It then goes with this
            exporter, whoever has the pickle.
    """

    def __init__(self, snapshot: bool = True, closures: bool = True, stores_units: bool = True) -> None:
        self._stores_units = stores_units
        self._scope = Scope(snapshot, closures)
        self._units = Units(self._scope)
        self._functions: OrderedDict[int, Exported] = OrderedDict()
        #: What was called lately that may be gone by now: partials, methods, lambdas.
        self._names: OrderedDict[int, str] = OrderedDict()
        self._scope.caches.append(self._functions)
        self._free: list[Free] = []
        self._free_storing: list[Free] = []

    def forget(self) -> None:
        """Its pool is gone: let go of the globals that were fixed, and of all that was pickled."""
        self._scope.forget()
        self._units = Units(self._scope)
        self._functions.clear()

    # --------------------------------------------------------------------------------- functions

    def name(self, number: int) -> str:
        """What the function that has this id is called, "" if that is not known any more; for who tells people."""
        name = self._names.get(number)
        if name is not None:
            return name
        found = [exported for exported in list(self._functions.values()) if exported.answer[0] == number]
        function = found[0].function() if found else None
        return "" if function is None else name_of(function)

    def function(self, function: Callable[..., Any], shared: Shared | None = None) -> Answer:
        """The id and the blob of something to call, and what must be kept while calls with it are pending.

        Plain functions, builtins and classes are pickled once, and again only after a global that they read was
        rebound; the id, positive, may then be used for every call. Anything else (partials, bound methods, callable
        objects) may have changed since the last call: it is pickled anew, under a new *negative* id, and a worker
        should load its blob afresh for each call, since a call may change the object.

        Args:
            function: what is to be called.
            shared: of a ``map`` call, so that what a partial or a bound method holds is stored once for all of it.

        Raises:
            Whatever pickle raises, of the same type, with a note that names the path to the culprit; what the store
            raises if it has no room.
        """
        known = self._functions.get(id(function))
        if (
            known is not None
            and known.function() is function
            and (not known.reads or is_current(known.reads))
        ):
            known.is_used = True
            return known.answer
        return self._export(function, shared)

    def _export(self, function: Callable[..., Any], shared: Shared | None) -> Answer:
        keep: list[Held] = []
        store = stored.current()
        try:
            pickler, chunks = self._pickler(self._free_storing)
            pickler.dump(function)  # if it raises, the pickler is not used again
            header = self._units.header(pickler.needs, store=store)
            blob = stored.pack([header.data, *chunks], pickler.buffers, keep, shared, carried=pickler.carried)
            cells, lent = pickler.seen_cells, pickler.lent
            self._give_back(pickler, chunks, self._free_storing)
        except Refused as refused:
            raise refused.take() from None
        except Exception as error:
            label = getattr(function, "__qualname__", None) or type(function).__qualname__
            explain_pickling(error, function, str(label), self._try)
            raise
        reads = [*header.reads, *((cell, "", content) for cell, content in cells)]
        if keep:
            reads.append((stored.STATE, "store", store))
        kept: tuple[Held | Lent, ...] | None = (*header.kept, *keep, *lent) or None
        if not _is_stable(function):
            number = -next(_function_ids)
            self._note_name(number, function)
            return number, blob, kept
        # A worker keeps what has a positive number, so a closure over big data has none; its mapping comes to rest.
        number = next(_function_ids)
        answer = -number if keep else number, blob, kept
        self._note_name(answer[0], function)
        key, table = id(function), weakref.ref(self._functions)  # or the table would keep itself
        reference = weakref.ref(function, lambda dead: _forget(table(), key, dead))
        self._functions[key] = Exported(reference, answer, reads)
        if len(self._functions) > FUNCTIONS_MAX:
            self._drop_functions()
        return answer

    def _note_name(self, number: int, function: Callable[..., Any]) -> None:
        names = self._names
        names[number] = name_of(function)
        if len(names) > FUNCTIONS_MAX:
            names.popitem(last=False)

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
        keep: list[Any] | None = None,
        shared: Shared | None = None,
        holder: int = 0,
        brief: bool = False,
    ) -> bytes:
        """Pickle any object; the copy is complete when this returns.

        Args:
            obj: arguments or a result.
            buffer_callback: as in ``pickle.Pickler``: gets large buffers, which then travel apart.
            label: what the path in an error's note begins with.
            to: the token of the process that will load it: its own definitions are then only named.
            keep: lets big data go into the store, if this process has one, and gets what must be kept until the
                blob has been loaded; without it everything is in the blob.
            shared: of a ``map`` call, so that what occurs in many of its calls is stored once.
            brief: the blob is loaded soon, once, and what is in ``keep`` is kept until its receiver has answered.
            holder: the process that the stored data is for, if it is not this one that will hold it.

        Raises:
            Whatever pickle raises, of the same type, with a note like ``at args[0].lock: cannot pickle ...``; what
            the store raises if it has no room.
        """
        if type(obj) is tuple and len(obj) <= _SIMPLE_TUPLE_MAX:
            for item in obj:
                kind = type(item)
                if kind not in _SIMPLE or (kind in _SIZED and len(item) > _SIMPLE_CHARS_MAX):
                    break
            else:
                return pickle.dumps(obj, 5)
        try:
            if buffer_callback is not None:
                return self._dumps_apart(obj, buffer_callback, to)
            free = self._free if keep is None else self._free_storing
            try:  # what _pickler does, in line, for the common case
                pickler, chunks = free.pop()
            except IndexError:
                pickler, chunks = self._pickler(free)
            pickler.dump(obj)
            if len(chunks) == 1 and len(chunks[0]) < BRIEF_BYTES_MIN:
                payload: bytes = chunks.pop()
                if len(payload) <= REUSED_BYTES_MAX:
                    pickler.clear_memo()
                    free.append((pickler, chunks))
                return payload
            written = sum([len(chunk) for chunk in chunks if type(chunk) is bytes])
            payload = self._finish(pickler, chunks, to, keep, shared, holder, brief)
            if written <= REUSED_BYTES_MAX:
                self._give_back(pickler, chunks, free)
            return payload
        except Refused as refused:
            raise refused.take() from None
        except Exception as error:
            explain_pickling(error, obj, label, self._try)
            raise

    def _finish(
        self,
        pickler: TaskPickler,
        chunks: list[Any],
        to: int,
        keep: list[Any] | None,
        shared: Shared | None,
        holder: int,
        brief: bool,
    ) -> bytes:
        """The blob of what needs more than its own bytes, or is big."""
        # A unit is held by its exporter, so it may lie in the store only if this process holds the rest as well.
        store = None if keep is None or holder or not self._stores_units else stored.current()
        header = self._units.header(pickler.needs, to, store)
        if header.kept:
            keep += header.kept  # type: ignore[operator]
        if pickler.lent and keep is not None:
            keep += pickler.lent
        pieces = [header.data, *filter(None, chunks)]
        if (
            len(pieces) == 2
            and not pickler.buffers
            and not pickler.carried
            and (keep is None or len(pieces[0]) + len(pieces[1]) < BRIEF_BYTES_MIN)
        ):
            return pieces[0] + pieces[1]  # type: ignore[no-any-return]
        if keep is None:
            return stored.in_band(pieces, pickler.carried)
        return stored.pack(pieces, pickler.buffers, keep, shared, holder, pickler.carried, brief)

    def _dumps_apart(self, obj: Any, buffer_callback: Callable[[Any], Any], to: int) -> bytes:
        chunks: list[Any] = []
        pickler = new_pickler(self._scope, chunks, stores=False, buffer_callback=buffer_callback)
        pickler.dump(obj)
        return stored.join((self._units.header(pickler.needs, to).data, *chunks))

    def _try(self, obj: Any) -> None:
        """Pickle ``obj`` with all that it needs, for ``explain``: only whether it raises counts."""
        pickler, chunks = self._pickler(self._free)
        pickler.dump(obj)
        self._units.header(pickler.needs)
        self._give_back(pickler, chunks, self._free)

    # ----------------------------------------------------------------------------------- picklers

    def _pickler(self, free: list[Free]) -> Free:
        try:
            return free.pop()
        except IndexError:
            chunks: list[Any] = []
            return new_pickler(self._scope, chunks, stores=free is self._free_storing), chunks

    @staticmethod
    def _give_back(pickler: TaskPickler, chunks: list[Any], free: list[Free]) -> None:
        pickler.reset()
        free.append((pickler, chunks))


def _forget(functions: OrderedDict[int, Exported] | None, key: int, dead: weakref.ref[Any]) -> None:
    """A function is gone; its address may be another's by now."""
    if functions is not None:
        known = functions.get(key)
        if known is not None and known.function is dead:
            functions.pop(key, None)


def name_of(function: Callable[..., Any]) -> str:
    """What to call a function's tasks: its own name; that of what a partial, or the like, is made of."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name)


def _is_stable(function: Any) -> bool:
    """Whether a callable's meaning is fixed by its identity."""
    kind = type(function)
    if kind is FunctionType or issubclass(kind, (type, _lru_cache_wrapper)):
        return True
    if kind is BuiltinFunctionType:
        owner = function.__self__
        return owner is None or isinstance(owner, (ModuleType, type))
    return False
