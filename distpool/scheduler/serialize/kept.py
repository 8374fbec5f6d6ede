"""A blob that was not loaded yet, and what keeps alive what it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpool.scheduler.serialize import carried
from distpool.scheduler.serialize.blobs import loads


class Kept:
    """A blob that names objects or references, and what keeps them until it is loaded or let go.

    ``refs`` are the references that have arrived with it; None: they have not yet, if there are any. ``is_final``: the
    blob names none of them without its value (False: unknown). ``origin`` is how to have it again if what it names is
    lost: see ``scheduler.remote.lineage``.
    """

    __slots__ = ("blob", "held", "is_final", "origin", "refs")

    def __init__(self, blob: bytes, held: Any, refs: Sequence[Any] | None) -> None:
        self.blob = blob
        self.held = held
        self.refs = refs
        self.is_final = False
        self.origin: Any = None

    def load(self, label: str = "result") -> Any:
        """A copy of the value for the caller alone. Raises what unpickling raises."""
        if self.refs:
            return carried.load(self.blob, self.refs, lambda inner: loads(inner, label=label))
        return loads(self.blob, label=label)
