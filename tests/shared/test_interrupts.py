"""Signal handlers that raise at any instant: a queue in a busy loop goes on working afterwards."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from distpool.queues import Queue, SimpleQueue

ROUNDS = 300


class Interrupt(BaseException):  # as KeyboardInterrupt is
    pass


def _raise(*_: object) -> None:
    raise Interrupt


@pytest.mark.parametrize("make", [Queue, SimpleQueue])
def test_an_interrupted_queue_is_not_left_locked(make: Any) -> None:
    queue = make()
    before = signal.signal(signal.SIGALRM, _raise)
    try:
        for _ in range(ROUNDS):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                while True:
                    queue.put(1)
                    queue.get()
            except Interrupt:
                pass
            assert not _is_locked(queue), "a thread of ours would wait for ever"
            while not queue.empty():
                queue.get()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_locked(queue: Any) -> bool:
    """Whether another thread gets neither of the queue's locks."""
    free: list[bool] = []

    def look() -> None:
        channel = queue._channel
        for lock in (channel._writers, channel._items.line):
            got = lock.acquire(True, 1.0)
            free.append(got)
            if got:
                lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return not all(free)
