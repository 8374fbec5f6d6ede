"""Whether there is a GPU; without one every test here is skipped, and says why."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

COUNT = "import cupy; print(cupy.cuda.runtime.getDeviceCount())"


def missing() -> str:
    """Why there are no GPUs to be tested with; nothing if there are. CuPy is not imported here, but in a process."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install cupy-cuda12x, or cupy-cuda13x)"
    told = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=100, check=False
    )
    if told.returncode:
        return f"CuPy finds no GPU: {told.stderr.strip().splitlines()[-1]}"
    return "" if int(told.stdout) else "CuPy finds no GPU"


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """At least one."""
    if why := missing():
        pytest.skip(f"no GPU here: {why}")
