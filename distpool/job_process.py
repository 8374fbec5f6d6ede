"""The process of one job: becomes what the job's ``runtime_env`` says, runs the program, and ends all that is below it.

::

    agent ── a JSON line ──► job_process ── apply ──► exec ──► the program: a driver like any other, in its cluster
          ◄── {"status": ..., "reason": ...} ── its end ◄──────┘
          ── SIGTERM, or the agent's death ──► SIGTERM to the program, SIGKILL to all below after ``STOP_S``

What the program and its children leave running goes with it: the job is over then. Not here: who starts it
(``scheduler.shells.jobs``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_env_applying import Payload, apply
from distpool.runtime_env_packing import Archive
from distpool.scheduler.node_identity import VARIABLE as NODE_VARIABLE
from distpool.scheduler.shells import launched, processes
from distpool.scheduler.shells.started import SECRET_FILE

__all__ = ["setting_of"]

STOP_S = 10.0


class _Stopped(BaseException):
    """Somebody wants the end of the job."""


def setting_of(payload: Payload) -> bytes:
    """What a job's process is told of its environment; the archives are uploaded. Raises ValueError for a function."""
    if payload.hook:
        raise ValueError("a job's worker_process_setup_hook is named, as 'module.function'")
    archives = [[archive.digest, archive.label, archive.size_bytes] for archive in payload.archives]
    return json.dumps({"env": payload.env, "archives": archives}).encode()


def main(ask_fd: int, tell_fd: int) -> NoReturn:
    """The life of such a process."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.become_subreaper()
    with open(ask_fd, "rb") as ask:
        request = json.loads(ask.readline())
    processes.die_with_parent(request["agent_pid"], signal.SIGTERM)
    os.set_inheritable(tell_fd, False)
    word: dict[str, object] = {"status": None, "reason": ""}
    try:
        word = _run(request)
    except _Stopped:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.end_descendants()
        launched.tell(tell_fd, word)
        os._exit(0)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def _run(request: dict[str, Any]) -> dict[str, object]:
    os.environ.pop(NODE_VARIABLE, None)
    os.environ["PATH"] = os.pathsep.join(
        [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    )
    os.environ |= {
        "DISTPOOL_ADDRESS": request["address"],
        "DISTPOOL_SECRET_FILE": f"{request['directory']}/{SECRET_FILE}",
        "DISTPOOL_JOB": request["job"],
        "PYTHONUNBUFFERED": "1",  # what it prints is followed
    }
    # The folder tells the cache how long the job's own working folder is wanted: not longer than the node is there.
    own = f"{request['directory']}/{request['job']}"
    os.mkdir(own)
    try:
        setting = json.loads(request["setting"])
        archives = [
            Archive(digest, label, f"{request['directory']}/{digest}.archive", size)
            for digest, label, size in setting["archives"]
        ]
        apply(Payload(setting["env"], b"", tuple(archives)), own)
        return _run_program(request["words"])
    except RuntimeEnvSetupError as error:
        return {"status": None, "reason": f"its environment cannot be had: {error}"}
    finally:
        os.rmdir(own)


def _run_program(words: list[str]) -> dict[str, object]:
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        return {"status": 127, "reason": f"{words[0]} cannot be run: {error.strerror}"}
    try:
        status = child.wait()
    except _Stopped:
        _try(lambda: os.killpg(child.pid, signal.SIGTERM))
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        raise
    if status < 0:
        name = signal.Signals(-status).name
        return {"status": 128 - status, "reason": f"it was killed by {name}"}
    return {"status": status, "reason": ""}


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
