"""Dask on a cluster that is found by its address, and under Ctrl-C: programs in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import cluster as cluster
from tests.cluster.conftest import facts_of, of_cluster
from tests.cluster.conftest import three as three
from tests.cluster.hosts import Host
from tests.processes.scene import wait_until

PROGRAM = ("-m", "tests.dask.program")


@pytest.mark.timeout(180)
def test_on_a_cluster_no_row_is_lost_and_nothing_differs(cluster: list[Host]) -> None:
    a, _, c = cluster
    status, text = c.run(*PROGRAM, "cluster", env=of_cluster(a), within_s=150.0)
    assert status == 0, text
    assert facts_of(text) == {
        "nodes": ["a", "b"],
        "hashes": 1,
        "set_index": True,
        "groups": True,
        "array": True,
        "persisted": True,
    }
    assert text.count("\n") == 1, "nothing of ours is printed"


def test_ctrl_c_ends_what_runs_and_the_next_computation_goes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *PROGRAM, "interrupted", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        try:
            wait_until(lambda: any(tmp_path.glob("begun-*")), "a task has begun", 60.0)
            child.send_signal(signal.SIGINT)
            assert child.stdout is not None
            assert child.stdout.readline() == "interrupted\n"
            assert child.stdout.readline() == "3\n"
            # Interrupted; or killed, where the machine is so busy that a second was not enough for that.
            wait_until(
                lambda: (
                    not [
                        mark
                        for mark in tmp_path.glob("begun-*")
                        if not mark.with_name(mark.name.replace("begun", "interrupted")).exists()
                        and os.path.exists(f"/proc/{mark.read_text()}")
                    ]
                ),
                "each task that had begun has ended",
                10.0,
            )
            assert child.wait(30) == 0
        finally:
            child.kill()
