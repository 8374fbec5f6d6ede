"""Managers: objects that live in a server process, and proxies by which others use them.

The standard library's machinery (protocol, authentication, reference counts, registrations) by inheritance, and what
it lacks:

- a server's death is a ``ManagerDied`` at once, from every proxy (``manager_links``);
- a server ends with its maker, also when that is killed (``manager_server``), and takes back what a dead client held
  (``manager_holds``, ``manager_clients``);
- a proxy is a task's argument like any other: the manager's key travels with it, within the session;
- a manager's ``Pool`` is distpool's.

::

    Manager() ─► SyncManager.start ─► server process: manager_server.Server ─► objects
        │                                     ▲
        └─► manager.dict() ─► DictProxy ──────┘ a Link for each thread that calls

Stands in for ``multiprocessing.managers``; names that are not here are that module's own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from multiprocessing import AuthenticationError, managers, util
from typing import Any

from distpool import manager_holds as holds
from distpool import manager_server as server
from distpool.manager_links import CLIENTS, known_key, remember
from distpool.manager_server import Server, SharedMemoryServer
from distpool.worker_hooks import OWNER_HOOKS

# Untyped, since the stubs know only half of what is public there.
standard: Any = managers

Array = standard.Array
Namespace = standard.Namespace
ProcessLocalSet = standard.ProcessLocalSet
RebuildProxy = standard.RebuildProxy
RemoteError = standard.RemoteError
State = standard.State
Token = standard.Token
Value = standard.Value
all_methods = standard.all_methods
convert_to_error = standard.convert_to_error
dispatch = standard.dispatch
listener_client = standard.listener_client
public_methods = standard.public_methods

__all__ = [
    "AcquirerProxy",
    "Array",
    "ArrayProxy",
    "AutoProxy",
    "BarrierProxy",
    "BaseListProxy",
    "BaseManager",
    "BasePoolProxy",
    "BaseProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "IteratorProxy",
    "ListProxy",
    "MakeProxyType",
    "Namespace",
    "NamespaceProxy",
    "PoolProxy",
    "ProcessLocalSet",
    "RebuildProxy",
    "RemoteError",
    "SemaphoreProxy",
    "Server",
    "SharedMemoryManager",
    "SharedMemoryServer",
    "State",
    "SyncManager",
    "Token",
    "Value",
    "ValueProxy",
    "all_methods",
    "convert_to_error",
    "dispatch",
    "listener_client",
    "public_methods",
]


class _Connects:
    """Has the standard class connect by our links: its ``_Client`` is ours whatever it sets."""

    _serializer: str

    @property
    def _Client(self) -> Any:
        return CLIENTS[self._serializer]

    @_Client.setter
    def _Client(self, client: Any) -> None:
        pass


# --- proxies in tasks --------------------------------------------------------------------------------------

#: All classes of proxies, which the pickler of tasks must know; so they live for ever.
_proxy_classes: list[type[BaseProxy]] = []


def _reduce_for_task(pickler: Any, proxy: Any) -> Any:
    """Pickle a proxy for a worker of this session, with its manager's key: the worker may have another.

    The manager forgets a thing with its last proxy, so this one stays until the worker has its own.
    """
    pickler.lend(proxy)
    rebuild, (make, token, serializer, options) = proxy.__reduce__()
    return rebuild, (make, token, serializer, {**options, "authkey": bytes(proxy._authkey)})


def _register_with_tasks() -> None:
    """Tell the pickler of tasks about our proxies, once it is there; before, no task can be."""
    pickler = sys.modules.get("distpool.scheduler.serialize.pickler")
    if pickler is not None:
        for kind in _proxy_classes:
            pickler.register(kind, _reduce_for_task)


OWNER_HOOKS.append(_register_with_tasks)


# --- proxies -----------------------------------------------------------------------------------------------


class BaseProxy(_Connects, standard.BaseProxy):  # type: ignore[misc]
    """A stand-in for an object in a manager's server (``multiprocessing.managers.BaseProxy``).

    Raises:
        ManagerDied: from every method, at once, if the server is gone.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _proxy_classes.append(cls)
        _register_with_tasks()

    def __init__(
        self,
        token: Any,
        serializer: str,
        manager: Any = None,
        authkey: bytes | None = None,
        exposed: Any = None,
        incref: bool = True,
        manager_owned: bool = False,
    ) -> None:
        if authkey is None and manager is None:  # it came by a manager's connection, within a container
            authkey = known_key(token.address)
        super().__init__(token, serializer, manager, authkey, exposed, incref, manager_owned)

    def _callmethod(self, methodname: str, args: Any = (), kwds: Mapping[str, Any] = {}) -> Any:
        try:
            return super()._callmethod(methodname, args, kwds)
        except BaseException:
            link = getattr(self._tls, "connection", None)
            if link is not None and getattr(link, "is_waiting", False):
                # Interrupted: what is still to come answers this call, and must not answer the next.
                del self._tls.connection
                link.close()
            raise

    def __reduce__(self) -> Any:
        rebuild, (make, *rest) = super().__reduce__()
        return rebuild, (AutoProxy if make is standard.AutoProxy else make, *rest)


_proxy_types: dict[Any, type[BaseProxy]] = {}


def MakeProxyType(name: str, exposed: Any) -> type[BaseProxy]:
    """A class of proxies with the methods ``exposed`` (``multiprocessing.managers.MakeProxyType``)."""
    exposed = tuple(exposed)
    known = _proxy_types.get((name, exposed))
    if known is None:
        methods: Any = standard.MakeProxyType(name, exposed)
        known = type(name, (BaseProxy, methods), {"_exposed_": exposed, "__module__": __name__})
        _proxy_types[name, exposed] = known
    return known


def AutoProxy(
    token: Any,
    serializer: str,
    manager: Any = None,
    authkey: bytes | None = None,
    exposed: Any = None,
    incref: bool = True,
    manager_owned: bool = False,
) -> BaseProxy:
    """A proxy with all public methods of its object (``multiprocessing.managers.AutoProxy``)."""
    if authkey is None:
        authkey = manager._authkey if manager is not None else known_key(token.address) or _own_key()
    if exposed is None:
        with CLIENTS[serializer](token.address, authkey=authkey) as link:
            exposed = dispatch(link, None, "get_methods", (token,))
    make: Any = MakeProxyType(f"AutoProxy[{token.typeid}]", exposed)
    proxy: Any = make(
        token,
        serializer,
        manager=manager,
        authkey=authkey,
        incref=incref,
        manager_owned=manager_owned,
    )
    proxy._isauto = True
    return proxy  # type: ignore[no-any-return]


def _own_key() -> bytes:
    from multiprocessing import process

    return process.current_process().authkey


class IteratorProxy(BaseProxy, standard.IteratorProxy):  # type: ignore[misc]
    """Of an iterator or generator."""


_leaving: set[tuple[int, Any]] = set()


def _leave_at_exit(address: Any, key: bytes, client: Any) -> None:
    """Have a regular exit of this process tell the server so, which else would take it for a death."""
    here = (os.getpid(), address)
    if here not in _leaving:
        _leaving.add(here)
        util.Finalize(None, _leave, args=(address, key, client), exitpriority=5)


def _leave(address: Any, key: bytes, client: Any) -> None:
    try:
        with client(address, authkey=key) as link:
            dispatch(link, None, "leave")
    except (EOFError, OSError, AuthenticationError, RemoteError):
        pass  # the manager has gone first, or is a plain Python's


class AcquirerProxy(BaseProxy, standard.AcquirerProxy):  # type: ignore[misc]
    """Of a lock; a client that dies gives it back."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Acquire what it stands for; ``timeout`` in seconds."""
        _leave_at_exit(self._token.address, bytes(self._authkey), self._Client)
        return bool(super().acquire(blocking, timeout))


class SemaphoreProxy(AcquirerProxy):
    """Of a semaphore: what ``with`` holds is tied to its process, what ``acquire()`` took is not."""

    _exposed_ = ("acquire", "release", "__enter__", "__exit__")

    def __enter__(self) -> bool:
        return bool(self._callmethod("__enter__"))

    def __exit__(self, *exc_info: object) -> None:
        self._callmethod("__exit__", (None, None, None))


class ConditionProxy(AcquirerProxy, standard.ConditionProxy):  # type: ignore[misc]
    """Of a condition."""


class EventProxy(BaseProxy, standard.EventProxy):  # type: ignore[misc]
    """Of an event."""


class BarrierProxy(BaseProxy, standard.BarrierProxy):  # type: ignore[misc]
    """Of a barrier, which breaks when a client dies in it."""


class NamespaceProxy(BaseProxy, standard.NamespaceProxy):  # type: ignore[misc]
    """Of a namespace."""


class ValueProxy(BaseProxy, standard.ValueProxy):  # type: ignore[misc]
    """Of a value."""


class BaseListProxy(BaseProxy, standard.BaseListProxy):  # type: ignore[misc]
    """Of a list, without its in-place operators."""


class ListProxy(BaseListProxy, standard.ListProxy):  # type: ignore[misc]
    """Of a list."""


class DictProxy(BaseProxy, standard.DictProxy):  # type: ignore[misc]
    """Of a dictionary."""


class ArrayProxy(BaseProxy, standard.ArrayProxy):  # type: ignore[misc]
    """Of an array."""


class BasePoolProxy(BaseProxy, standard.BasePoolProxy):  # type: ignore[misc]
    """Of a pool, without its context manager."""


class PoolProxy(BasePoolProxy, standard.PoolProxy):  # type: ignore[misc]
    """Of a pool that lives in the server."""


# --- managers ----------------------------------------------------------------------------------------------


class BaseManager(_Connects, standard.BaseManager):  # type: ignore[misc]
    """Makes objects in a server process (``multiprocessing.managers.BaseManager``).

    Args: as the standard class takes them: ``address``, ``authkey``, ``serializer``, ``ctx``, and
    ``shutdown_timeout`` in seconds.
    """

    _Server: Any = Server

    def get_server(self) -> Any:
        """A server to run in this process by ``serve_forever()``."""
        made: Any = super().get_server()
        if type(made) is standard.Server:
            made.__class__ = Server
            made.prepare()
        return made

    def start(self, initializer: Any = None, initargs: Any = ()) -> None:
        """Start the server process; ``initializer(*initargs)`` runs first in it."""
        super().start(initializer, initargs)
        remember(self._address, self)

    @classmethod
    def _run_server(cls, *args: Any, **kwargs: Any) -> None:
        server.end_with_maker()
        super()._run_server(*args, **kwargs)

    @classmethod
    def register(
        cls,
        typeid: str,
        callable: Any = None,
        proxytype: Any = None,
        exposed: Any = None,
        method_to_typeid: Any = None,
        create_method: bool = True,
    ) -> None:
        """Let the manager make objects of a kind (``multiprocessing.managers.BaseManager.register``)."""
        super().register(typeid, callable, proxytype or AutoProxy, exposed, method_to_typeid, create_method)


def _make_pool(*args: Any, **kwargs: Any) -> Any:
    from distpool.pool import Pool

    return Pool(*args, **kwargs)


class SyncManager(BaseManager, standard.SyncManager):  # type: ignore[misc]
    """Makes lists, dictionaries, locks and more (``multiprocessing.managers.SyncManager``)."""


class SharedMemoryManager(BaseManager, standard.SharedMemoryManager):  # type: ignore[misc]
    """Makes segments of shared memory that end with it (``multiprocessing.managers.SharedMemoryManager``)."""

    _Server = SharedMemoryServer


_KINDS: dict[str, tuple[Any, type[BaseProxy] | None]] = {
    "Queue": (holds.ManagedQueue, None),
    "JoinableQueue": (holds.ManagedQueue, None),
    "Event": (threading.Event, EventProxy),
    "Lock": (holds.ManagedLock, AcquirerProxy),
    "RLock": (holds.ManagedRLock, AcquirerProxy),
    "Semaphore": (holds.ManagedSemaphore, SemaphoreProxy),
    "BoundedSemaphore": (holds.ManagedBoundedSemaphore, SemaphoreProxy),
    "Condition": (holds.managed_condition, ConditionProxy),
    "Barrier": (holds.ManagedBarrier, BarrierProxy),
    "Pool": (_make_pool, PoolProxy),
    "list": (list, ListProxy),
    "dict": (dict, DictProxy),
    "Value": (Value, ValueProxy),
    "Array": (Array, ArrayProxy),
    "Namespace": (Namespace, NamespaceProxy),
}
for _typeid, (_make, _proxytype) in _KINDS.items():
    SyncManager.register(_typeid, _make, _proxytype)
# What the methods of a pool's proxy give.
SyncManager.register("Iterator", proxytype=IteratorProxy, create_method=False)
SyncManager.register("AsyncResult", exposed=("get", "ready", "successful", "wait"), create_method=False)
