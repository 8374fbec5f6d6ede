"""What the tests of managers share: children that say where they are, and waits with a bound."""

import multiprocessing
import os
import select
import signal
import threading
from contextlib import contextmanager

LIMIT_S = 20


def has_ended(pid: int, within_s: float) -> bool:
    """Whether the process ends within that time; one that is gone already has."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(pidfd)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid, LIMIT_S)


@contextmanager
def child(target, *args):
    """A forked child that runs `target(say, *args)`; gives (process, hear). Killed in the end."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=target, args=(there.send, *args))
    process.start()
    there.close()

    def hear():
        assert here.poll(LIMIT_S), "the child says nothing"
        return here.recv()

    try:
        yield process, hear
    finally:
        process.kill()
        process.join()
        here.close()


class Caller(threading.Thread):
    """A thread that makes one call and keeps what it gave or raised."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function = function
        self.error = self.value = None
        self.start()

    def run(self):
        try:
            self.value = self.function()
        except BaseException as error:
            self.error = error

    def outcome(self):
        self.join(LIMIT_S)
        assert not self.is_alive(), "the call hangs"
        return self.error


def wait_for_ever(say, said):
    """For children: tell, and stay."""
    say(said)
    threading.Event().wait()
