"""``put``: a reference to a value that is there already. What ``ray.put`` does.

What is small is in the reference; what is big goes into this node's store, from where it is lent.
"""

from __future__ import annotations

import os
from typing import Any

from distpool.scheduler import client
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.lineage import durable_copy
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import PLAIN_TYPES, Exporter, is_plain, stored
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells import worker_start

__all__ = ["put"]

_exporter: Exporter | None = None


def put(value: Any, *, durable: bool = False) -> ObjectRef:
    """A reference to a copy of a value, complete when this returns; what is big goes into this node's store.

    ``durable``: what goes there is written to a file as well.

    Raises:
        What pickling it raises; StoreFull, DiskFull.
    """
    if worker_start.this_worker is None and client.current() is None:
        here()
    ref = ObjectRef()
    fill(ref, value, durable=durable)
    return ref


def fill(ref: ObjectRef, value: Any, *, durable: bool = False) -> None:
    """Have a reference refer to a copy of a value. Raises as ``put`` does."""
    global _exporter
    if type(value) in PLAIN_TYPES and is_plain(value):
        ref.fulfil(0, value)
        return
    if stored.current() is None and worker_start.this_worker is None:
        client.session()  # it brings the store
    if _exporter is None:
        _exporter = Exporter(snapshot=False, stores_units=False)
    keep: list[Any] = []
    blob = _exporter.dumps(value, label="object", keep=keep)
    if keep:
        inner = [held for held in keep if isinstance(held, ObjectRef)]
        ref.value = Kept(blob, keep, inner)
    elif durable and len(blob) > refs.TRAVELS_BYTES_MAX and stored.current() is not None:
        ref.value = Kept(stored.pack_stream(blob, keep), keep, None)  # now, not only when it travels
    else:
        ref.value = blob
    if durable and type(ref.value) is Kept:
        ref.value.origin = durable_copy(ref.value.blob)
    ref.settle()


def _forget_exporter() -> None:
    global _exporter
    _exporter = None


os.register_at_fork(after_in_child=_forget_exporter)
