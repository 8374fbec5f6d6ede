"""Serves the shared things of this process's node to processes of other nodes.

::

    process of another node                  this process
    thread ── Link ── request ─────────────► thread of that connection: thing.operation(...)
                      ◄──────────── answer ──┘  may wait for long; only this connection waits
              the end of the connection ─────► what it had taken is released, as after a death

A thread, not a process: things go with the process that made them, and so may their server. It starts when a thing is
pickled for the first time in a process that has several threads (whoever has a session does), so a program without
a session keeps its one thread. The socket has no file, so nothing can be left behind.

Nothing that arrives is unpickled: requests are plain values, and name operations that the class allows. Before the
first of them, both sides prove that they know the key that the pickle carries.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import weakref
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from multiprocessing.context import get_spawning_popen
from typing import Any

import msgspec

from distpool.scheduler.shared import mutex, segment
from distpool.scheduler.shared.things import KINDS, SharedThing

#: Where a server is: its socket's abstract name, the key, and whose it is.
Address = tuple[str, bytes, int]
#: A thing for the other side: its kind, where it lies, and its plain parts.
Description = tuple[str, list[Any], list[Any]]


class Hello(msgspec.Struct, array_like=True):
    """Who a client is: the word of its process."""

    process: int


class Request(msgspec.Struct, array_like=True):
    """Do ``operation`` on the thing that this connection calls ``number``; described the first time."""

    number: int
    description: Any  # a Description
    operation: str
    args: list[Any]
    options: dict[str, Any]


class Answer(msgspec.Struct, array_like=True):
    """What came of it: a value, or an error's class and text; and the words of the holders that died."""

    value: Any
    error: tuple[str, str] | None
    told: list[int]


#: What a client sends to end the wait that it is in.
CANCEL = b""


class Cancelled(BaseException):
    """Ends a wait that the client was interrupted in."""


_decode = msgspec.msgpack.Decoder(Request).decode
_encode = msgspec.msgpack.Encoder().encode


def address_for_pickle() -> Address | None:
    """Where this process serves its things; None if no other node can come to know of them."""
    if _server is None and (threading.active_count() == 1 or get_spawning_popen() is not None):
        return None
    return start().address


def start() -> Server:
    """This process's server, which lasts as long as the process."""
    global _server
    with _starting:
        if _server is None:
            _server = Server()
        return _server


class Server:
    """Listens, and serves each connection in a thread of its own."""

    def __init__(self) -> None:
        name = f"distpool-shared-{os.getpid()}-{os.urandom(8).hex()}"
        self.address: Address = (name, os.urandom(32), os.getpid())
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(f"\0{name}")
        self._socket.listen(128)
        self._connections: weakref.WeakSet[Connection[bytes, bytes]] = weakref.WeakSet()
        threading.Thread(target=self._accept, name="distpool-shared", daemon=True).start()

    def close_in_child(self) -> None:
        """A fork has copied the descriptors; while a copy is open, nobody sees that this process has ended."""
        self._socket.close()
        for connection in list(self._connections):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                if self._socket.fileno() < 0:
                    return
                continue  # no descriptor was left, or the client has gone already
            user = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if user not in (os.geteuid(), 0):
                accepted.close()
                continue
            connection: Connection[bytes, bytes] = Connection(accepted.detach())
            self._connections.add(connection)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="distpool-shared-client", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # there can be no more threads: the end of its connection tells the client
                connection.close()

    def _serve(self, connection: Connection[bytes, bytes]) -> None:
        try:
            with connection:
                deliver_challenge(connection, self.address[1])
                answer_challenge(connection, self.address[1])
                client = msgspec.msgpack.decode(connection.recv_bytes(), type=Hello)
                _Client(connection, client.process).serve()
        except (OSError, EOFError, mutex.ClientGone):
            pass
        except Exception as error:
            if type(error).__name__ not in ("AuthenticationError", "DecodeError", "ValidationError"):
                raise


class _Client:
    """One connection, in its thread: the things that it uses, and what it has taken of them."""

    def __init__(self, connection: Connection[bytes, bytes], process: int) -> None:
        self._connection = connection
        self._process = process
        self._things: dict[int, SharedThing] = {}
        self._attached: dict[tuple[Any, ...], SharedThing] = {}

    def serve(self) -> None:
        mutex.service.check = self._check
        try:
            while True:
                message = self._connection.recv_bytes()
                if message == CANCEL:  # it came when the answer was on its way
                    continue
                answer = self._answer(_decode(message))
                self._connection.send_bytes(_encode(answer))
        finally:
            mutex.service.check = None
            self._release_all()

    def _answer(self, request: Request) -> Answer:
        told: list[int] = []
        mutex.service.told = told
        try:
            thing = self._things.get(request.number)
            if thing is None:
                thing = self._things[request.number] = self._attach(request.description)
            if request.operation not in thing.OPERATIONS:
                raise TypeError(f"{request.operation!r} is no operation of a {thing.KIND}")
            value = getattr(thing, request.operation)(*request.args, **request.options)
            _note(thing, request.operation, value, self)
            return Answer(value, None, told)
        except Cancelled:
            return Answer(None, ("builtins.KeyboardInterrupt", ""), told)
        except Exception as error:
            return Answer(None, (f"{type(error).__module__}.{type(error).__qualname__}", str(error)), told)

    def _attach(self, description: Description) -> SharedThing:
        kind, where, parts = description
        key = (kind, where[0], where[2])
        thing = self._attached.get(key)
        if thing is None:
            cls = KINDS[kind]
            thing = cls.__new__(cls)
            own = [self._attach(value) if is_thing else value for is_thing, value in parts]
            thing._attach(segment.find(*where), *own)
            self._attached[key] = thing
        return thing

    def _check(self) -> None:
        """Called while an operation waits."""
        if self._connection.poll(0):
            try:
                message = self._connection.recv_bytes()
            except (OSError, EOFError):
                raise mutex.ClientGone from None
            raise Cancelled if message == CANCEL else mutex.ClientGone

    def _release_all(self) -> None:
        for thing in self._attached.values():
            with _noting:
                takers = _takers.get(_name(thing), [])
                held = takers.count(self)
                takers[:] = [taker for taker in takers if taker is not self]
            try:
                thing._client_gone(held, self._process)
            except (ValueError, AssertionError):
                pass  # somebody else has released it


# Who has taken what. One may release what another has taken, so it is one table for all.
_takers: dict[tuple[Any, ...], list[_Client]] = {}
_noting = threading.Lock()


def _name(thing: SharedThing) -> tuple[bytes, int]:
    return thing.place.segment.key, thing.place.offset


def _note(thing: SharedThing, operation: str, value: Any, client: _Client) -> None:
    if operation in thing.TAKING and value:
        with _noting:
            _takers.setdefault(_name(thing), []).append(client)
    elif operation in thing.GIVING:
        with _noting:
            takers = _takers.get(_name(thing))
            if takers:
                takers.remove(client if client in takers else takers[0])
                if not takers:
                    del _takers[_name(thing)]


def _forked_child() -> None:
    global _server, _starting, _noting
    _starting, _noting = threading.Lock(), threading.Lock()
    _takers.clear()
    if _server is not None:
        _server.close_in_child()
        _server = None


_server: Server | None = None
_starting = threading.Lock()
os.register_at_fork(after_in_child=_forked_child)
