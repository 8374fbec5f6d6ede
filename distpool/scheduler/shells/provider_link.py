"""A head's link to the process in which its provider of nodes lives: starts that, and starts it again.

::

    HeadCore ── StartNode, StopNode, ListNodes ──► ProviderLink ── a socket of packets ──► distpool.providers.process
        ▲ ◄── ProviderUp, NodeStarted, ... ────────────┘ ◄── answers, or its end ────────────┘
        └── ProviderHangs ──► SIGKILL, and another after a pause that grows

The head never waits for it: what cannot be sent at once costs that process its life. It ends by itself when the head
does, since it reads the end of this socket. Not here: what is asked (``cores.autoscaling``), and who answers.
"""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys

import msgspec

from distpool.scheduler.messages import Message, ProviderDown, ProviderUp, ScalingSettings, decode, encode

MODULE = "distpool.providers.process"
#: How long to wait before one that has ended is started again, doubling up to the second; one that has lived longer
#: than that is started again at once.
PAUSE_S, PAUSE_S_MAX = 0.2, 60.0
#: The longest packet: a list of all nodes.
_PACKET_BYTES_MAX = 1 << 20


class ProviderRequest(msgspec.Struct, frozen=True):
    """What the process is told first, as JSON; the secret is on no command line."""

    settings: ScalingSettings
    address: str
    secret: str


class ProviderLink:
    """``fd`` is to be polled while it is not -1; ``wake_s`` is when ``tick`` is to be called."""

    def __init__(self, request: ProviderRequest) -> None:
        self.fd = -1
        self.wake_s = 0.0
        self._request = msgspec.json.encode(request)
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._pause_s = 0.0
        self._reason = ""  # why we have ended it

    def tick(self, now: float) -> list[Message]:
        """Look at the clock; what the head's core is to hear."""
        if self._socket is not None or now < self.wake_s:
            return []
        self.wake_s, self._started_s, self._reason = math.inf, now, ""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            ours.send(self._request)
        except OSError as error:
            ours.close()
            return self._ended(f"the provider's process cannot be started: {error}", now)
        ours.setblocking(False)
        self._socket, self.fd = ours, ours.fileno()
        return [ProviderUp()]

    def say(self, message: Message) -> None:
        """Say something to the provider. While there is none it is lost: the next one is asked anew."""
        if self._socket is None:
            return
        try:
            self._socket.send(encode(message))
        except BlockingIOError:
            self.end("it reads nothing of what it is asked")
        except OSError:
            pass  # it has ended, which is about to be read

    def read(self, now: float) -> list[Message]:
        """What it has said; that it has ended is a message too."""
        heard: list[Message] = []
        while self._socket is not None:
            try:
                packet = self._socket.recv(_PACKET_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                heard += self._lost(now)
                break
            try:
                heard.append(decode(packet))
            except (msgspec.DecodeError, ValueError):
                self.end("it has said something that is no message")
        return heard

    def end(self, reason: str) -> None:
        """SIGKILL; its end is read from the socket."""
        self._reason = self._reason or reason
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def _lost(self, now: float) -> list[Message]:
        assert self._socket is not None
        assert self._process is not None
        self._socket.close()
        self._socket, self.fd = None, -1
        self._process.kill()
        status = self._process.wait()
        why = self._reason or f"it has ended ({status}); the log of the head's node may say why"
        return self._ended(f"the provider's process is started again: {why}", now)

    def _ended(self, reason: str, now: float) -> list[Message]:
        if now > self._started_s + PAUSE_S_MAX:
            self._pause_s = 0.0
        self._pause_s = min(max(2 * self._pause_s, PAUSE_S), PAUSE_S_MAX)
        self.wake_s = now + self._pause_s
        print(f"distpool: {reason}", file=sys.stderr, flush=True)
        return [ProviderDown(reason)]
