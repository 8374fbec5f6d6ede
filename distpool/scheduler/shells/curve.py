"""Encryption and authentication of what goes between machines: CURVE, with keys that all who know the secret can make.

::

    secret ── keyed hash, a label each ──► server key pair   every port has it: whoever dials knows whom he has reached
                                      └──► client key pair   whoever dials has it: the port admits nobody else

    Doorkeeper: ZAP (its own thread) ── is that the client key? ──► yes: the handshake ends, and frames may come
                                                                   no:  not a byte of that peer reaches a program

A server socket without a ZAP handler admits any client key, and so does one without a domain: ``serve`` sets one and
enforces it, and ``Doorkeeper.check`` makes sure, with a stranger's key, that it is so.

Not here: which sockets there are (``port``), and what may be said on them (``messages``).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils import z85

from distpool.errors import ClusterError

__all__ = ["Doorkeeper", "Keys", "derive", "dial", "new_secret", "serve"]

DOMAIN = "distpool"
#: A generated secret has so many random bytes; one that somebody made up must have so many characters.
SECRET_BYTES = 32
SECRET_CHARS_MIN = 16
#: How long the check with a stranger's key waits for its refusal, in milliseconds.
CHECK_MS = 5_000


@dataclass(frozen=True, slots=True)
class Keys:
    """The two pairs of one cluster, in ZeroMQ's printable form (Z85)."""

    server_public: bytes
    server_secret: bytes
    client_public: bytes
    client_secret: bytes


def new_secret() -> str:
    """A secret that nobody can guess."""
    return secrets.token_urlsafe(SECRET_BYTES)


def derive(secret: str) -> Keys:
    """The keys of all who know this secret.

    Raises:
        ValueError: it is too short to be one.
    """
    secret = secret.strip()
    if len(secret) < SECRET_CHARS_MIN:
        raise ValueError(
            f"the cluster's secret has {len(secret)} characters, and needs at least {SECRET_CHARS_MIN}; "
            "`distpool start --head` makes one"
        )
    server, client = (_secret_key(secret, label) for label in ("server", "client"))
    return Keys(zmq.curve_public(server), server, zmq.curve_public(client), client)


def _secret_key(secret: str, label: str) -> bytes:
    key = hashlib.blake2b(secret.encode(), digest_size=64).digest()
    seed = hashlib.blake2b(f"distpool curve {label} key".encode(), key=key, digest_size=32).digest()
    encoded: bytes = z85.encode(seed)
    return encoded


def serve(socket: zmq.Socket[bytes], keys: Keys) -> None:
    """Make a socket that is about to be bound admit nobody whom the doorkeeper does not know."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.server_secret)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.server_public)
    socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def dial(socket: zmq.Socket[bytes], keys: Keys) -> None:
    """Make a socket that is about to be connected known to the doorkeeper."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret)


class Doorkeeper:
    """The ZAP handler of one context: to be made before any socket that ``serve`` is for."""

    def __init__(self, context: zmq.Context[Any], keys: Keys) -> None:
        self._keys = keys
        self._context = context
        from zmq.auth.thread import ThreadAuthenticator  # brings asyncio: only who keeps a door waits for it

        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=DOMAIN, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """What the handler asks for each handshake: whether this client key, in Z85, may come in."""
        return domain == DOMAIN and secrets.compare_digest(key, self._keys.client_public)

    def check(self, address: str) -> None:
        """Dial a port with a key that nobody knows. Raises ClusterError unless that is refused."""
        public, secret = zmq.curve_keypair()
        stranger = Keys(self._keys.server_public, b"", public, secret)
        refused = handshake(self._context, address, stranger, CHECK_MS)
        if refused != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise ClusterError(
                f"the port {address} did not refuse a stranger's key; nothing was started, since anybody could come in"
            )

    def close(self) -> None:
        """End the thread, before the context ends."""
        self._authenticator.stop()


#: How a handshake ends. The latter two: of one that speaks no CURVE; of a connection that could not be made.
_ENDS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_CLOSED,
    zmq.EVENT_DISCONNECTED,
)


def handshake(context: zmq.Context[Any], address: str, keys: Keys, timeout_ms: int) -> int:
    """Dial a port and hang up. Returns the event (``zmq.EVENT_*``) that the handshake ended with; 0: time is up."""
    from zmq.utils.monitor import recv_monitor_message

    link = context.socket(zmq.DEALER)
    link.setsockopt(zmq.LINGER, 0)
    link.setsockopt(zmq.RECONNECT_IVL, -1)
    dial(link, keys)
    events = 0
    for event in _ENDS:
        events |= event
    fate = link.get_monitor_socket(events)
    try:
        link.connect(address)
        if not fate.poll(timeout_ms):
            return 0
        return int(recv_monitor_message(fate)["event"])
    finally:
        link.disable_monitor()
        fate.close()
        link.close()
