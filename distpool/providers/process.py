"""The process in which a provider of nodes lives: a child of the head's, so that no call keeps that waiting.

::

    head ── a packet ──► main thread ──► a thread for each call ──► provider.start, stop, nodes
         ◄── a packet ── the thread that made the call ◄──────────────┘
         ── the end of the socket ──► exit at once, whatever is under way

Started by ``python -m distpool.providers.process FD``: the first packet there is a ``ProviderRequest``. Not here:
what is asked (``scheduler.cores.autoscaling``), limits of time and starting again (``scheduler.shells.provider_link``).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import NoReturn

import msgspec

from distpool.providers import ClusterAccess, NodeProvider, make_provider
from distpool.scheduler.messages import (
    ListNodes,
    Message,
    NodeRefused,
    NodesListed,
    NodeStarted,
    NodeStopped,
    StartNode,
    StopNode,
    decode,
    encode,
)
from distpool.scheduler.shells.provider_link import ProviderRequest

#: So many calls at one time; the others wait.
CALLS_MAX = 16
_PACKET_BYTES_MAX = 1 << 20
#: A reason is a line, for ``distpool status``.
_REASON_CHARS_MAX = 500


class _Calls:
    """Makes calls, each on a thread, and sends what comes of them."""

    def __init__(self, link: socket.socket, provider: NodeProvider) -> None:
        self._link, self._provider = link, provider
        self._free = threading.Semaphore(CALLS_MAX)

    def begin(self, asked: Message) -> None:
        """The core asks for one call about a name at a time."""
        threading.Thread(target=self._call, args=(asked,), daemon=True).start()

    def _call(self, asked: Message) -> None:
        with self._free:
            try:
                answer = self._answer(asked)
            except Exception as error:  # a provider may be anybody's
                name = asked.name if isinstance(asked, StartNode | StopNode) else ""
                answer = NodeRefused(name, _line(error))
        try:
            self._link.send(encode(answer))
        except BrokenPipeError:
            os._exit(0)  # the head is gone, as the main thread is about to read

    def _answer(self, asked: Message) -> Message:
        match asked:
            case StartNode(name=name, node_type=node_type):
                self._provider.start(node_type, name)
                return NodeStarted(name)
            case StopNode(name=name):
                self._provider.stop(name)
                return NodeStopped(name)
            case ListNodes():
                return NodesListed(dict(self._provider.nodes()))
            case _:
                raise AssertionError(f"nobody says {asked} to a provider")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_REASON_CHARS_MAX]


def main(fd: int) -> NoReturn:
    """The life of a provider's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    first = link.recv(_PACKET_BYTES_MAX)
    if not first:
        os._exit(0)  # who has started us is gone
    request = msgspec.json.decode(first, type=ProviderRequest)
    access = ClusterAccess(request.address, request.secret)
    calls: _Calls | None = None
    reason = ""
    try:
        calls = _Calls(link, make_provider(request.settings.provider, request.settings.options, access))
    except Exception as error:
        reason = _line(error)
    while packet := link.recv(_PACKET_BYTES_MAX):
        asked = decode(packet)
        if calls is not None:
            calls.begin(asked)
        else:
            link.send(encode(NodeRefused(getattr(asked, "name", ""), reason)))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
