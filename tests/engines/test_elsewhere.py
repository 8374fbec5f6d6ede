"""Programs on clusters of another kind: the same front doors, on real pilots, agents and workers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conftest import Cluster
from tests.processes.scene import SOAK, wait_until

pytestmark = pytest.mark.timeout(240)
BOUND_S = 200


def facts_of(program: subprocess.Popen[str]) -> dict[str, Any]:
    """What it has printed: that, and nothing else."""
    out, err = program.communicate(timeout=BOUND_S)
    assert program.returncode == 0, err
    assert err == ""
    facts: dict[str, Any] = json.loads(out)
    return facts


def test_values_arrive_as_they_would_at_home(cluster: Cluster, tmp_path: Path) -> None:
    assert facts_of(cluster.start("values", tmp_path)) == {
        "map": True,
        "one by one": True,
        "imap": True,
        "starmap": [8, 9],
        "error": "__main__.OfMain: 1",
        "builtin error": "builtins.ValueError: invalid literal for int() with base 10: 'x'",
        "big": 5_000_000,
        "big back": 5_000_000,
        "unpicklable": "builtins.TypeError",
        "executor": [1, 2, 3],
    }


def test_calls_that_fail_are_ended_repeated_or_told(cluster: Cluster, tmp_path: Path) -> None:
    assert facts_of(cluster.start("failures", tmp_path)) == {
        "in time": [0.01, 0.02],
        "overdue": "distpool.errors.TimeoutError",
        "once more": "again",
        "died": "distpool.errors.WorkerDied",
        "goes on": [1],
        "cancelled": True,
        "after": 5,
    }


def test_a_pool_whose_initializer_fails_is_broken(cluster: Cluster, tmp_path: Path) -> None:
    program = cluster.start("initializer", tmp_path)  # its workers print what was raised
    facts = json.loads(program.communicate(timeout=BOUND_S)[0].splitlines()[-1])
    assert facts == {"broken": "A child process terminated abruptly"}


def test_pools_have_the_size_that_they_are_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    assert facts_of(cluster.start("sizes", tmp_path)) == {
        "two": 2,
        "known": 2,
        "three": 3,
        "fresh": 3,
        "by itself": 2,
        "cpus": 2.0,
    }


def test_what_workers_there_print_comes_here(cluster: Cluster, tmp_path: Path) -> None:
    program = cluster.start("prints", tmp_path)
    out, err = program.communicate(timeout=BOUND_S)
    assert program.returncode == 0, err
    *lines, answers = out.splitlines()
    assert json.loads(answers) == {"answers": [0, 1, 2, 3]}
    for what, found in (("out", lines), ("err", err.splitlines())):
        assert sorted(re.sub(r"^\(worker \d+, node [^)]+\) ", "", line) for line in found) == [
            f"{what} {x}" for x in range(4)
        ]


def test_remote_functions_and_actors(cluster: Cluster, tmp_path: Path) -> None:
    assert facts_of(cluster.start("remote", tmp_path)) == {
        "calls": [2 * x for x in range(50)],
        "chained": 12,
        "actor": [0, 1, 3, 6],
        "nested": [1, 2],
    }


def test_what_the_cluster_cannot_have_is_refused_by_name(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.kind == "here" and not SOAK:
        pytest.skip("takes ten seconds: a part of `make soak`, and in tests/cores")
    said = facts_of(cluster.start("refusals", tmp_path))["resources"]
    assert cluster.address in said
    assert "can ever have no_such_thing 2 for a worker; the most that one has is no_such_thing 0" in said


def test_nothing_is_left_on_the_cluster_by_a_program_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.kind == "here":
        cluster.mark = os.urandom(8).hex()  # its pilots are the program's own descendants
    program = cluster.start("long", tmp_path)
    wait_until(lambda: len(os.listdir(tmp_path)) == 2, "both are running", 120)
    assert cluster.nodes_of_ours()
    program.kill()
    program.communicate()
    wait_until(lambda: not cluster.nodes_of_ours(), "its nodes are gone", 60)


def test_a_cluster_that_goes_away_is_named(own_cluster: Cluster, tmp_path: Path) -> None:
    program = own_cluster.start("long", tmp_path)
    wait_until(lambda: len(os.listdir(tmp_path)) == 2, "both are running", 120)
    (own_cluster.folder / "gone").touch()
    own_cluster.end()
    out, err = program.communicate(timeout=BOUND_S)
    assert program.returncode == 0, err
    assert own_cluster.address in json.loads(out)["error"]
