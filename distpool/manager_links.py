"""Connections to a manager's server that say who has died when they break.

::

    proxy ─► Client(address) ─► the standard connection, authenticated ─► as a Link ─► send, recv
                  │                                                          │
                  └── nobody answers ──────────► explained() ◄─── it breaks ─┘
                                                    └─► ManagerDied, which names the process and how it ended

A server's death closes its sockets, so whoever waits for an answer learns of it at once. Only errors of the transport
are explained: what a method of the shared object raises travels as data and comes out as it is.

What it is not: a reconnection. A manager's objects are gone with it.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import weakref
from multiprocessing import connection, process
from typing import Any

__all__ = ["CLIENTS", "Client", "Link", "XmlClient", "known_key", "remember"]

# A process closes its sockets some moments before its parent can read its exit status.
_REAP_WAIT_S = 1.0
# The first read of a message asks for little, since so much is allocated; large ones are read on in large pieces.
_FIRST_READ_BYTES, _READ_BYTES_MAX = 2048, 1 << 20
# Longer ones the standard connection writes in two pieces, so as not to copy them.
_JOINED_BYTES_MAX = 16384
_PLAIN = frozenset((int, float, str, bytes, bool, type(None)))
# How the standard connection writes a message's length: -1 says that a longer number follows.
_LENGTH, _LONG_LENGTH, _IS_LONG = struct.Struct("!i"), struct.Struct("!Q"), struct.pack("!i", -1)
_CREDENTIALS = struct.Struct("3i")

#: The managers that this process has started, by address: their exit status can be had.
_started: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()
#: Who serves an address, by what the kernel said when we last got through.
_pids: dict[Any, int] = {}
#: The key that opened each address: what a manager sends us proxies of is behind the same door.
_keys: dict[Any, bytes] = {}


def remember(address: Any, manager: Any) -> None:
    """Note that ``manager`` serves ``address`` by a child of this process."""
    _started[address] = manager


def known_key(address: Any) -> bytes | None:
    """The key by which this process got through to ``address``, or by which it serves there."""
    server = getattr(process.current_process(), "_manager_server", None)
    if server is not None and server.address == address:
        return bytes(server.authkey)
    return _keys.get(address)


def peer_pid(link: Any) -> int:
    """The process at the other end of a unix socket; 0 if it cannot be told (TCP, or another pid namespace)."""
    end = socket.socket(fileno=link.fileno())
    try:
        if end.family != socket.AF_UNIX:
            return 0
        return int(_CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    except OSError:
        return 0
    finally:
        end.detach()


class Alternating(connection.Connection):
    """A connection by which question and answer take turns, so that one read may take a whole message.

    The standard one reads a message's length first, and must not read on into the next message. It also makes a
    pickler for each message; messages of nothing but plain values need none of what that one can do.
    """

    _handle: int | None

    def send(self, obj: Any) -> None:
        """Send one object."""
        if _is_plain(obj):
            body = pickle.dumps(obj)
            if len(body) <= _JOINED_BYTES_MAX:
                self._send(_LENGTH.pack(len(body)) + body)
                return
        super().send(obj)

    def recv(self) -> Any:
        """Receive one object. Raises EOFError at the end of the connection."""
        return pickle.loads(self._take())

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Receive one message as bytes."""
        message = bytes(self._take())
        if maxlength is not None and len(message) > maxlength:
            self.close()
            raise OSError("bad message length")
        return message

    def _send(self, buf: bytes) -> None:
        super()._send(buf)  # type: ignore[misc]

    def _take(self) -> memoryview:
        chunk = self._read(_FIRST_READ_BYTES)
        while len(chunk) < 4 or (chunk[:4] == _IS_LONG and len(chunk) < 12):
            chunk += self._read(_FIRST_READ_BYTES)
        (size,), start = _LENGTH.unpack_from(chunk), 4
        if size == -1:
            (size,), start = _LONG_LENGTH.unpack_from(chunk, 4), 12
        if len(chunk) - start == size:
            return memoryview(chunk)[start:]
        message = bytearray(memoryview(chunk)[start:])
        while (missing := size - len(message)) > 0:
            message += self._read(min(missing, _READ_BYTES_MAX))
        return memoryview(message)

    def _read(self, size: int) -> bytes:
        if self._handle is None:
            raise OSError("handle is closed")
        chunk = os.read(self._handle, size)
        if not chunk:
            raise EOFError
        return chunk


def _is_plain(message: Any) -> bool:
    """Whether a request or an answer holds plain values only, which any pickler writes alike."""
    for item in message:
        kind = type(item)
        if kind in _PLAIN or (kind is dict and not item):
            continue
        if kind is not tuple:
            return False
        for value in item:
            if type(value) not in _PLAIN:
                return False
    return True


class Link(Alternating):
    """A connection whose breaking is a ManagerDied if that is what has happened."""

    server_address: Any
    #: Something was asked, and the answer is not there yet. An interrupt leaves it so.
    is_waiting = False

    def _send(self, buf: bytes) -> None:
        self.is_waiting = True
        try:
            super()._send(buf)
        except OSError as error:
            raise explained(self.server_address, error) from error

    def _take(self) -> memoryview:
        try:
            message = super()._take()
            self.is_waiting = False
            return message
        except (EOFError, OSError) as error:
            raise explained(self.server_address, error) from error


def Client(address: Any, family: str | None = None, authkey: bytes | None = None) -> Any:
    """Connect to a manager (``multiprocessing.connection.Client``).

    Raises:
        ManagerDied: nobody answers there, or who answered died over it.
        AuthenticationError: the key is wrong.
    """
    link: Any
    try:
        link = connection.Client(address, family, authkey)
    except (EOFError, ConnectionError, FileNotFoundError) as error:
        raise explained(address, error) from error
    return _as_link(link, link, address, authkey)


def XmlClient(address: Any, family: str | None = None, authkey: bytes | None = None) -> Any:
    """The same for the serializer "xmlrpclib" (``multiprocessing.connection.XmlClient``)."""
    wrapper: Any = connection.XmlClient(address, family, authkey)  # type: ignore[attr-defined]
    _as_link(wrapper, wrapper._conn, address, authkey)
    wrapper.recv_bytes, wrapper.send_bytes = wrapper._conn.recv_bytes, wrapper._conn.send_bytes
    return wrapper


#: By the name of a serializer, as ``multiprocessing.managers.listener_client`` has them.
CLIENTS = {"pickle": Client, "xmlrpclib": XmlClient}


def _as_link(made: Any, link: Any, address: Any, authkey: bytes | None) -> Any:
    link.__class__ = Link
    link.server_address = address
    if authkey is not None:
        _keys[address] = bytes(authkey)
    if pid := peer_pid(link):
        _pids[address] = pid
    return made


def explained(address: Any, error: BaseException) -> BaseException:
    """A ManagerDied that tells what became of the manager at ``address``; if it lives, a new error like ``error``."""
    from distpool.errors import ManagerDied

    manager = _started.get(address)
    pid, fate = _pids.get(address, 0), ""
    child = None if manager is None else manager._process
    if manager is not None and manager._state.value == manager._state.SHUTDOWN:
        return ManagerDied(f"the manager at {address!r} has been shut down, and its objects are gone with it")
    if child is not None and child._parent_pid == os.getpid():
        pid = child.pid
        child.join(_REAP_WAIT_S)
        fate = _how(child.exitcode)
    elif pid and not _is_gone(pid):
        return type(error)(*error.args)
    who = f"the manager with pid {pid}, at {address!r}," if pid else f"the manager at {address!r}"
    if not (pid or fate) and isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return ManagerDied(
            f"{who} cannot be reached: it has ended, never ran, or runs on another machine. One that processes of "
            "other machines are to use needs an address that they can reach: SyncManager(address=(host, port))"
        )
    return ManagerDied(
        f"{who} {fate or 'has died'}. Its objects are gone with it: start another manager and fill it again"
    )


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "has closed the connection, and is about to end"
    if exit_code < 0:
        import signal

        try:
            return f"was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was killed by signal {-exit_code}"
    return f"has ended with exit status {exit_code}"


def _is_gone(pid: int) -> bool:
    """Whether the process has ended; one that is about to has some moments to do so."""
    if pid == os.getpid() or process.current_process().pid == pid:
        return False
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        return bool(connection.wait([watched], _REAP_WAIT_S))
    finally:
        os.close(watched)
