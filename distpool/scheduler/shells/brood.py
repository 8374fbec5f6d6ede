"""The agent's end of its nursery: the link, which worker has which slot and pid, and a new nursery when one dies.

::

    NodeCore ── Fork, Signal ──► Brood ──► socketpair ──► nursery
    NodeCore ◄── Forked, Exited ── Brood ◄─┘
                 (Exited with what slot, mailbox and fault file of the dead worker show)

When the nursery dies, its workers come to the agent, which is a subreaper: they are killed, reaped and
reported here, and the next nursery is started by exec, because an agent with ZeroMQ's threads must not fork.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Set

import msgspec

from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Death,
    Exited,
    Fork,
    Forked,
    Message,
    Preload,
    Seen,
    Signal,
    decode,
    encode,
)
from distpool.scheduler.shells import nursery, processes
from distpool.scheduler.shells.begun import read_begun, take_begun
from distpool.scheduler.shells.frames import Frames, frame
from distpool.scheduler.shells.logs import Logs
from distpool.scheduler.shells.nursery import NurseryStart, death_of
from distpool.scheduler.shells.slots import Slots, forget_dump, take_answers, take_last_words
from distpool.scheduler.shells.traces import Left

_TOGETHER_S = 0.05


class NurseryLost(Exception):
    """Nurseries die faster than it makes sense to replace them."""


class Brood:
    """One nursery at a time, and the workers that were forked through it.

    Making it forks, so it must come before this process has a second thread. ``private_fds`` are closed in the nursery.
    """

    def __init__(
        self, start: NurseryStart, slots: Slots, limits: Limits, private_fds: tuple[int, ...] = ()
    ) -> None:
        self._start = start
        self._slots = slots
        self._limits = limits
        self._deaths_s: deque[float] = deque(maxlen=limits.agent_restarts_max + 1)
        self._slot_of: dict[int, int] = {}  # every worker from Fork to Exited
        self._pid_of: dict[int, int] = {}  # those that are known to have been forked
        self.left = Left()  # what its workers have run, ...
        self.logs = Logs(
            start.directory, 0 if start.logged else start.driver_pid or start.agent_pid
        )  # ... and printed
        self._frames = Frames()
        self._unsent = bytearray()
        self.link, theirs = _socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.link.close()
            for fd in private_fds:
                os.close(fd)
            nursery.main(start, theirs, slots)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)

    @property
    def pids(self) -> dict[int, int]:
        """The workers that are alive, as far as is known."""
        return dict(self._pid_of)

    @property
    def living(self) -> Set[int]:
        """Every worker that was to be forked and has not been reaped."""
        return self._slot_of.keys()

    def look(self, worker: int, lease: str) -> Seen:
        """What this worker runs."""
        slot = self._slot_of.get(worker)
        running, for_s = (0, 0.0) if slot is None else self._slots.look(slot, time.perf_counter())
        return Seen(lease, running, for_s)

    def begun(self, worker: int) -> tuple[int, ...]:
        """What this worker has begun, of each of its callers; nothing, if it is no actor's."""
        return read_begun(f"{self._start.directory}/worker-{worker}.begun")

    @property
    def unsent(self) -> bool:
        """Whether ``flush`` has something to do once the link is writable."""
        return bool(self._unsent)

    def say(self, message: Fork | Signal | Preload) -> None:
        """Tell the nursery; never blocks, or two full sockets could wait for each other."""
        if isinstance(message, Fork):
            self._slots.clear(message.slot)
            self._slot_of[message.worker] = message.slot
        self._unsent += frame(encode(message))
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        try:
            while self._unsent:
                del self._unsent[: self.link.send(self._unsent)]
        except OSError:
            pass  # full; or the nursery is dead, which its pidfd tells

    def read(self) -> list[Message]:
        """What the nursery has said, for the core."""
        out: list[Message] = []
        try:
            while data := self.link.recv(1 << 16):
                out += [self._understand(decode(whole)) for whole in self._frames.feed(data)]
        except OSError:
            pass  # nothing more at the moment; or dead, which its pidfd tells
        return out

    def _understand(self, message: object) -> Message:
        match message:
            case Forked(worker=worker, pid=pid):
                self._pid_of[worker] = pid
                return message
            case Exited(worker=worker, death=death):
                return self._bury(worker, death)
            case _:
                raise AssertionError(f"a nursery does not say {message}")

    def _bury(self, worker: int, death: Death) -> Exited:
        """Add what a dead worker left behind, and remove it."""
        slot = self._slot_of.pop(worker)
        printed = self.logs.last_printed(worker)
        self.logs.bury(worker, self._pid_of.pop(worker, 0))
        directory = self._start.directory
        forget_dump(directory, worker)
        words = take_last_words(directory, worker)
        death = msgspec.structs.replace(death, last_words=words)
        self.left.take(directory, worker)
        begun = take_begun(f"{directory}/worker-{worker}.begun")
        running, answers = self._slots.running(slot), take_answers(directory, worker)
        return Exited(worker, death, running, answers, begun, printed)

    # ------------------------------------------------------------------------- a nursery dies

    def replace(self) -> list[Message]:
        """After the nursery's death: end and report its workers, start another.

        Raises NurseryLost if nurseries die too often.
        """
        now = time.monotonic()
        self._deaths_s.append(now)
        out = self.read()
        _, status = os.waitpid(self.pid, 0)
        reason = f"the process that it was forked from ended ({_manner(status)})"
        out += self._end_orphans(reason)
        recent = [at_s for at_s in self._deaths_s if at_s > now - self._limits.agent_restarts_window_s]
        if len(recent) > self._limits.agent_restarts_max:
            raise NurseryLost(
                f"the parent of the workers died {len(recent)} times, at last it was {_manner(status)}"
            )
        self._exec_nursery()
        return out

    def _end_orphans(self, reason: str) -> list[Message]:
        """Kill, reap and report: everything below us was below the nursery."""
        # Were we to be killed at the same instant, the workers would find that and end the session's remains. They
        # cannot if we have killed them just before.
        time.sleep(_TOGETHER_S)
        host = self._start.host
        pids = {pid: worker for worker, pid in self._pid_of.items()}
        for pid in processes.descendants(os.getpid()):
            processes.kill(pid)
        out: list[Message] = []
        for pid, worker in pids.items():
            try:
                _, status, usage = os.wait4(pid, 0)
                death = death_of(pid, host, status, usage)
            except ChildProcessError:
                death = Death(pid, host, signal.SIGKILL, -signal.SIGKILL)
            if not death.signal:
                # It had seen what happened and left by itself: its task is not to blame for that.
                death = msgspec.structs.replace(death, signal=signal.SIGKILL, exit_code=-signal.SIGKILL)
            out.append(self._bury(worker, msgspec.structs.replace(death, reason=reason)))
        processes.end_descendants()
        for worker in list(self._slot_of):
            out.append(self._bury(worker, Death(0, host, 0, 1, reason=reason)))
        return out

    def _exec_nursery(self) -> None:
        self.link.close()
        os.close(self.pidfd)
        self._frames, self._unsent = Frames(), bytearray()
        self.link, theirs = _socketpair()
        start = self._start
        command = [sys.executable, "-P", "-m", nursery.__name__, str(theirs.fileno())]
        child = subprocess.Popen(
            [*command, msgspec.json.encode(start).decode()],
            pass_fds=(
                theirs.fileno(),
                start.slots_fd,
                start.lock_fd,
                *(start.store.fds if start.store else ()),
            ),
        )
        theirs.close()
        self.pid = child.pid
        child.returncode = 0  # we reap it ourselves
        self.pidfd = os.pidfd_open(self.pid)


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    return ours, theirs


def _manner(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
