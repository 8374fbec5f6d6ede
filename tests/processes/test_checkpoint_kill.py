"""The program is killed in the middle of a map with a checkpoint: the next run does the rest, and nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from distpool.checkpoint_files import Reader
from tests.doors import checkpoint_bodies as bodies
from tests.processes.harness import ROOT
from tests.processes.scene import wait_until


def start(folder: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, bodies.__file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": ROOT, "CHECKPOINT_LOG": str(log)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)


def calls(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def kept(folder: Path) -> int:
    """How many results are there, in whole."""
    (only,) = folder.iterdir()
    return len(Reader(str(folder), bytes.fromhex(only.name.split("-")[1])).places)


def test_killed_at_sixty_percent_the_next_run_does_the_missing_forty(tmp_path: Path) -> None:
    folder, log = tmp_path / "kept", tmp_path / "first"
    first = start(folder, log)
    assert first.stdout is not None
    wait_until(lambda: calls(log) >= 0.6 * bodies.ITEMS, "60 % were never done", 30)
    first.send_signal(signal.SIGKILL)
    assert first.wait(30) == -signal.SIGKILL
    first.stdout.close()
    there = kept(folder)
    assert 0.5 * bodies.ITEMS <= there < bodies.ITEMS  # but for what was on its way when the kill came
    second = start(folder, tmp_path / "second")
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert int(out) == sum(x * x for x in range(bodies.ITEMS))
    assert calls(tmp_path / "second") == bodies.ITEMS - there
    third = start(folder, tmp_path / "third")
    assert third.communicate(timeout=60)[0] == out
    assert calls(tmp_path / "third") == 0
