"""The first word at a node's port: who comes and who answers find out whether they understand each other.

::

    newcomer ── TCP, CURVE handshake ──► port of a node      fails: nobody there, or another secret
             ── Knock(protocol, python, version) ──►
             ◄── Admission ──                                refused: a table of what differs

Everybody who may come by a port knocks first, on a link of its own: a node before it joins, a program before it opens
its session. Patch versions may differ; what is pickled by one minor version of Python need not be readable by another.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from contextlib import suppress
from typing import Any

import zmq

import distpool
from distpool.errors import ClusterError
from distpool.scheduler.messages import PROTOCOL_VERSION, Admission, Knock, decode, encode
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import HANDSHAKE_FAILED, close_watched, watched_dealer
from distpool.scheduler.text_tables import in_columns

__all__ = ["KNOCK_S", "admission", "introduction", "knock", "tcp_address"]

#: Who has not answered by then is out of reach. Whoever waits for us to start waits for longer than that.
KNOCK_S = 10.0


def tcp_address(place: str) -> str:
    """What a person calls a port ("HOST:PORT", or with "tcp://" in front) as ZeroMQ has it. Raises ValueError."""
    host, colon, port = place.removeprefix("tcp://").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(
            f"a cluster's address is HOST:PORT, as `distpool start --head` prints it, not {place!r}"
        )
    return f"tcp://{host}:{port}"


def introduction() -> Knock:
    """Who we are."""
    return Knock(PROTOCOL_VERSION, platform.python_version(), distpool.__version__)


def admission(knock: Knock, node: str, store: int = 0) -> Admission:
    """What this node answers; ``store`` is the number of its store."""
    here, there = knock, introduction()
    rows = []
    if here.protocol != there.protocol:
        rows.append(("protocol", str(here.protocol), str(there.protocol)))
        rows.append(("distpool", here.version, there.version))
    if _minor(here.python) != _minor(there.python):
        rows.append(("Python", here.python, there.python))
    if not rows:
        return Admission(True, node=node, store=store)
    table = "\n".join(f"    {line}" for line in in_columns([("", "here", "there"), *rows]))
    reason = (
        f"this machine and the cluster differ:\n{table}\nuse the same versions on all machines of a cluster"
    )
    return Admission(False, reason, node)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _look_up(place: str) -> None:
    """ZeroMQ would go on looking up a name that is not there, and say nothing."""
    host, _, port = place.rpartition(":")
    try:
        socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        why = "it is no IPv4 address" if ":" in host else error.strerror or str(error)
        raise ClusterError(f"there is no machine called {host}, as far as this one knows: {why}") from None


def knock(context: zmq.Context[Any], address: str, keys: Keys, timeout_s: float = KNOCK_S) -> Admission:
    """Knock at a port, and return the answer of who lets us in. Raises ClusterError with what stands against it."""
    place = address.removeprefix("tcp://")
    _look_up(place)
    until_s = time.monotonic() + timeout_s
    identity = b"q:" + os.urandom(6).hex().encode()
    link, fate = watched_dealer(context, address, identity, keys, handshakes=True)
    try:
        with suppress(zmq.Again):  # it has failed already, and ``fate`` knows why
            link.send(encode(introduction()), zmq.NOBLOCK)
        poller = zmq.Poller()
        for source in (link, fate):
            poller.register(source, zmq.POLLIN)
        ready = dict(poller.poll(max(0, int((until_s - time.monotonic()) * 1000))))
        if link in ready:
            answer = decode(link.recv())
            assert isinstance(answer, Admission)
            if not answer.accepted:
                raise ClusterError(f"the cluster at {place} cannot be used: {answer.reason}")
            return answer
        if fate not in ready:
            raise ClusterError(
                f"{place} has not answered within {timeout_s:g} s: a firewall may be in between, or the machine is down"
            )
        from zmq.utils.monitor import (
            recv_monitor_message,
        )  # brings asyncio: only who is let in by nobody waits for it

        if recv_monitor_message(fate)["event"] & HANDSHAKE_FAILED:
            raise ClusterError(
                f"the cluster at {place} has another secret: take the one that `distpool start --head` printed there"
            )
        raise ClusterError(
            f"nothing answers at {place}: is the cluster started there, and is that its address?"
        )
    finally:
        close_watched(link, fate)
