"""Actors for the process tests, and what their tests do with them."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler import client
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.remote.actor_pools import Lent, NativeActor, borrow_actor
from distpool.scheduler.shells.actor_calls import exit_actor
from tests.processes.bodies import be_interrupted_in_a_finalizer

BOUND_S = 20.0


class Answer(Promise):
    """The outcome of one call."""

    def __init__(self) -> None:
        self.value: Any = None
        self.failure: Failure | None = None
        self.times = 0  # that it was told; more than once is an error
        self.task: Task | None = None

    def fulfil(self, key: int, value: Any) -> None:
        self.value = value
        self.times += 1
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        self.failure = failure
        self.times += 1
        self.settle()

    def get(self) -> Any:
        """The value; raises if the call has failed, or is not done in time."""
        self.wait()
        if self.failure is not None:
            raise self.failure.to_exception(Exception)
        return self.value

    def wait(self) -> Answer:
        assert client.session().wait(self, BOUND_S), "the call is not done"
        assert self.times == 1
        return self

    @property
    def kind(self) -> str:
        """Why it has failed: the kind, or ``cancelled``, or ``raised``; "" if it has a value."""
        failure = self.wait().failure
        if failure is None:
            return ""
        return failure.kind or ("cancelled" if failure.cancelled else "raised")


def call(actor: NativeActor, method: str, *args: Any, retries: int = 0, group: str = "") -> Answer:
    """Call a method; returns at once."""
    answer = Answer()
    keep: list[Any] = []
    payload = actor.payload_of(args, {}, keep)
    answer.task = actor.call(answer, 0, method, payload, retries=retries, group=group, keep=keep)
    return answer


def note(path: str, word: object) -> None:
    """Add a line to a file, in one write, which survives the process."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{word}\n".encode())
    os.close(fd)


def notes(path: object) -> list[str]:
    try:
        with open(str(path)) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


class Plain:
    """State, and every way to end."""

    def __init__(self, path: str = "", fault: str = "") -> None:
        self.path = path
        self.count = 0
        if path:
            note(path, "constructed")
            atexit.register(note, path, "exit-handler")
        if fault == "raise":
            raise ValueError("in the constructor")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    def add(self, number: int = 1) -> int:
        self.count += number
        return self.count

    def echo(self, value: Any) -> Any:
        return value

    def pid(self) -> int:
        return os.getpid()

    def fail(self) -> None:
        raise KeyError("of mine")

    def note(self, word: object) -> object:
        note(self.path, word)
        return word

    def note_and_die(self, word: object) -> None:
        note(self.path, word)
        os.kill(os.getpid(), signal.SIGKILL)

    def spin(self) -> None:
        note(self.path, "spins")
        while True:
            pass

    def spin_after_a_finalizer(self) -> None:
        be_interrupted_in_a_finalizer(self.path)

    def wait_for(self, path: str) -> str:
        """Until somebody makes this file; the caller bounds it."""
        note(self.path, "waits")
        while not os.path.exists(path):
            threading.Event().wait(0.005)
        return path

    def leave(self, how: str) -> None:
        if how == "exit_actor":
            exit_actor()
        if how == "sys.exit":
            sys.exit(3)
        os._exit(3)

    def local_class(self) -> Any:
        """An instance of a class that nobody else can import."""

        class Local:
            value = 7

        return Local()

    def big(self, size_bytes: int) -> Any:
        return bytearray(b"x" * size_bytes)

    def tell_parent_of(self, lent: Lent) -> int:
        """Call another actor from this one."""
        other = borrow_actor(client.session(), lent)
        value: int = call(other, "add").get()
        return value


class Threaded(Plain):
    """For several calls at once."""

    def __init__(self, path: str = "", parties: int = 1) -> None:
        super().__init__(path)
        self.barrier = threading.Barrier(parties)

    def meet(self) -> int:
        self.barrier.wait(BOUND_S)
        return threading.get_ident()


class Async(Plain):
    """With coroutines."""

    def __init__(self, path: str = "") -> None:
        super().__init__(path)
        self.event = asyncio.Event()
        self.most = self.now = 0
        if path:
            self.background = asyncio.get_running_loop().create_task(self.live(path))

    async def live(self, path: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            note(path, "background-ended")

    async def plus(self, number: int = 1) -> int:
        self.count += number
        return self.count

    async def wait(self) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        self.loop = asyncio.get_running_loop()
        try:
            await self.event.wait()
        finally:
            self.now -= 1
        return "woken"

    async def wake(self) -> int:
        self.loop.call_soon_threadsafe(self.event.set)  # it may be another group's
        return self.most

    async def keep_the_thread(self, go: str) -> str:
        note(self.path, "keeps")
        while not os.path.exists(go):
            time.sleep(0.01)
        return go

    def spin_without_end(self) -> None:
        note(self.path, "spins")
        while True:
            pass

    async def leave_at_once(self, code: int) -> None:
        sys.exit(code)

    async def begin_background(self, path: str) -> None:
        self.background = asyncio.get_running_loop().create_task(self.live(path))
        await asyncio.sleep(0)  # it has begun

    async def running(self) -> int:
        return self.now

    async def leave_later(self) -> None:
        exit_actor()


def use(lent: Lent, count: int, method: str = "add") -> list[Any]:
    """In a worker: borrow an actor, and call it."""
    actor = borrow_actor(client.session(), lent)
    answers = [call(actor, method) for _ in range(count)]
    values = [answer.get() for answer in answers]
    actor.close()
    assert actor.wait_gone(BOUND_S)
    return values


def use_and_die(lent: Lent, path: str) -> None:
    """In a worker: have the actor run something, queue more, and die."""
    actor = borrow_actor(client.session(), lent)
    call(actor, "add").get()
    call(actor, "wait_for", path)
    for _ in range(100):
        call(actor, "note", "of-the-dead")
    while "waits" not in notes(path + ".notes"):
        threading.Event().wait(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def use_until_down(lent: Lent, path: str) -> tuple[int, list[str], int]:
    """In a worker: calls that are under way when the actor's worker is killed, and one after."""
    actor = borrow_actor(client.session(), lent)
    call(actor, "add").get()
    answers = [call(actor, "wait_for", path), *(call(actor, "add") for _ in range(20))]
    answers += [call(actor, "add", retries=1)]
    note(path + ".borrower", "waits")
    kinds = [answer.kind for answer in answers]
    value = call(actor, "add").get()
    return call(actor, "pid").get(), kinds, value


def big_through_the_store(lent: Lent, size_bytes: int) -> int:
    """In a worker: big arguments and results."""
    actor = borrow_actor(client.session(), lent)
    value = bytearray(b"y" * size_bytes)
    assert call(actor, "echo", value).get() == value
    got = call(actor, "big", size_bytes).get()
    assert got == b"x" * size_bytes
    actor.close()
    return len(got)


def create_and_lend(then: Callable[..., Any] | None = None) -> Lent:
    """In a worker: create an actor that lives as long as this process."""
    from distpool.scheduler.remote.actor_pools import ActorSpec, open_actor

    actor = open_actor(client.session(), ActorSpec(Plain))
    call(actor, "add").get()
    _kept.append(actor)
    return actor.lent


_kept: list[Any] = []


class Yielding:
    """Methods that are generators."""

    def numbers(self, count: int) -> Any:
        yield from range(count)


class AsyncYielding:
    """Methods that are asynchronous generators."""

    async def numbers(self, count: int) -> Any:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    async def broken(self) -> Any:
        yield 1
        yield 2
        raise ValueError("after two")

    async def plain(self) -> int:
        return 1
