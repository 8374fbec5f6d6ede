"""A cluster of one node on this machine's loopback, and a folder with programs to hand in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from distpool.commands.job_client import UPLOAD_BYTES
from tests.cluster.hosts import ROOT

NODE = f"a{os.getpid()}"
PROGRAM = """
import os, sys, time
import helper, distpool
print(sys.argv[1:], open("data.txt").read(), os.environ.get("COLOUR"), flush=True)
with distpool.Pool() as pool:
    print(sum(pool.map(helper.square, range(10))))
sys.exit(int(sys.argv[1]))
"""
TICKS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("asked to end"), sys.exit(0)))
number = 0
while True:
    print("tick", number := number + 1)
    time.sleep(0.05)
"""


@dataclass
class Cluster:
    """Commands are run in its ``folder``."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "work").mkdir()
        for name, text in {
            "program.py": PROGRAM,
            "ticks.py": TICKS,
            "helper.py": "def square(x): return x * x",
            "data.txt": "data",
        }.items():
            (self.folder / "work" / name).write_text(text)
        made = sum(path.stat().st_size for path in (self.folder / "work").iterdir())
        (self.folder / "work" / "zeros").write_bytes(
            bytes(2 * UPLOAD_BYTES - made)
        )  # whole parts, but for the zip's own

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("DISTPOOL_")}
        own = {name: str(self.folder / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
        return {**plain, **own, "TMPDIR": str(self.folder), "PYTHONPATH": ROOT}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "distpool", *words],
            cwd=self.folder / "work",
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit status, output and errors of a command."""
        child = self.begin(*words)
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err

    def submit(self, *words: str) -> str:
        """A job that nobody waits for."""
        status, out, err = self.run("submit", "--no-wait", *words)
        assert status == 0, err
        return out.strip()

    def processes(self, word: str) -> list[psutil.Process]:
        """Those of this cluster with this word on their command line."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            facts: Any = process.info
            mine = (facts["environ"] or {}).get("TMPDIR") == str(self.folder)
            if mine and word in " ".join(facts["cmdline"] or ()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """It is up; what is left of it in the end is ended."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        made = Cluster(Path(folder))
        status, _, err = made.run(
            "start", "--head", "--host", "127.0.0.1", "--port", "0", "--num-cpus", "2", "--name", NODE
        )
        assert status == 0, err
        try:
            yield made
        finally:
            made.run(
                "stop", NODE
            )  # by its name: without one, those of tests that run beside this are ended too
            left = made.processes("distpool")
            for process in left:
                process.kill()
            assert left == []
