"""Handles on shared things of another node: the same classes, each operation a call to the node's server.

::

    lock.acquire() ──► this thread's Link to the server ── Request ──► sync_server
                       (made at the first call)         ◄── Answer ──┘

A link serves one thread at a time, and the server has a thread for it, so a thread is the same one to a recursive lock
there. What a thread has taken stays taken when it ends; what a process has taken is released when that ends. If the
server is gone, each call raises ``SharedGone`` at once.
"""

from __future__ import annotations

import builtins
import os
import queue
import socket
import threading
import weakref
from collections import Counter
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

import msgspec

from distpool import errors
from distpool.errors import SharedElsewhere, SharedGone
from distpool.scheduler import node_identity
from distpool.scheduler.shared import identity, things
from distpool.scheduler.shared.sync_server import CANCEL, Address, Answer, Description, Hello, Request

_decode = msgspec.msgpack.Decoder(Answer).decode
_encode = msgspec.msgpack.Encoder().encode
_PLAIN = (type(None), bool, int, float, str, bytes)
_ERRORS = {
    f"{kind.__module__}.{kind.__qualname__}": kind
    for kind in (
        threading.BrokenBarrierError,
        queue.Empty,
        queue.Full,
        errors.SharedGone,
        errors.SharedElsewhere,
    )
}


def make(cls: Any, where: things.Where, server: Any, parts: tuple[Any, ...]) -> Any:
    """A handle on a thing of another node; an instance of ``cls``, though it has none of its memory."""
    made = _class_for(cls).__new__(_class_for(cls))
    # What it is made of is asked for at the same server, where the two belong together.
    parts = tuple(_served_by(part, server) for part in parts)
    made._remote_where = where
    made._remote_server = None if server is None else tuple(server)
    if server is not None:
        _users[made._remote_server] += 1
        weakref.finalize(made, _dropped, made._remote_server, _forks).atexit = False
    made._remote_parts = parts
    made._attach_parts(*parts)
    return made


def _served_by(part: Any, server: Any) -> Any:
    if isinstance(part, things.SharedThing) and part.is_remote:
        remote: Any = part
        return make(remote._remote_of, remote._remote_where, server, remote._remote_parts)
    return part


def _class_for(cls: Any) -> Any:
    found = _classes.get(cls)
    if found is None:
        body: dict[str, Any] = {name: things.forward(name, _call) for name in cls.OPERATIONS}
        body |= {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__reduce__": _reduce,
            "is_remote": True,
            "_remote_of": cls,
        }
        found = _classes[cls] = type(cls.__name__, (cls,), body)
    return found


def _reduce(self: Any) -> tuple[Any, ...]:
    where, server, parts = self._remote_where, self._remote_server, self._remote_parts
    return things.rebuild, (self._remote_of, where, server, parts)


def _describe(thing: Any) -> Description:
    parts: list[Any] = []
    for part in thing._remote_parts:
        if isinstance(part, things.SharedThing):
            parts.append((True, _describe(part)))
        else:  # what is not plain is for this side: a barrier's action
            parts.append((False, part if isinstance(part, _PLAIN) else None))
    return thing.KIND, list(thing._remote_where), parts


def _call(self: Any, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What each operation of a remote handle does."""
    if self._remote_server is None:
        raise SharedElsewhere(
            f"this {self.KIND} belongs to node {self._remote_where[-1]!r}, and whoever sent it to node "
            f"{node_identity.current_node()!r} had no session, so nobody there serves it: send it as an argument of "
            "a task, or through a Queue"
        )
    if name == "__exit__":
        args = (None, None, None)
    link = _link_to(self._remote_server)
    try:
        answer = link.ask(self, name, args, options)
    except (OSError, EOFError) as error:
        _drop(self._remote_server)
        raise _gone(self._remote_server) from error
    if answer.error is None and name in self.GIVING:
        link.taken = max(0, link.taken - 1)
    elif answer.value and name in self.TAKING:
        link.taken += 1
    for died in answer.told:
        self._tell(died)
    if answer.error is not None:
        kind, text = answer.error
        raise _error(kind, text)
    if isinstance(answer.value, list):
        return tuple(answer.value)
    return answer.value


def _error(name: str, text: str) -> Exception:
    module, _, kind = name.rpartition(".")
    found = getattr(builtins, kind, None) if module == "builtins" else _ERRORS.get(name)
    if isinstance(found, type) and issubclass(found, Exception):
        return found(text) if text else found()
    return RuntimeError(f"{name}: {text}")


def _gone(server: Address) -> SharedGone:
    return SharedGone(
        f"process {server[2]} of the node that this lock, queue or event belongs to is gone, and the thing with it. "
        "Keep the process that made it alive for as long as others use it"
    )


class Link:
    """A connection to a server, used by one thread at a time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        #: How often something was taken over it, and not yet given back.
        self.taken = 0
        self._connection = dial(address)
        self._numbers: dict[tuple[Any, ...], int] = {}
        _links.add(self)

    def ask(self, thing: Any, operation: str, args: tuple[Any, ...], options: dict[str, Any]) -> Answer:
        """Have the server do it. Raises OSError or EOFError if it is gone."""
        key = (thing.KIND, thing._remote_where[0], thing._remote_where[2])
        number = self._numbers.get(key)
        description = None
        if number is None:
            number, description = len(self._numbers), _describe(thing)
        request = Request(number, description, operation, list(args), options)
        self._connection.send_bytes(_encode(request))
        try:
            answer = _decode(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise
        except BaseException:
            self._cancel(thing, operation, number, key)
            raise
        self._numbers[key] = number
        return answer

    def _cancel(self, thing: Any, operation: str, number: int, key: tuple[Any, ...]) -> None:
        """An interrupt came while the server was at it: what it has taken all the same is given back."""
        try:
            self._connection.send_bytes(CANCEL)
            answer = _decode(self._connection.recv_bytes())
            self._numbers[key] = number
            if answer.value and operation in ("acquire", "__enter__"):
                giving = "release" if operation == "acquire" else "__exit__"
                self.ask(thing, giving, () if giving == "release" else (None, None, None), {})
        except BaseException:
            self._connection.close()  # the next call begins anew
            raise

    def close(self) -> None:
        """End it: what was taken over it is given back."""
        self._connection.close()

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return not self._connection.closed


def dial(address: Address) -> Connection[bytes, bytes]:
    """A connection to the server at ``address``, over which each side has proved who it is.

    Raises:
        OSError, EOFError: it is gone.
    """
    name, key, _ = address
    dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        dialled.connect(f"\0{name}")
    except BaseException:
        dialled.close()
        raise
    connection: Connection[bytes, bytes] = Connection(dialled.detach())
    try:
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
        connection.send_bytes(_encode(Hello(identity.me)))
    except BaseException:
        connection.close()
        raise
    return connection


class _OfThread:
    """The links of one thread. When it ends they are there for others: what they have taken stays taken."""

    def __init__(self) -> None:
        self.links: dict[Address, Link] = {}
        self._forks = _forks

    def __del__(self) -> None:
        if self._forks == _forks:
            for address, link in self.links.items():
                _free.setdefault(address, []).append(link)


def _link_to(address: Address) -> Link:
    mine: _OfThread | None = getattr(_local, "links", None)
    if mine is None:
        mine = _local.links = _OfThread()
    link = mine.links.get(address)
    if link is None or not link.is_open:
        try:
            link = _free[address].pop()
            while not link.is_open:
                link = _free[address].pop()
        except LookupError:
            try:
                link = Link(address)
            except (OSError, EOFError) as error:
                raise _gone(address) from error
        mine.links[address] = link
    return link


def _drop(address: Address) -> None:
    _free.pop(address, None)
    mine = getattr(_local, "links", None)
    if mine is not None:
        mine.links.pop(address, None)


def _dropped(address: Address, forks: int) -> None:
    """A handle is gone. With the last one for a server go the links to it, unless something is taken over them."""
    if forks != _forks:
        return
    _users[address] -= 1
    if _users[address] <= 0:
        del _users[address]
        for link in list(_links):
            if link.address == address and not link.taken:
                link.close()


def _forked_child() -> None:
    global _local, _forks
    _forks += 1
    for link in list(_links):
        link.close()
    _free.clear()
    _users.clear()
    _local = threading.local()


_forks = 0
_users: Counter[Address] = Counter()  # handles, by the server that they ask
_classes: dict[Any, Any] = {}
_free: dict[Address, list[Link]] = {}
_links: weakref.WeakSet[Link] = weakref.WeakSet()
_local = threading.local()
os.register_at_fork(after_in_child=_forked_child)
