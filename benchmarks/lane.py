"""One measurement from outside: start a fresh process, wait for its answer, and leave nothing of it behind.

A peer may crash, hang, print, or leave processes; here each of these becomes the reason in its cell of the
table, and the run goes on. The process that measures is `measure.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from benchmarks import network, proc
from benchmarks.model import Outcome, Peer, Row

ROOT = Path(__file__).resolve().parent.parent
_CLOSE_S = 20.0
_LEAVE_S = 5.0
_POLL_S = 0.05


def measure(peer: Peer, row: Row, python: str, count: int) -> Outcome:
    """Measure `row` for `peer` with the interpreter `python`; never raises for what the peer does."""
    prefix: tuple[str, ...] = ()
    if peer.isolated:
        prefix = network.isolating_command()
        if not prefix:
            return Outcome(
                peer.name,
                row.key,
                failure=(
                    f"skipped: {peer.title} runs only in a network namespace of its own, and `unshare --net` "
                    "is not permitted here (run as root, or allow user namespaces)"
                ),
            )
    before = proc.own_children()
    read_fd, write_fd = os.pipe()
    # A temporary folder of its own, so that what a killed peer leaves goes too; its path is short, because
    # peers put unix sockets beneath it, whose paths have 107 characters at most.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile() as output,
        open(read_fd, "rb") as reply,
    ):
        process = subprocess.Popen(
            [*prefix, python, "-m", "benchmarks.measure"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _python_path(), "TMPDIR": scratch},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(write_fd,),
            start_new_session=True,
        )
        os.close(write_fd)
        try:
            _ask(
                process,
                {
                    "peer": peer.name,
                    "row": row.key,
                    "count": count,
                    "workers": row.workers,
                    "reply_fd": write_fd,
                },
            )
            outcome = _wait_answer(peer, row, process, reply, output)
            note = _wait_exit(process) if not outcome.failure else ""
        finally:
            left = _end_everything(process, before)
    if left and not note:
        note = f"left {left} processes behind"
    return Outcome(peer.name, row.key, outcome.values, outcome.failure, outcome.not_offered, note)


def _python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)


def _ask(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; `_wait_answer` says of what
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.close()


def _wait_answer(
    peer: Peer, row: Row, process: subprocess.Popen[bytes], reply: IO[bytes], output: IO[bytes]
) -> Outcome:
    """Wait for the answer, the process's death, or the row's time-out."""
    deadline = time.monotonic() + row.timeout_s
    while not select.select([reply], [], [], _POLL_S)[0]:
        if process.poll() is not None and not select.select([reply], [], [], 0)[0]:
            break
        if time.monotonic() > deadline:
            return Outcome(peer.name, row.key, failure=f"no answer within {row.timeout_s:.0f} s")
    # End of file is readable too; then the line is empty and the process is the one to ask.
    line = reply.readline() if select.select([reply], [], [], 0)[0] else b""
    if not line:
        return Outcome(peer.name, row.key, failure=_cause_of_death(process, output))
    answer = json.loads(line)
    if "not_offered" in answer:
        return Outcome(peer.name, row.key, not_offered=True, note=answer["not_offered"])
    return Outcome(peer.name, row.key, answer.get("values", {}), answer.get("failure", ""))


def _cause_of_death(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    try:
        status = process.wait(timeout=_LEAVE_S)
    except subprocess.TimeoutExpired:
        return "closed its answer without giving one"
    cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"left with status {status}"
    output.seek(0)
    printed = output.read().decode(errors="replace").strip().splitlines()
    return f"{cause}: {printed[-1]}" if printed else cause


def _wait_exit(process: subprocess.Popen[bytes]) -> str:
    try:
        process.wait(timeout=_CLOSE_S)
    except subprocess.TimeoutExpired:
        return f"did not close within {_CLOSE_S:.0f} s and was killed"
    return ""


def _end_everything(process: subprocess.Popen[bytes], before: set[int]) -> int:
    """Kill the process if it lives, then its children; return how many a process that left by itself had left.

    The runner is a subreaper, so every orphan of the measurement is by now a child of this process: the
    children that were not there before. Helpers that leave by themselves a moment after their driver get
    that moment.
    """
    if process.poll() is None:
        process.kill()
        process.wait()
        by_itself, grace_s = False, 0.0
    else:
        by_itself, grace_s = True, _LEAVE_S
    deadline = time.monotonic() + grace_s
    killed: set[int] = set()
    while remaining := _reap(proc.own_children() - before):
        if time.monotonic() > deadline:
            for pid in remaining:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= remaining
        time.sleep(_POLL_S)
    return len(killed) if by_itself else 0


def _reap(pids: set[int]) -> set[int]:
    """Reap those that ended; return those that still run."""
    running: set[int] = set()
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                running.add(pid)
    return running
