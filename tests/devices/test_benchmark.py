"""``python -m benchmarks.gpu`` runs, on the stand-in; its figures mean nothing there."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processes.harness import ROOT

from .ground import STAND_IN, Ground


def test_it_tells_of_both_ways_and_that_nothing_is_left(ground: Ground) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--mib", "1,2", "--seconds", "0.05"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(STAND_IN),
            "STAND_IN": str(ground.place),
            "CUDA_VISIBLE_DEVICES": "0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split("|")[1:-1] for line in told.stdout.splitlines() if "MiB | o" in line]
    assert [(row[0].strip(), row[1].strip(), row[5].strip()) for row in rows] == [
        ("1 MiB", "on the device", "0 MiB"),
        ("2 MiB", "on the device", "0 MiB"),
        ("1 MiB", "over the host", "0 MiB"),
        ("2 MiB", "over the host", "0 MiB"),
    ]
    assert ground.opened > 0


def test_without_a_gpu_it_says_so() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if not told.returncode:
        return  # there is one
    assert told.stderr.startswith("no GPU to measure: ")
