"""`distpool memory`: who holds what, how much, and which line made it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.big import namespaces
from tests.processes import scene
from tests.processes.harness import ROOT

SCRIPT = """\
import sys
import distpool
import numpy as np

kept = {}

def make(size):
    kept["mine"] = distpool.put(np.ones(size, np.uint8))
    return np.zeros(3 << 20, np.uint8)

if __name__ == "__main__":
    reference = distpool.put(np.zeros(8 << 20, np.uint8))
    with distpool.Pool(1) as pool:
        result = pool.apply(make, (5 << 20,))
        print("ready", flush=True)
        sys.stdin.readline()
"""


COMMAND = "import sys; from distpool.cli import main; sys.exit(main(['memory']))"


def _memory(folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distpool", "memory"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "TMPDIR": folder, "PYTHONPATH": ROOT},
    )


def _lines_with(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_it_shows_processes_objects_sizes_and_lines(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    run = f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path({str(script)!r}, run_name='__main__')"
    with scene.driver(run, tty=True, env={"TMPDIR": str(folder)}) as it:
        it.read_until("ready")
        shown = _memory(str(folder))
        assert shown.returncode == 0, shown.stderr
        text = shown.stdout
        driver = str(it.process.pid)
        assert driver in text, "the driver is named by its pid"
        assert _lines_with(text, "script.py:12"), text
        assert re.search(r"\b8(\.0+)? ?Mi?B", "\n".join(_lines_with(text, "script.py:12"))), text
        assert re.search(r"\b5(\.0+)? ?Mi?B", "\n".join(_lines_with(text, "script.py:8"))), text
        assert re.search(r"\b3(\.0+)? ?Mi?B", text), text
        it.type("\n")
        it.finish()


def test_a_session_without_a_store_says_so(tmp_path: Path) -> None:
    """Its ulimit leaves no room for one."""
    folder = tmp_path / "t"
    folder.mkdir()
    run = (
        "import resource, sys, distpool; resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20)); "
        "pool = distpool.Pool(1); assert pool.apply(len, ('ab',)) == 2; "
        "print('ready', flush=True); sys.stdin.readline(); pool.terminate()"
    )
    with scene.driver(run, tty=True, env={"TMPDIR": str(folder)}) as it:
        it.read_until("ready")
        shown = _memory(str(folder))
        assert shown.returncode == 0, shown.stderr
        assert "no object store" in shown.stdout
        assert _lines_with(shown.stdout, f"driver {it.process.pid}", "0 B"), shown.stdout
        it.type("\n")
        it.finish()


def test_without_a_session_it_says_so_in_one_line() -> None:
    """Where there is nothing in any of the folders in which sessions are looked for."""
    if ROOT.startswith(("/tmp/", "/var/tmp/")):
        pytest.skip("the checkout itself lies in a folder that this test must hide")
    with namespaces.driver(
        "mount -t tmpfs none /tmp && mount -t tmpfs none /var/tmp", COMMAND, env={"TMPDIR": "/tmp"}
    ) as it:
        said = it.finish().strip()
        assert it.process.returncode == 1
    assert len(said.splitlines()) == 1, said
    assert "no session" in said
    assert "Traceback" not in said
