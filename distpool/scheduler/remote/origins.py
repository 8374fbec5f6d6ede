"""What is kept of a call whose results lie in the store, so that it can be made again: see ``lineage``."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.kept import Kept

if TYPE_CHECKING:
    from distpool.scheduler.remote.submitting import Call

#: What an Origin weighs beside its arguments.
ORIGIN_BYTES = 1024


class Parent(NamedTuple):
    """An argument that was a reference: the reference, if it lives; what makes it; or the value that cannot be lost."""

    ref: weakref.ref[ObjectRef]
    origin: Origin | None
    place: int
    value: Any


class Origin:
    """A call that has made something in the store. ``left``: how often it may be made again.

    Of a call that yields, values come one by one, and those that nobody has any more are forgotten (``streamed``).
    """

    __slots__ = (
        "__weakref__", "call", "forgotten", "later", "left", "name", "parents", "refs", "running", "size_bytes",
        "streamed", "table",
    )  # fmt: skip

    def __init__(self, call: Call, parents: list[Parent], left: int, table: deque[int]) -> None:
        self.call: Any = call
        self.parents = parents
        self.left = left
        self.name: str = call.plan.name
        self.refs: list[weakref.ref[ObjectRef]] = []
        self.streamed: weakref.WeakValueDictionary[int, ObjectRef] | None = None
        if call.plan.yields is not None:
            self.streamed = weakref.WeakValueDictionary()
        self.running: dict[int, ObjectRef] | None = None  # the successors, while it is made again
        self.later: dict[int, ObjectRef] = {}  # of values that were found lost meanwhile
        self.size_bytes = 0
        self.forgotten = False
        self.table = table

    def forget(self) -> None:
        """It will not be made again."""
        self.forgotten = True
        self.call = None
        self.parents = []

    def place_of(self, ref: ObjectRef) -> int:
        """Which of the call's results this is."""
        return next((place for place, known in enumerate(self.refs) if known() is ref), 0)

    def ref_at(self, place: int) -> ObjectRef | None:
        """The reference to this result, if somebody has it."""
        if self.streamed is not None:
            return self.streamed.get(place)
        return self.refs[place]() if place < len(self.refs) else None

    def __del__(self) -> None:
        self.table.append(self.size_bytes)


class Item(NamedTuple):
    """Where a value of a call that yields comes from."""

    origin: Origin
    place: int


def made_by(ref: ObjectRef, value: Kept) -> tuple[Any, int]:
    """What is known of how a reference's value was made, an Origin or not, and which of its results it is."""
    origin = value.origin
    if type(origin) is Item:
        return origin
    return origin, origin.place_of(ref) if type(origin) is Origin else 0


def parent_of(ref: ObjectRef) -> Parent:
    """What an argument of a call was."""
    value = ref.value
    if type(value) is not Kept or value.held is None:
        return Parent(weakref.ref(ref), None, 0, value)
    origin, place = made_by(ref, value)
    if type(origin) is Origin:
        return Parent(weakref.ref(ref), origin, place, None)
    return Parent(weakref.ref(ref), None, -1, None)


def unfold(call: Call) -> None:
    """Arguments that lie in a slab, which is kept for the call, are to lie with it."""
    payload = call.fields["a"]
    if type(payload) is bytes and payload[0] == stored.BRIEF_MARK:
        call.fields = {**call.fields, "a": stored.load_brief(payload)}
        call.keep = call.keep[:1]


def weight(value: Any) -> int:
    """About how many bytes of this process it keeps."""
    if type(value) is list:
        return sum([weight(part) for part in value])
    return len(value.blob) if type(value) is Kept else len(value) if type(value) in (bytes, str) else 32


def held_in(keep: Any) -> Iterable[tuple[int, ...]]:
    """What of the store is kept, however deep in lists it lies."""
    for part in keep:
        if isinstance(part, (list, tuple)):
            yield from held_in(part)
        elif isinstance(part, ObjectRef):
            yield stored.ids_of(part.blob)
        elif type(ids := getattr(part, "ids", None)) is tuple:
            yield ids
