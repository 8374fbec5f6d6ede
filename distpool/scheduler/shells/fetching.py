"""A process's link to its agent for objects of other nodes: a question waits on its own thread, and on no loop of ours.

Made when first used: most processes never have to do with another node.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from distpool.errors import StoreError
from distpool.scheduler.messages import Fetched, Message, decode, encode
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.store import patience
from distpool.scheduler.store.patience import FetchLate

Pair = tuple[zmq.Socket[bytes], zmq.Socket[bytes]]


class Fetching:
    """``store.far.AgentLink`` of process number ``process``; ``address`` is where its agent is bound at present.

    A program that is attached by a port gives its name, and the ``keys`` of the cluster.

    ``strays`` are answers to questions that an exception has ended, or whose time was up (``store.patience``): copies
    in transit to us that nobody took.
    """

    def __init__(self, address: Callable[[], str], process: int | str, keys: Keys | None = None) -> None:
        self.strays: deque[tuple[int, ...]] = deque()
        self._address = address
        self._process = process
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._lock = threading.Lock()
        self._tell: Pair | None = None  # with the lock
        self._idle: list[Pair] = []  # links for questions that no thread uses
        self._numbers = itertools.count(1)

    def _dial(self) -> Pair:
        if self._context is None:
            self._context = zmq.Context(io_threads=1)
        identity = f"f:{self._process}:{os.urandom(4).hex()}".encode()
        return watched_dealer(self._context, self._address(), identity, self._keys)

    def tell(self, message: Message) -> None:
        """See ``AgentLink``. What an agent that is gone does not hear, nobody has to."""
        with self._lock:
            if self._tell is not None and self._tell[1].poll(0):
                close_watched(*self._tell)
                self._tell = None
            if self._tell is None:
                self._tell = self._dial()
            try:
                self._tell[0].send(encode(message), zmq.NOBLOCK)
            except zmq.Again:
                pass

    def ask(self, make: Callable[[int], Any]) -> Any:
        """See ``AgentLink``."""
        with self._lock:
            while self._idle and self._idle[-1][1].poll(0):  # the agent was started anew
                close_watched(*self._idle.pop())
            pair = self._idle.pop() if self._idle else self._dial()
        try:
            answer = self._ask(*pair, make(next(self._numbers)))
        except BaseException:
            self._idle.append(pair)  # the answer is still to come there, a stray
            raise
        if answer is None:
            close_watched(*pair)
            raise StoreError("the node's agent is gone, by way of which objects of other nodes are had")
        self._idle.append(pair)
        return answer

    def _ask(self, link: zmq.Socket[bytes], fate: zmq.Socket[bytes], question: Any) -> Any:
        poller = zmq.Poller()
        poller.register(link, zmq.POLLIN)
        poller.register(fate, zmq.POLLIN)
        try:
            link.send(encode(question), zmq.NOBLOCK)
        except zmq.Again:
            return None  # it has hung up
        since_s = time.monotonic()
        while ready := dict(poller.poll(patience.left_ms(since_s))):
            if link not in ready:
                return None
            answer: Any = decode(link.recv())
            if answer.request == question.request:
                return answer
            if type(answer) is Fetched and answer.ids:
                self.strays.append(answer.ids)
        raise FetchLate("data of another node has not come in time")

    def close(self) -> None:
        """Nobody asks any more; who still waits for an answer gets none."""
        with self._lock:
            for pair in [*self._idle, *([self._tell] if self._tell is not None else [])]:
                close_watched(*pair)
            self._idle, self._tell = [], None
            if self._context is not None:
                self._context.destroy(linger=0)
                self._context = None
