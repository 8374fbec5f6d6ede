"""Values that are moved once and used by many tasks: ``put``, ``get``, ``ObjectRef``.

::

    ref = distpool.put(array)                          one copy, into the store of this machine
    pool.map(work, [(ref, i) for i in range(1000)])    a reference travels, not the array
        def work(item): array = distpool.get(item[0])  a view of the stored copy: private, writable

A value lives until the last reference to it is gone, in whatever process, and the last view of its arrays.
Stands in for ``ray.put`` and ``ray.get``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from distpool import engines

if TYPE_CHECKING:
    from distpool.engines.protocol import Reference

__all__ = ["ObjectRef", "get", "put"]


class ObjectRef:
    """A reference to a value that was ``put``. It may be passed to any task, inside of anything, and stays a reference.

    Made by ``put`` only. Equal references lead to the same value.
    """

    __slots__ = ("__weakref__", "_reference")

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._reference,)

    def __repr__(self) -> str:
        return f"<distpool.ObjectRef {id(self._reference):#x}>"


def put(value: Any) -> ObjectRef:
    """Copy a value into this machine's object store, once; the copy is complete when this returns.

    Args:
        value: anything that can be pickled. Buffers in it (numpy, pandas, Arrow) of at least 64 KiB are shared with
            every process that gets it, instead of copied again.

    Raises:
        StoreFull, DiskFull: there is no room for it.
        Exception: what pickling it raises, with a note that names the path to the culprit.
    """
    return ObjectRef(engines.put(value))


@overload
def get(refs: ObjectRef) -> Any: ...
@overload
def get(refs: Sequence[ObjectRef]) -> list[Any]: ...
def get(refs: ObjectRef | Sequence[ObjectRef]) -> Any:
    """The value of a reference, or a list of the values of several.

    Each call gives a copy of the caller's own, which costs little: its big arrays are private views of the stored
    ones. Writing to them changes nothing for anybody else.

    Raises:
        TypeError: not a reference, nor a list or tuple of references.
        SerializationError: the value is gone, because the session that it was put in has ended.
    """
    if isinstance(refs, ObjectRef):
        return refs._reference.load()
    if isinstance(refs, (list, tuple)) and all(isinstance(ref, ObjectRef) for ref in refs):
        return [ref._reference.load() for ref in refs]
    raise TypeError(
        f"get takes an ObjectRef, as put returns it, or a list of them, not {type(refs).__name__}"
    )
