"""A worker at the edges of a task: interrupts outside of it, a link that is gone, answers that its owner lacks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from distpool.scheduler.messages import Attach, Execute, Results, decode
from distpool.scheduler.serialize import Exporter
from distpool.scheduler.shells import control
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.mailbox import read_mailbox
from distpool.scheduler.shells.worker import Worker
from distpool.scheduler.shells.worker_start import WorkerStart

LEASE = "n.1.1"


class Scene:
    """A worker in this process, and its owner's socket."""

    def __init__(self, folder: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        address = f"ipc://{folder}/owner"
        self.owner = router(self.context, address)
        slot = memoryview(bytearray(16)).cast("Q")
        attach = Attach(LEASE, 1, "o", address, True)
        began = memoryview(bytearray(8)).cast("d")
        start = WorkerStart(str(folder), 1, slot, attach, "n", "host", 0, os.getpid(), os.getpid(), began)
        self.worker = Worker(start, attach)
        self.mailbox = f"{folder}/worker-1.answers"
        self._exporter = Exporter(snapshot=True)

    def offer(self, first: int, *arguments: Any, received: int = 0) -> None:
        """Careful calls of ``abs``."""
        number, blob, _ = self._exporter.function(abs)
        payloads = [[argument] for argument in arguments]
        functions = [number] * len(payloads)
        self.worker.take(Execute(first, functions, payloads, {number: blob}, (), True, received))

    def run(self) -> None:
        """Run what was offered. An interrupt that gets out would end a worker; here it would end the test run."""
        try:
            self.worker._run_queue()
        except KeyboardInterrupt:
            pytest.fail("an interrupt was raised outside of a task")

    def answers(self) -> list[Results]:
        """What has arrived at the owner; at least one frame."""
        found: list[Results] = []
        while self.owner.poll(1000 if not found else 50):
            message = decode(self.owner.recv_multipart()[1])
            assert isinstance(message, Results)
            found.append(message)
        return found

    def left(self) -> list[int]:
        """The attempts whose answers lie in the mailbox."""
        return [attempt for results in read_mailbox(self.mailbox) for attempt in results.attempts]

    def end(self) -> None:
        for context in (self.worker.context, self.context):
            context.destroy(linger=0)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = signal.getsignal(signal.SIGINT)
    made = Scene(tmp_path)
    try:
        yield made
    finally:
        signal.signal(signal.SIGINT, before)
        made.end()


def test_an_interrupt_that_comes_when_the_call_is_over_does_not_end_the_worker(scene: Scene) -> None:
    worker = scene.worker
    signal.signal(signal.SIGINT, worker.on_sigint)
    leave = worker.mailbox.leave

    def interrupted(frame: bytes) -> None:
        worker.interrupting = worker.running
        signal.raise_signal(signal.SIGINT)
        leave(frame)

    worker.mailbox.leave = interrupted  # type: ignore[method-assign]
    scene.offer(1, -5)
    scene.run()
    assert [results.values for results in scene.answers()] == [[5]]


def test_an_interrupt_that_comes_before_the_call_began_is_not_lost(scene: Scene) -> None:
    worker = scene.worker
    signal.signal(signal.SIGINT, worker.on_sigint)
    scene.offer(1, -5)
    worker.interrupting = 1
    scene.run()
    (results,) = scene.answers()
    assert [attempt for attempt, _ in results.failed] == [1]


def test_answers_stay_in_the_mailbox_while_they_are_under_way(scene: Scene) -> None:
    """The second thread reads an Execute and sends what is finished, behind the main thread's back."""
    worker = scene.worker
    leave = worker.mailbox.leave
    frames: list[bytes | None] = []

    def second_thread_comes(frame: bytes) -> None:
        leave(frame)
        if not frames:
            frames.append(None)  # attempt 1 has just been left; its answer is not in ``done`` yet
            scene.offer(3, -7)

    worker.mailbox.leave = second_thread_comes  # type: ignore[method-assign]
    done = worker.done

    class Watched(type(done)):  # type: ignore[misc]
        def append(self, item: Any) -> None:
            super().append(item)
            if item[0] == 1:
                frames.append(worker.finished(0.0))  # encoded, and not sent yet

    worker.done = Watched()
    scene.offer(1, -5, -6)
    scene.run()
    assert frames[1] is not None
    assert scene.left() == [1, 2, 3]


def test_the_second_thread_sees_that_the_main_thread_has_closed_the_data_link(scene: Scene) -> None:
    scene.worker.data.close(linger=0)
    control._see_what_came(scene.worker)
    assert not scene.worker.data_lock.locked()


def test_the_context_ends_whatever_ends_the_second_thread(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise zmq.ZMQError(zmq.EAGAIN)

    monkeypatch.setattr(control, "encode", fail)
    worker = scene.worker
    second = threading.Thread(target=_quietly, args=(worker,))
    second.start()
    second.join(5)
    worker.data.close(linger=0)
    ending = threading.Thread(target=worker.context.term, daemon=True)
    ending.start()
    ending.join(5)
    assert not ending.is_alive(), "a socket of the second thread is still open"


def _quietly(worker: Worker) -> None:
    try:
        control.control_loop(worker)
    except zmq.ZMQError:
        pass
