"""The frame around a pickle that needs definitions, and the way in which blobs are loaded.

A blob is one of these::

    80 05 ...                                   a bare pickle (protocol 5): nothing in it is by value
    01 | header length, 4 bytes | header | pickle
    02 | ...                                    one of these with its big buffers in the store: ``stored.py``
    03 | ...                                    one of some kilobytes, in a slab: ``stored.py``
    04 | ...                                    one of them with all that it needs from a store: ``parcels.py``
    05 | ...                                    one of them, and the names of the references in it: ``carried.py``

The header is a pickled tuple of entries ``(uid, stamp, module facts, data)``, each datum a pickle of its own (bare, or
with buffers in the store): definitions (functions and classes, ``stamp`` None), which are built when first referred
to, and captured globals, which are bound in order before the payload is loaded. A process that has a definition
already, or had that version of a global, does not even look at the bytes: so it is cheap to send a class with every
instance.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import Any

from distpool.scheduler.serialize import carried, parcels, stored
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.rebuild import LOADING, ModuleFacts, namespace_of
from distpool.scheduler.serialize.registry import REGISTRY, Stamp
from distpool.scheduler.serialize.stored import Blob

Entry = tuple[int, "tuple[Any, ...] | None", "ModuleFacts | None", bytes]

_BARE = 0x80
_FRAMED = 0x01
_PREFIX_BYTES = 5


def frame(entries: Sequence[Entry]) -> bytes:
    """What stands before a pickle that needs these."""
    header = pickle.dumps(tuple(entries), 5)
    return b"".join((b"\x01", len(header).to_bytes(4, "big"), header))


def loads(blob: Blob, buffers: Iterable[Any] | None = None, *, label: str = "args") -> Any:
    """Rebuild what ``Exporter`` pickled.

    Args:
        blob: as returned by ``dumps`` and ``function``, unchanged.
        buffers: the out-of-band buffers, in the order in which ``buffer_callback`` got them.
        label: what the path in an error's note begins with.

    Raises:
        Whatever the user's ``__setstate__``, constructors and modules raise, of the same type, with a note that
        names the path to what cannot be rebuilt; SerializationError if the blob is not one of ours, or names what
        is unknown here, or lies in a store that this process cannot see.
    """
    mark = blob[0] if len(blob) else None
    if mark == _BARE:
        try:
            return pickle.loads(blob, buffers=buffers)
        except Exception as error:
            _explain(error, blob, label, buffers)
            raise
    if mark == stored.BRIEF_MARK:
        return loads(stored.load_brief(blob), label=label)
    if mark == stored.MARK:
        return _load_stored(blob, label)
    if mark == stored.PARCEL_MARK:
        return parcels.load(blob, lambda inner: loads(inner, label=label))
    if mark == carried.REFS_MARK:
        return carried.load(blob, None, lambda inner: loads(inner, buffers, label=label))
    if mark != _FRAMED:
        raise SerializationError(
            f"not a blob of this version of distpool: it begins with {bytes(blob[:4])!r}"
        )
    view = memoryview(blob)
    start = _PREFIX_BYTES + int.from_bytes(view[1:_PREFIX_BYTES], "big")
    entries: tuple[Entry, ...] = pickle.loads(view[_PREFIX_BYTES:start])
    outer: dict[int, bytes] = getattr(LOADING, "definitions", {})
    LOADING.definitions = outer | {uid: data for uid, stamp, _, data in entries if stamp is None}
    try:
        for _, stamp, facts, data in entries:
            if stamp is not None:
                _install(Stamp(*stamp), facts, data)
        try:
            return pickle.loads(view[start:], buffers=buffers)
        except Exception as error:
            _explain(error, view[start:], label, buffers)
            raise
    finally:
        LOADING.definitions = outer
        view.release()  # an exception's traceback may keep this frame, but must not keep a mapping


def _load_stored(blob: Blob, label: str) -> Any:
    return stored.load(blob, lambda inner, views: loads(inner, views, label=label))


def _install(stamp: Stamp, facts: ModuleFacts | None, data: bytes) -> None:
    namespace = namespace_of(stamp.key, facts)
    REGISTRY.install(stamp, namespace, lambda: loads(data, label=f"<globals>.{stamp.name}"))


def _explain(error: Exception, data: Blob, label: str, buffers: Any = None) -> None:
    from distpool.scheduler.serialize.explain_loading import (
        explain_loading,
    )  # rarely needed: not imported before

    explain_loading(error, bytes(data), label, buffers)
