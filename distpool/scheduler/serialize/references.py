"""A value that is passed on without being looked at: pickled once, its data in the store, held by whoever has it.

::

    put(value) ─► Reference(blob, held) ── in arguments, results, other values ──► its blob, and the ids of its data
                                                                                      └─► Reference, holding them too

What pickles one notes with the pickler that its objects must be kept until the pickle is loaded; whoever loads the
pickle holds them from then on itself. So they go with the last reference, in whatever process that is.
"""

from __future__ import annotations

from typing import Any

from distpool.scheduler.serialize import parcels, stored
from distpool.scheduler.serialize.blobs import loads
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.exporter import Exporter
from distpool.scheduler.serialize.pickler import TaskPickler, register


class Reference:
    """See ``put``. ``held`` is what keeps the data."""

    __slots__ = ("__weakref__", "blob", "held")

    def __init__(self, blob: bytes, held: Any) -> None:
        self.blob = blob
        self.held = held

    def load(self) -> Any:
        """A new copy of the value; big arrays in it are views of the stored data, private and writable."""
        return loads(self.blob, label="object")

    def __reduce__(self) -> tuple[Any, ...]:
        return take, (self.blob,)


def put(exporter: Exporter, value: Any) -> Reference:
    """Pickle a value, big data into the store.

    Raises:
        What pickling raises; what the store raises if it has no room.
    """
    keep: list[Any] = []
    blob = exporter.dumps(value, label="object", keep=keep)
    return Reference(blob, keep)


def take(blob: bytes) -> Reference:
    """A reference that has come in a pickle. Raises SerializationError if its data is gone."""
    ids = stored.ids_of(blob)
    if not ids:
        return Reference(blob, None)
    if ids[0] in stored.ARRIVED.objects:
        return Reference(parcels.kept(blob, ids), None)
    store = stored.current()
    if store is None:
        raise SerializationError(
            "a reference leads to the object store of the node where its value was put, and this process has none"
        )
    try:
        return Reference(blob, store.hold(ids))
    except Exception as error:
        raise SerializationError(
            f"a reference's value is not in the object store any more: {error}"
        ) from error


def _reduce(pickler: TaskPickler, reference: Reference) -> tuple[Any, ...]:
    if reference.held is not None:
        pickler.carry(reference)
    return take, (reference.blob,)


register(Reference, _reduce)
