"""What all shared things have in common: how they travel, and what may be asked of them from another node.

::

    Lock ── pickled: its class, where it lies (node, process, offset), who serves it, its parts
      │
      ├─ unpickled on its node ────► a handle on the same memory      (segment.find)
      └─ unpickled on another ─────► a handle of a subclass whose operations call that server      (remote)

A class says which of its methods are operations: those take and give plain values only (numbers, bytes, text), since
nothing on that link is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from distpool.scheduler import node_identity
from distpool.scheduler.shared import segment

#: Classes by the name under which another node may ask for them.
KINDS: dict[str, type[SharedThing]] = {}

#: Where a thing lies: the arguments of ``segment.find``; the last of them is the node.
Where = tuple[Any, ...]


class SharedThing:
    """Something that lies in one place of shared memory; base of the classes that users see.

    A class that other nodes may use has a ``KIND`` of its own, and defines ``_attach`` and ``_parts``.
    """

    #: Its name for other nodes. A subclass of a user's own has that of ours.
    KIND: ClassVar[str] = ""
    #: Names of the methods that another node may call. All arguments and results are plain.
    OPERATIONS: ClassVar[frozenset[str]] = frozenset()
    #: Those that take it for whoever calls, if they return something true, and those that give it back.
    TAKING: ClassVar[frozenset[str]] = frozenset()
    GIVING: ClassVar[frozenset[str]] = frozenset()

    #: Whether this handle is one on a thing of another node.
    is_remote: ClassVar[bool] = False

    place: segment.Place
    #: Who serves it to other nodes, if it came from there.
    _served_by: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "KIND" in vars(cls):
            KINDS[cls.KIND] = cls

    def _attach(self, place: segment.Place, *parts: Any) -> None:
        """Become a handle on what lies in ``place``; ``self`` is fresh from ``__new__``."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is attached to")

    def _attach_parts(self, *parts: Any) -> None:
        """Keep the parts; that is all that is done to a handle on a thing of another node."""

    def _parts(self) -> tuple[Any, ...]:
        """What ``_attach`` gets besides the place: plain values, other shared things, or what only pickle can take."""
        return ()

    def _client_gone(self, held: int, died: int) -> None:
        """The process (its word is ``died``) that this handle served is gone, and had taken it ``held`` times."""

    def _tell(self, died: int) -> None:
        """A server says that the last holder (its word) died holding it."""

    def __reduce__(self) -> tuple[Any, ...]:
        where = self.place.__reduce__()[1]
        return rebuild, (type(self), where, self._served_by or _server(), self._parts())

    def lent_when_pickled(self) -> Any:
        """Its memory; of one whose home is another node, nothing."""
        return getattr(self, "place", None)


def rebuild(cls: Any, where: Where, server: Any, parts: tuple[Any, ...]) -> Any:
    """What was pickled, as it can be used from here.

    Raises:
        SharedGone: no process that has the memory is left.
        SharedElsewhere: it is on another node, and nobody there serves it.
    """
    if where[-1] != node_identity.current_node():
        from distpool.scheduler.shared import remote

        return remote.make(cls, where, server, parts)
    made = cls.__new__(cls)
    made._attach(segment.find(*where), *parts)
    made._served_by = server
    return made


def _server() -> Any:
    """Who serves things of this process to other nodes; it starts the first time that such a node may exist."""
    from distpool.scheduler.shared import sync_server

    return sync_server.address_for_pickle()


def forward(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A method ``name`` that has ``call(self, name, args, options)`` do it."""

    def method(self: Any, *args: Any, **options: Any) -> Any:
        return call(self, name, args, options)

    method.__name__ = name
    return method
