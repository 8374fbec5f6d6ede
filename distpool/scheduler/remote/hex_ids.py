"""Names of tasks, objects, actors, nodes and the like: strings of hexadecimal digits, with Ray's methods.

What a name says of the thing, if anything, is known where it is made; here is only how it is written. Stands in for
``ray.TaskID``, ``ray.NodeID`` and their like.
"""

from __future__ import annotations

import os
from typing import ClassVar, Self

__all__ = [
    "ActorClassID", "ActorID", "FunctionID", "HexId", "JobID", "NodeID", "PlacementGroupID", "TaskID", "UniqueID",
    "WorkerID",
]  # fmt: skip


class HexId(str):
    """A name in hexadecimal digits. ``BYTES``: as many as Ray's have; one of a node is as long as its name here."""

    __slots__ = ()
    BYTES: ClassVar[int] = 28

    @classmethod
    def from_hex(cls, digits: str) -> Self:
        """The one that is written like that. Raises ValueError for what is no hexadecimal number."""
        bytes.fromhex(digits)
        return cls(digits)

    @classmethod
    def from_binary(cls, data: bytes) -> Self:
        """The one with these bytes."""
        return cls(data.hex())

    @classmethod
    def from_random(cls) -> Self:
        """One that nothing has."""
        return cls(os.urandom(cls.BYTES).hex())

    @classmethod
    def nil(cls) -> Self:
        """The one that stands for none."""
        return cls("ff" * cls.BYTES)

    @classmethod
    def size(cls) -> int:
        """``BYTES``."""
        return cls.BYTES

    def is_nil(self) -> bool:
        """Whether it stands for none."""
        return not self.strip("f")

    def hex(self) -> str:
        """The digits."""
        return str(self)

    def binary(self) -> bytes:
        """As bytes, two digits each."""
        return bytes.fromhex(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self!s})"


class UniqueID(HexId):
    """Any."""

    __slots__ = ()


class NodeID(UniqueID):
    """A node's."""

    __slots__ = ()


class WorkerID(UniqueID):
    """A worker process's."""

    __slots__ = ()


class FunctionID(UniqueID):
    """A remote function's."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """An actor class's."""

    __slots__ = ()


class TaskID(HexId):
    """A call's."""

    __slots__ = ()
    BYTES = 24


class ActorID(HexId):
    """An actor's."""

    __slots__ = ()
    BYTES = 16


class JobID(HexId):
    """A program's."""

    __slots__ = ()
    BYTES = 4

    @classmethod
    def from_int(cls, number: int) -> Self:
        """The one of this number."""
        return cls(number.to_bytes(cls.BYTES, "little").hex())

    def int(self) -> int:
        """Its number."""
        return int.from_bytes(self.binary(), "little")


class PlacementGroupID(HexId):
    """A placement group's."""

    __slots__ = ()
    BYTES = 18
