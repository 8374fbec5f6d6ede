"""A node's port: who may come in, and what strangers can do there, which is nothing."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.messages import PROTOCOL_VERSION, Knock, OwnerHello, encode
from distpool.scheduler.shells import curve, knocking
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes.conftest import expect_gone
from tests.processes.scene import SOAK, wait_until

SECRET = "a secret of the tests"
ATTEMPTS = 100_000 if SOAK else 2_000
AT_A_TIME = 700  # fewer than a socket takes that waits for its connection


@pytest.fixture
def head(leaks: None) -> Iterator[JoiningAgent]:
    agent = JoiningAgent("", "h", {"CPU": 1.0}, listen="127.0.0.1:0", secret=SECRET, logged=True)
    yield agent
    agent.stop()
    expect_gone(agent, [])


def knock(agent: JoiningAgent, secret: str = SECRET) -> str:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        return knocking.knock(context, agent.port_address, curve.derive(secret), 10.0).node
    finally:
        context.destroy(linger=0)


def test_who_knows_the_secret_is_told_whom_he_has_reached(head: JoiningAgent) -> None:
    assert knock(head) == "h"
    with pytest.raises(ClusterError, match="has another secret"):
        knock(head, "another secret of the tests")


@pytest.mark.timeout(3600 if SOAK else 60)
def test_strangers_get_no_word_in(head: JoiningAgent) -> None:
    """Noise, greetings with noise behind them, and well-made messages without the key or with another one."""
    place = ("127.0.0.1", int(head.port_address.rpartition(":")[2]))
    chance = random.Random(7)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
    noisy = ATTEMPTS // 20
    for attempt in range(noisy):
        with socket.create_connection(place, 5) as link:
            head_of_it = greeting[: chance.randrange(65)] if attempt % 2 else b""
            link.sendall(head_of_it + chance.randbytes(chance.randrange(1, 300)))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    public, secret = zmq.curve_keypair()
    stranger = curve.Keys(curve.derive(SECRET).server_public, b"", public, secret)
    hello = encode(OwnerHello("stranger", os.getpid(), 1, "ipc:///nowhere"))
    sent = 0
    for keys in (None, stranger, curve.derive("another secret of the tests")):
        of_these = 0
        while of_these < (ATTEMPTS - noisy) // 3:
            link = context.socket(zmq.DEALER)
            link.setsockopt(zmq.ROUTING_ID, b"o:stranger")
            if keys is not None:
                curve.dial(link, keys)
            link.connect(head.port_address)
            with suppress(zmq.Again):  # refused already: its connection takes no more
                for _ in range(AT_A_TIME):
                    damaged = bytearray(hello)
                    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
                    link.send(bytes(damaged) if chance.random() < 0.5 else hello, zmq.DONTWAIT)
                    of_these += 1
            assert not link.poll(200), "a stranger was answered"
            link.close(0)
        sent += of_these
    context.destroy(linger=0)
    assert sent + noisy > ATTEMPTS * 0.99
    assert knock(head) == "h"
    assert Path(head.directory, "log").read_text() == ""


def test_connections_that_stay_half_open_keep_nobody_out(head: JoiningAgent) -> None:
    """After ten seconds they are closed; until then they are no more than descriptors."""
    place = ("127.0.0.1", int(head.port_address.rpartition(":")[2]))
    before = len(os.listdir(f"/proc/{head.pid}/fd"))
    links = [socket.create_connection(place, 5) for _ in range(200)]
    try:
        for number, link in enumerate(links):
            link.sendall((b"\xff" + bytes(8) + b"\x7f")[: number % 11])
        assert knock(head) == "h"
        if SOAK:
            wait_until(lambda: len(os.listdir(f"/proc/{head.pid}/fd")) <= before + 5, "they are closed", 60.0)
            assert knock(head) == "h"
    finally:
        for link in links:
            link.close()


def test_a_port_that_is_silent_is_said_to_be() -> None:
    """As behind a firewall; or of a machine that has stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            with pytest.raises(ClusterError, match=rf"{place} has not answered within 0.2 s: a firewall"):
                knocking.knock(context, f"tcp://{place}", curve.derive(SECRET), 0.2)
        finally:
            context.destroy(linger=0)


def test_nonsense_of_one_who_knows_the_secret_harms_nobody(head: JoiningAgent) -> None:
    """A bug elsewhere, or another version of us: what cannot be read is left unread."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    chance = random.Random(8)
    for identity in (b"o:odd", b"x:odd", b"n:odd:1", b"q:odd", b"odd", b"\xff\xfe"):
        link = context.socket(zmq.DEALER)
        link.setsockopt(zmq.ROUTING_ID, identity)
        curve.dial(link, curve.derive(SECRET))
        link.connect(head.port_address)
        for _ in range(200):
            link.send_multipart(
                [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(1, 5))]
            )
        link.poll(100)
        link.close(100)
    context.destroy(linger=500)
    assert knock(head) == "h"
    assert Path(head.directory, "log").read_text() == ""


def test_other_versions_are_refused_with_a_table_of_what_differs() -> None:
    mine = knocking.introduction()
    assert knocking.admission(mine, "h").accepted
    assert knocking.admission(Knock(mine.protocol, mine.python + "9", "0.0.1"), "h").accepted, (
        "patch versions"
    )
    other = knocking.admission(Knock(PROTOCOL_VERSION + 1, "3.99.1", "9.9"), "h")
    assert not other.accepted
    lines = other.reason.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["here", "protocol", "distpool", "Python"]
    assert lines[4].split() == ["Python", "3.99.1", mine.python]
