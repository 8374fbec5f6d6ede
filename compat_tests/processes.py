"""Runs one command to its end or to its time-out, and ends everything that it leaves behind.

The command gets a session of its own. What it leaves is found by that session or by a mark in the
environment, which every descendant carries, so daemons are found too. This process is their subreaper (on
Linux): orphans come to it, are killed by pid and reaped, never by name and never somebody else's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_POLL_INTERVAL_S = 0.05
_KILL_WAIT_S = 5.0

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (negative: a signal), or a time-out; and who had to be killed."""

    status: int
    timed_out: bool
    killed: tuple[str, ...]


def become_subreaper() -> None:
    """Let the orphans of the test processes come to this process instead of to init. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_bounded(
    command: list[str],
    environment: dict[str, str],
    mark: str,
    folder: Path,
    log: Path,
    timeout_s: float,
    settle_s: float,
) -> Ended:
    """Run `command` in `folder` with both outputs in `log`; kill it after `timeout_s`.

    `mark` is a unique text somewhere in `environment`. What is left after a regular end may go by itself
    within `settle_s`; then, and at once after a time-out, it is killed.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _running.add(process)
    timed_out = False
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
    if not timed_out:
        _wait_gone(process.pid, mark, settle_s)
    killed = _kill_all(process.pid, mark)
    if timed_out:
        process.kill()
    _running.discard(process)
    return Ended(process.wait(), timed_out, tuple(killed))


def end_orphans(before: set[int]) -> list[str]:
    """At the end of a run: kill and reap what came to this process from any test and is not in `before`."""
    names = []
    for pid in own_children() - before:
        try:
            entry = Path(f"/proc/{pid}")
            if _stat(entry)[0] != "Z":
                names.append(f"{pid} {_command_line(entry)}")
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except OSError:
            continue
    return names


def own_children() -> set[int]:
    """The pids of this process's children, adopted ones included. Linux only; elsewhere empty."""
    children = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if _stat(entry)[1] == os.getpid():
                children.add(int(entry.name))
        except (OSError, ValueError):
            continue
    return children


def kill_running() -> None:
    """Kill the commands that run now, from any thread; their `run_bounded` then ends what they leave."""
    for process in list(_running):
        process.kill()


def _wait_gone(session: int, mark: str, bound_s: float) -> None:
    deadline = time.monotonic() + bound_s
    while _left(session, mark) and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S)


def _kill_all(session: int, mark: str) -> list[str]:
    """Kill what is left until nothing is: a process that forks while it is shot at leaves another."""
    killed: dict[int, str] = {}
    deadline = time.monotonic() + _KILL_WAIT_S
    while (left := _left(session, mark)) and time.monotonic() < deadline:
        for pid, name in left.items():
            killed.setdefault(pid, name)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(_POLL_INTERVAL_S)
    return [f"{pid} {name}" for pid, name in killed.items()]


def _left(session: int, mark: str) -> dict[int, str]:
    """The living processes of a command, pid -> command line; the dead that came to us are reaped."""
    if sys.platform != "linux":
        return _left_without_proc(session)
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            pid = int(entry.name)
            try:
                state, parent, pid_session = _stat(entry)
                if state == "Z":
                    # Of our own children, those that subprocess waits for lead their own session.
                    if parent == os.getpid() and pid_session != pid:
                        os.waitpid(pid, os.WNOHANG)
                    continue
                if pid_session == session or mark.encode() in (entry / "environ").read_bytes():
                    found[pid] = _command_line(entry)
            except (OSError, ValueError):
                continue
    return found


def _command_line(entry: Path) -> str:
    return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]


def _stat(entry: Path) -> tuple[str, int, int]:
    """(state, parent pid, session id) of a /proc entry. The command name before them may hold anything."""
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[3])


def _left_without_proc(session: int) -> dict[int, str]:
    try:
        os.killpg(session, 0)
    except (ProcessLookupError, PermissionError):
        return {}
    return {session: "(its process group)"}
