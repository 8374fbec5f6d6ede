"""The processes of a node's jobs, and the archives that they bring along: a part of the agent's shell.

::

    RunJob ──► exec, a JSON line ──► distpool.job_process ──► the program         its output: DIRECTORY/job-....log
    JobSays ◄── a JSON line, and its end (a pidfd) ──┘
    EndJob ──► SIGTERM ──► it ends the program, and then itself;  after ``END_S`` all of it is killed
    Upload ──► DIRECTORY/DIGEST.archive.part ── the last part ──► DIRECTORY/DIGEST.archive

A job's process is the agent's child, and ends with it. Not here: what is to run (``cores.node_jobs``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import zmq

from distpool.scheduler.messages import EndJob, JobSays, RunJob, Upload, Uploaded
from distpool.scheduler.messages.jobs import FAILED, JOB_PREFIX, RUNNING, SUCCEEDED
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.logs import Logs

__all__ = ["JobProcesses"]

#: How long a job that is to end may take for that, until it is killed.
END_S = 20.0
#: What was not uploaded to its end goes after a while.
PART_S = 600.0
ARCHIVE_BYTES_MAX = 2 << 30
_MODULE = "distpool.job_process"


@dataclass(slots=True)
class _Running:
    job: str
    process: subprocess.Popen[bytes]
    tell_fd: int
    kill_s: float = float("inf")


class JobProcesses:
    """``address``: the node's port, by which its jobs use the cluster."""

    def __init__(self, poller: zmq.Poller, directory: str, address: str, logs: Logs) -> None:
        self._poller = poller
        self._directory = directory
        self._address = address.removeprefix("tcp://")
        self._logs = logs
        self._running: dict[int, _Running] = {}  # by pidfd
        self._parts: dict[str, float] = {}  # digest of what is being uploaded -> when it was last heard of

    # ------------------------------------------------------------------------------------ processes

    def do(self, message: RunJob | EndJob) -> list[JobSays]:
        """What the node's core wants; what there is to say at once."""
        if isinstance(message, RunJob):
            return [self._start(message)]
        for running in self._running.values():
            if running.job == message.job:
                running.kill_s = min(running.kill_s, time.monotonic() + END_S)
                processes.terminate(running.process.pid)
        return []

    def _start(self, message: RunJob) -> JobSays:
        spec = message.spec
        if not spec.job.startswith(JOB_PREFIX) or not spec.job.removeprefix(JOB_PREFIX).isalnum():
            return JobSays(spec.job, FAILED, None, "its name is not one that distpool gives")
        request = {
            "job": spec.job,
            "words": spec.words,
            "setting": spec.setting.decode(errors="replace"),
            "directory": self._directory,
            "address": self._address,
            "agent_pid": os.getpid(),
        }
        ask_read, ask = os.pipe()
        tell, tell_write = os.pipe()
        try:
            log = os.open(
                self._logs.open_job(spec.job), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, str(ask_read), str(tell_write)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(ask_read, tell_write),
                    start_new_session=True,
                )
            finally:
                os.close(log)
            with open(ask, "wb", closefd=False) as file:
                file.write(json.dumps(request).encode() + b"\n")
        except OSError as error:
            os.close(tell)
            self._logs.close_job(spec.job)
            return JobSays(spec.job, FAILED, None, f"no process could be started for it: {error}")
        finally:
            for fd in (ask_read, ask, tell_write):
                os.close(fd)
        pidfd = os.pidfd_open(process.pid)  # it is our child, and not reaped: so it is there
        self._running[pidfd] = _Running(spec.job, process, tell)
        self._poller.register(pidfd, zmq.POLLIN)
        return JobSays(spec.job, RUNNING)

    def read(self, source: object) -> JobSays | None:
        """What a readable descriptor says; None: it is none of ours."""
        running = self._running.pop(source, None) if isinstance(source, int) else None
        if running is None:
            return None
        assert isinstance(source, int)
        self._poller.unregister(source)
        os.close(source)
        with open(running.tell_fd, "rb") as file:
            os.set_blocking(running.tell_fd, False)  # whoever it has left behind may hold the other end
            said = file.read() or b""
        status = running.process.wait()
        self._logs.close_job(running.job)
        try:
            word: dict[str, Any] = json.loads(said)
        except ValueError:
            why = signal.Signals(-status).name if status < 0 else f"status {status}"
            return JobSays(running.job, FAILED, None, f"the process that watched over it has died ({why})")
        state = SUCCEEDED if word["status"] == 0 and not word["reason"] else FAILED
        return JobSays(running.job, state, word["status"], word["reason"])

    @property
    def wake_s(self) -> float:
        """When ``tick`` has something to do."""
        kills = [running.kill_s for running in self._running.values()]
        return min([*kills, *(heard_s + PART_S for heard_s in self._parts.values())], default=float("inf"))

    def tick(self, now: float) -> None:
        """Kill what does not end, and forget what nobody goes on to upload."""
        for running in self._running.values():
            if running.kill_s <= now:
                running.kill_s = float("inf")
                for pid in (running.process.pid, *processes.descendants(running.process.pid)):
                    processes.kill(pid)
        for digest, heard_s in list(self._parts.items()):
            if heard_s + PART_S <= now:
                del self._parts[digest]
                _remove(f"{self._path(digest)}.part")

    # ------------------------------------------------------------------------------------- archives

    def upload(self, part: Upload) -> Uploaded:
        """Take a part of an archive. What is there already need not come again."""
        if not part.digest.isalnum():
            return Uploaded(part.request, 0, False, f"{part.digest!r} is no digest")
        path = self._path(part.digest)
        if os.path.exists(path):
            return Uploaded(part.request, os.stat(path).st_size, True)
        try:
            fd = os.open(f"{path}.part", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(fd, "ab") as file:
                size = os.fstat(fd).st_size
                self._parts[part.digest] = time.monotonic()
                if part.offset != size:
                    return Uploaded(part.request, size, False)
                if size + len(part.data) > ARCHIVE_BYTES_MAX:
                    raise OSError(f"an archive has {ARCHIVE_BYTES_MAX} bytes at most")
                file.write(part.data)
            if part.last:
                del self._parts[part.digest]
                os.rename(f"{path}.part", path)
            return Uploaded(part.request, size + len(part.data), part.last)
        except OSError as error:
            self._parts.pop(part.digest, None)
            _remove(f"{path}.part")
            return Uploaded(part.request, 0, False, f"it cannot be kept on that node: {error}")

    def _path(self, digest: str) -> str:
        return f"{self._directory}/{digest}.archive"


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
