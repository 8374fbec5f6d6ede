"""The nursery: the clean, one-threaded parent from which every worker is forked.

::

    agent ── Fork, Signal ──► socketpair ──► nursery ──► fork ──► worker.main(WorkerStart)
      ▲                                         │                     │
      └───────── Forked, Exited ◄───────────────┴── wait4 ◄── SIGCHLD ┘

A fork copies one thread and all locks, so it is only safe in a process that has one thread. The nursery is forked
from the agent before that makes a ZeroMQ context, imports what workers need, makes no context itself, and asserts
before each fork that the kernel counts one thread. Only it reaps, so a Signal never hits a reused pid.

It is a subreaper: what a dead worker's task left running comes to it. Such orphans live on, as under multiprocessing,
until the session ends: when the agent is gone (end of file), everything below the nursery is killed and reaped
and the session directory removed. It decides nothing; that is ``NodeCore``'s.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

import msgspec

from distpool.scheduler.messages import Death, Exited, Fork, Forked, Message, Preload, Signal, decode, encode
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.frames import Frames, frame
from distpool.scheduler.shells.prints import divert
from distpool.scheduler.shells.slots import Slots
from distpool.scheduler.shells.worker_start import WorkerStart
from distpool.scheduler.store.files import StoreFiles

WorkerMain = Callable[[WorkerStart], int]

_RSS_UNIT_BYTES = 1024 if sys.platform.startswith("linux") else 1  # of ru_maxrss


class NurseryStart(msgspec.Struct, frozen=True):
    """What a nursery must know; as JSON where it is started by exec. The descriptors are inherited."""

    directory: str
    node: str
    host: str
    driver_pid: int
    agent_pid: int
    slots: int
    slots_fd: int
    lock_fd: int
    worker_main: str  # "module:function"
    store: StoreFiles | None = None
    logged: bool = False  # what workers print goes to their logs


class Nursery:
    """The loop and its children."""

    def __init__(self, start: NurseryStart, link: socket.socket, slots: Slots) -> None:
        self._start = start
        self._link = link
        self._slots = slots
        self._worker_main = _load(start.worker_main)
        self._pids: dict[int, int] = {}  # worker -> pid
        self._workers: dict[int, int] = {}  # pid -> worker
        self._frames = Frames()
        self._child_read, self._child_write = os.pipe()
        os.set_blocking(self._child_read, False)
        os.set_blocking(self._child_write, False)

    def run(self) -> None:
        """Serve until the agent is gone."""
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._child_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._child_read, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._child_read in ready:
                _drain(self._child_read)
                self._reap()
            if self._link.fileno() in ready and not self._listen():
                return

    def _listen(self) -> bool:
        """Take in what the agent says; False when it is gone."""
        try:
            data = self._link.recv(1 << 16)
        except ConnectionResetError:
            return False
        for encoded in self._frames.feed(data):
            match decode(encoded):
                case Fork() as fork:
                    self._fork(fork)
                case Signal(worker=worker, signal=number):
                    if worker in self._pids:
                        os.kill(self._pids[worker], number)
                case Preload(modules=modules):
                    _preload(modules)
                case message:
                    raise AssertionError(f"an agent does not say {message} to a nursery")
        return bool(data)

    def _say(self, message: Message) -> None:
        """The agent always reads, so this never blocks for long; if it is gone, the next read tells."""
        try:
            self._link.sendall(frame(encode(message)))
        except OSError:
            pass

    def _fork(self, fork: Fork) -> None:
        assert processes.threads() == 1, "the nursery has more than one thread, so it cannot fork safely"
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"no process could be forked: {error.strerror}"
            self._say(Exited(fork.worker, Death(0, self._start.host, 0, 1, reason=reason)))
            return
        if pid == 0:
            self._become_worker(fork)
        self._pids[fork.worker] = pid
        self._workers[pid] = fork.worker
        self._say(Forked(fork.worker, pid))

    def _become_worker(self, fork: Fork) -> None:
        """In the child: close what is the nursery's, restore what it changed, run, and never return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            nursery_pid = os.getppid()
            self._link.close()
            os.close(self._child_read)
            os.close(self._child_write)
            start = self._start
            log = divert(start.directory, fork.worker) if start.logged else None
            status = self._worker_main(
                WorkerStart(
                    directory=start.directory,
                    worker=fork.worker,
                    slot=self._slots.view(fork.slot),
                    began=self._slots.began(fork.slot),
                    attach=fork.attach,
                    node=start.node,
                    host=start.host,
                    driver_pid=start.driver_pid,
                    agent_pid=start.agent_pid,
                    nursery_pid=nursery_pid,
                    store=start.store,
                    log=log,
                )
            )
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(status)

    def _reap(self) -> None:
        """Collect every dead child: workers are reported, orphans that came to us are only buried."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                del self._pids[worker]
                self._say(Exited(worker, death_of(pid, self._start.host, status, usage)))


def death_of(pid: int, host: str, status: int, usage: resource.struct_rusage) -> Death:
    """What wait4 tells, as a Death."""
    code = os.waitstatus_to_exitcode(status)
    return Death(pid, host, max(0, -code), code, peak_rss_bytes=usage.ru_maxrss * _RSS_UNIT_BYTES)


def main(start: NurseryStart, link: socket.socket, slots: Slots) -> None:
    """The life of a nursery process. Does not return."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        processes.become_subreaper()
        nursery = Nursery(start, link, slots)
        gc.collect()
        gc.freeze()  # collections in workers leave the pages alone that they share with us
        nursery.run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # The agent is gone, or we are about to be: without either of us nobody may live on.
        signal.set_wakeup_fd(-1)
        link.close()
        processes.end_descendants(start.directory if status == 0 else None)
        _flush()
        os._exit(status)


def _load(name: str) -> WorkerMain:
    import importlib

    module, _, function = name.partition(":")
    found: WorkerMain = getattr(importlib.import_module(module), function)
    return found


def _preload(modules: tuple[str, ...]) -> None:
    """Import what forks will need: once here, instead of once in each of them. None of it starts a thread."""
    import importlib

    for name in modules:
        if name.startswith("distpool."):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def _nothing(_number: int, _frame: object) -> None:
    """SIGCHLD's handler: the wake-up descriptor is what matters."""


if __name__ == "__main__":
    # Started by exec, when a former nursery died: the agent has threads by now and cannot fork one.
    _link_fd = int(sys.argv[1])
    _start = msgspec.json.decode(sys.argv[2], type=NurseryStart)
    main(_start, socket.socket(fileno=_link_fd), Slots(_start.slots, _start.slots_fd))
