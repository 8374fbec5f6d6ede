"""A tiny owner on raw sockets, with an agent of its own; and waiting for the deaths of processes, without sleeping."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import TypeVar

import zmq

from distpool.scheduler.messages import LeaseHello, Message, OwnerBye, OwnerHello, WantLeases, decode, encode
from distpool.scheduler.shells import processes, session_dir
from distpool.scheduler.shells.links import dealer, router

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AGENT = "distpool.scheduler.shells.agent"
STUB = "tests.processes.stub_worker:main"
BOUND_S = 20.0  # on everything that is waited for, generous because the machine may be busy

Kind = TypeVar("Kind", bound=Message)


class Session:
    """An agent, and an owner linked up with it. ``stderr`` goes to a file that can be read afterwards."""

    def __init__(self, owner: str = "o", *, stderr: str | None = None, **request: object) -> None:
        self.directory, lock_fd = session_dir.create()
        ask_read, ask_write = os.pipe()
        tell_read, tell_write = os.pipe()
        with open(stderr or os.devnull, "wb") as errors:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", AGENT, str(ask_read), str(tell_write), self.directory],
                stdin=subprocess.DEVNULL,
                stderr=errors if stderr else None,
                pass_fds=(ask_read, tell_write, lock_fd),
                env={**os.environ, "PYTHONPATH": ROOT},
            )
        for fd in (ask_read, tell_write, lock_fd):
            os.close(fd)
        whole = {"lock_fd": lock_fd, "driver_pid": os.getpid(), **request}
        os.write(ask_write, json.dumps(whole).encode() + b"\n")
        os.close(ask_write)
        with open(tell_read, "rb") as tell:
            self.ready = json.loads(tell.readline())
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.address = f"ipc://{self.directory}/owner-{owner}"
        self.workers = router(self.context, self.address)
        self.link = dealer(self.context, f"ipc://{self.directory}/agent", f"o:{owner}".encode())
        self.say(OwnerHello(owner, os.getpid(), 1, self.address))

    def say(self, message: Message) -> None:
        self.link.send(encode(message), zmq.NOBLOCK)

    def expect(self, kind: type[Kind]) -> Kind:
        """The agent's next word of this kind."""
        until_s = time.monotonic() + BOUND_S
        while self.link.poll(max(0, int((until_s - time.monotonic()) * 1000))):
            message = decode(self.link.recv())
            if isinstance(message, kind):
                return message
        raise AssertionError(f"the agent never said {kind.__name__}")

    def lease(self, count: int = 1, pool: int = 1) -> list[LeaseHello]:
        """Want ``count`` dedicated leases and wait for the workers' hellos."""
        self.say(WantLeases(pool, count, True, {}))
        return [self.next_hello() for _ in range(count)]

    def next_hello(self) -> LeaseHello:
        while True:
            assert self.workers.poll(int(BOUND_S * 1000)), "no worker said hello"
            message = decode(self.workers.recv_multipart()[1])
            if isinstance(message, LeaseHello):
                return message

    def tell(self, lease: LeaseHello, words: str) -> None:
        self.workers.send_multipart([f"d:{lease.lease}".encode(), words.encode()])

    def ask(self, lease: LeaseHello, words: str) -> str:
        """Tell a stub worker to do something and wait for its answer."""
        self.tell(lease, words)
        assert self.workers.poll(int(BOUND_S * 1000)), f"no answer to {words}"
        return self.workers.recv_multipart()[1].decode()

    @property
    def nursery_pid(self) -> int:
        """The agent's only child, once that has settled."""
        (pid,) = [pid for pid in processes.descendants(self.agent.pid) if parent_of(pid) == self.agent.pid]
        return pid

    def everything(self) -> list[int]:
        """The pids of agent, nursery, workers and what they started."""
        return [self.agent.pid, *processes.descendants(self.agent.pid)]

    def close(self) -> None:
        """End it in good order, if it has not ended yet."""
        pids = self.everything()
        try:
            self.say(OwnerBye())
        except zmq.Again:
            pass  # it has ended: there is no link any more
        try:
            self.agent.wait(BOUND_S)
        finally:
            self.agent.kill()
            self.context.destroy(linger=0)
        assert not survivors(pids, within_s=BOUND_S)


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def alive(pid: int) -> bool:
    return processes.start_time(pid) is not None


def survivors(pids: Iterable[int], within_s: float) -> list[int]:
    """Which of these processes are still there after ``within_s``, or as soon as all are gone."""
    until_s = time.monotonic() + within_s
    left = []
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if not select.select([fd], [], [], max(0.0, until_s - time.monotonic()))[0]:
            left.append(pid)
        os.close(fd)
    return left
