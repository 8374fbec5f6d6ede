"""A fork at the instant at which an agent is started must not hold the start up."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from distpool.scheduler.shells import launching


def test_a_fork_waits_until_the_agent_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        inside.set()
        assert go_on.wait(10)
        return real(["true"], **options)

    real = subprocess.Popen
    monkeypatch.setattr(launching.subprocess, "Popen", slow)
    started: list[launching.AgentProcess] = []
    starter = threading.Thread(
        target=lambda: started.append(launching.AgentProcess("", {}, (), dict(os.environ), 1.0))
    )
    starter.start()
    assert inside.wait(10)
    pids: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        pids.append(pid)

    forker = threading.Thread(target=fork)
    forker.start()
    forker.join(0.1)
    assert not pids, "the fork has inherited what the start waits for"
    go_on.set()
    starter.join(10)
    forker.join(10)
    assert len(started) == 1
    os.kill(pids[0], signal.SIGKILL)
    os.waitpid(pids[0], 0)
    assert started[0].process.wait(10) == 0
    os.close(started[0]._ask)
    os.close(started[0]._tell)
