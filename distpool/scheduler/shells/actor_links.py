"""One of the owners that call an actor, as its worker sees it: links, functions, answers on their way.

An attempt is an owner's own number, so what several owners call is told apart by a **mark**: the caller's index above
``CALLER_SHIFT``, the attempt below. The creator's index is 0, so its marks are its attempts.

A Recall may overtake the Execute that it is meant for: they come by different links, read by different threads. What
it names and nobody has seen yet is noted, and never begun.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from distpool.scheduler.messages import CALLER_SHIFT, NODES, Execute, Results, encode
from distpool.scheduler.serialize import PLAIN_TYPES, is_plain
from distpool.scheduler.shells import remote_calls
from distpool.scheduler.shells.actor_calls import Resolved, resolve
from distpool.scheduler.shells.call_parts import pack

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

ATTEMPT_MASK = (1 << CALLER_SHIFT) - 1


class CallerLink:
    """One caller. Sockets are the main thread's, but for ``fate``, which the second one polls."""

    def __init__(
        self,
        index: int,
        lease: str,
        owner: str,
        address: str,
        process: int,
        data: zmq.Socket[bytes],
        fate: zmq.Socket[bytes],
    ) -> None:
        self.index = index
        self.lease = lease
        self.owner = owner
        self.address = address
        self.process = process
        self.data = data
        self.fate = fate
        self.base = ""  # who numbers its calls
        self.functions: dict[int, Method] = {}
        self.done: deque[tuple[int, Any]] = deque()
        self.failed: deque[tuple[int, bytes]] = deque()
        self.streamed: deque[tuple[int, Any]] = deque()  # like ``done``, of calls whose values went before
        self.frames: deque[bytes] = deque()  # such values, where another thread must send them
        self.held_bytes = 0
        self.has_stored = False
        self.running = 0  # calls that run, where several can
        self.retiring = False  # it wants no more than what it has offered
        self.gone = False  # it has ended, or its link has: nobody waits for its answers
        self._latest = 0  # the highest attempt that has come
        self._unwanted: set[int] = set()
        self._lock = threading.Lock()

    # -------------------------------------------------------------------------------- what comes

    def queue(self, message: Execute) -> list[Call]:
        """Calls that have come, less those that were recalled before they came."""
        functions = self.functions
        for number in message.forget:
            functions.pop(number, None)
        for number, blob in message.blobs.items():
            functions[number] = Method(blob)
        calls = []
        mark = self.index << CALLER_SHIFT
        with self._lock:
            unwanted = self._unwanted
            numbers = message.numbers or [0] * len(message.payloads)
            for attempt, (number, payload, own) in enumerate(
                zip(message.functions, message.payloads, numbers, strict=True), message.first
            ):
                if attempt in unwanted:
                    unwanted.discard(attempt)
                else:
                    calls.append(Call(mark | attempt, functions[number], payload, self, own))
            self._latest = max(self._latest, message.first + len(message.functions) - 1)
        return calls

    def refuse_later(self, attempts: set[int]) -> list[int]:
        """Which of these attempts have not come yet; they never begin."""
        with self._lock:
            early = [attempt for attempt in attempts if attempt > self._latest]
            self._unwanted.update(early)
        return early

    # --------------------------------------------------------------------------------- what goes

    def pack(self, value: Any, worker: Worker) -> Any:
        """A call's result, undecoded; references in it are safe for the caller from then on."""
        if type(value) in PLAIN_TYPES and is_plain(value):
            return value
        node = worker.start.node if 0 < self.process < NODES else ""
        blob = pack(value, (self.owner, self.address, node, self.process), worker.answers_to)
        self.held_bytes += remote_calls.weight(blob)
        self.has_stored = self.has_stored or remote_calls.names_objects(blob)
        return blob

    @property
    def has_answers(self) -> bool:
        """Whether there is something to send."""
        return bool(self.done or self.failed or self.streamed or self.frames)

    def finished(self, busy_s: float, *, by_data_link: bool = True) -> bytes | None:
        """The answers that have not been sent, encoded; either thread may send them, each once.

        What was yielded goes by the data link, and so must the answer behind it.
        """
        with self._lock:
            done = [self.done.popleft() for _ in range(len(self.done))]
            if by_data_link:
                done += [self.streamed.popleft() for _ in range(len(self.streamed))]
            failed = [self.failed.popleft() for _ in range(len(self.failed))]
            self.held_bytes = 0
        if self.gone or not (done or failed):
            return None
        values = [value for _, value in done]
        return encode(Results([a for a, _ in done], values, failed, busy_s, self.has_stored))


class Method:
    """A method that was sent; it is looked up by the first call that needs it, so that call gets the error."""

    __slots__ = ("_blob", "_found", "name")

    def __init__(self, blob: bytes) -> None:
        self.name = ""  # once it is found
        self._blob = blob
        self._found: Resolved | None = None

    def resolved(self) -> Resolved:
        """What is to be called. Raises AttributeError if the actor has no such method."""
        if self._found is None:
            self._found = resolve(self._blob)
            self.name = self._found.name
        return self._found


class Call:
    """One call that lies here, or runs."""

    __slots__ = ("link", "mark", "method", "number", "payload")

    def __init__(self, mark: int, method: Method, payload: Any, link: CallerLink, number: int) -> None:
        self.mark = mark
        self.method = method
        self.payload = payload
        self.link = link
        self.number = number  # its caller's, the same for each attempt; 0 if it has none

    @property
    def name(self) -> str:
        """What the call was named; its method's name, if it was not."""
        payload = self.payload
        return payload.get("t", self.method.name) if type(payload) is dict else self.method.name

    @property
    def attempt(self) -> int:
        """Its caller's own number for it."""
        return self.mark & ATTEMPT_MASK
