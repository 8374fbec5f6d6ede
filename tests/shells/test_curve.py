"""Only who knows the secret gets a word in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.shells import curve
from distpool.scheduler.shells.curve import Doorkeeper, derive

KEYS = derive("a secret of some length")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def doorkeeper(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Doorkeeper]:
    made = Doorkeeper(context, KEYS)
    yield made
    made.close()


@pytest.fixture
def port(context: zmq.Context[zmq.Socket[bytes]], doorkeeper: Doorkeeper) -> Iterator[zmq.Socket[bytes]]:
    socket = context.socket(zmq.ROUTER)
    curve.serve(socket, KEYS)
    socket.bind("tcp://127.0.0.1:*")
    yield socket
    socket.close()


def address_of(socket: zmq.Socket[bytes]) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def linked(
    context: zmq.Context[zmq.Socket[bytes]], address: str, keys: curve.Keys | None
) -> zmq.Socket[bytes]:
    link = context.socket(zmq.DEALER)
    link.setsockopt(zmq.LINGER, 0)
    if keys is not None:
        curve.dial(link, keys)
    link.connect(address)
    return link


def test_keys_follow_from_the_secret_and_differ() -> None:
    assert derive("a secret of some length") == derive("a secret of some length\n") == KEYS
    other = derive("a secret of some other length")
    keys = {getattr(one, name) for one in (KEYS, other) for name in curve.Keys.__slots__}
    assert len(keys) == 8
    assert all(len(key) == 40 for key in keys)


def test_a_secret_that_anybody_could_guess_is_refused() -> None:
    with pytest.raises(ValueError, match="has 5 characters, and needs at least 16"):
        derive("12345")
    assert len(curve.new_secret()) > 40
    assert curve.new_secret() != curve.new_secret()


def test_who_knows_the_secret_comes_in(
    context: zmq.Context[zmq.Socket[bytes]], port: zmq.Socket[bytes], doorkeeper: Doorkeeper
) -> None:
    with linked(context, address_of(port), KEYS) as link:
        link.send(b"hello")
        assert port.poll(5_000)
        assert port.recv_multipart()[1] == b"hello"
    doorkeeper.check(address_of(port))


@pytest.mark.parametrize("who", ["another secret", "another client key", "no key at all"])
def test_nobody_else_does(context: zmq.Context[zmq.Socket[bytes]], port: zmq.Socket[bytes], who: str) -> None:
    public, secret = zmq.curve_keypair()
    keys = {
        "another secret": derive("another secret of some length"),
        "another client key": curve.Keys(KEYS.server_public, b"", public, secret),
        "no key at all": None,
    }[who]
    with linked(context, address_of(port), keys) as link:
        for _ in range(100):
            # A link that has been refused takes nothing more: to wait for it would be to wait for ever.
            with contextlib.suppress(zmq.Again):
                link.send(os.urandom(100), zmq.NOBLOCK)
        assert not port.poll(300)


def test_a_port_that_lets_everybody_in_is_noticed(
    context: zmq.Context[zmq.Socket[bytes]], doorkeeper: Doorkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorkeeper, "callback", lambda *_: True)
    socket = context.socket(zmq.ROUTER)
    curve.serve(socket, KEYS)
    socket.bind("tcp://127.0.0.1:*")
    with pytest.raises(ClusterError, match="did not refuse a stranger's key"):
        doorkeeper.check(address_of(socket))
    socket.close()


def test_how_a_handshake_ends(context: zmq.Context[zmq.Socket[bytes]], port: zmq.Socket[bytes]) -> None:
    other = derive("another secret of some length")
    assert curve.handshake(context, address_of(port), KEYS, 5_000) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert curve.handshake(context, address_of(port), other, 2_000) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert curve.handshake(context, "tcp://127.0.0.1:1", KEYS, 5_000) == zmq.EVENT_CLOSED
