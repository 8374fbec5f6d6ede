"""Programs that are handed to a cluster: they come back with output and status, and go on when nobody waits."""

from __future__ import annotations

import os
import signal

import pytest

from tests.jobs.conftest import NODE, Cluster
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)


def line_of(cluster: Cluster, job: str) -> str:
    status, out, err = cluster.run("jobs")
    assert status == 0, err
    return next(line for line in out.splitlines() if line.startswith(job))


def test_output_and_status_come_back_and_the_folder_goes_along(cluster: Cluster) -> None:
    environment = '{"env_vars": {"COLOUR": "blue"}}'
    status, out, err = cluster.run("submit", "--runtime-env", environment, "program.py", "3", "--flag")
    assert (status, out) == (3, "['3', '--flag'] data blue\n285\n"), err
    assert "has failed, with status 3" in err


def test_a_module_and_another_command(cluster: Cluster) -> None:
    assert cluster.run("submit", "-m", "program", "0")[:2] == (0, "['0'] data None\n285\n")
    status, _, err = cluster.run("submit", "--", "sh", "-c", "kill -9 $$")
    assert status == 128 + signal.SIGKILL
    assert "it was killed by SIGKILL" in err
    status, _, err = cluster.run("submit", "--", "no-such-program")
    assert status == 127
    assert "no-such-program cannot be run: No such file or directory" in err


def test_it_goes_on_when_its_client_leaves_and_is_found_again(cluster: Cluster) -> None:
    client = cluster.begin("submit", "ticks.py")
    assert client.stdout is not None
    assert client.stdout.readline() == "tick 1\n"
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=30)
    assert client.returncode == 128 + signal.SIGINT
    job = err.split()[0]
    assert f"{job} goes on: `distpool logs {job} --follow`" in err
    follower = cluster.begin("logs", job, "--follow")
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(3)] == ["tick 1\n", "tick 2\n", "tick 3\n"]
    assert "running" in line_of(cluster, job)
    status, out, _ = cluster.run("stop", job)
    assert (status, out) == (0, f"{job} was stopped\n")
    out, err = follower.communicate(timeout=30)
    assert out.endswith("asked to end\n"), "it was given time for that"
    assert f"{job} was stopped" in err
    assert "stopped" in line_of(cluster, job)
    assert cluster.processes("ticks.py") == []


def test_it_does_not_hear_of_the_heads_death(cluster: Cluster) -> None:
    job = cluster.submit("ticks.py")
    follower = cluster.begin("logs", job, "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "tick 1\n"
    (head,) = cluster.processes("shells.head_process")
    head.send_signal(signal.SIGKILL)
    head.wait(10)
    for number in range(2, 60):
        assert follower.stdout.readline() == f"tick {number}\n"
    assert "running" in line_of(cluster, job)
    assert cluster.run("stop", job)[0] == 0
    follower.communicate(timeout=30)


def test_what_it_leaves_behind_goes_with_it(cluster: Cluster) -> None:
    status, _, err = cluster.run("submit", "--", "sh", "-c", "sleep 4713 & setsid sleep 4713 & exit 0")
    assert status == 0, err
    wait_until(lambda: not cluster.processes("sleep 4713"), "all of it has ended")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["submit"], "no program given"),
        (["submit", "nothing.py"], "there is no script 'nothing.py'"),
        (["submit", "-m"], "-m needs a module's name"),
        (["submit", "--runtime-env", "{", "program.py"], "--runtime-env takes a JSON object"),
        (["submit", "--runtime-env", '{"pips": []}', "program.py"], "pips"),
        (["submit", "--working-dir", "/usr", "program.py"], "is not in /usr"),
        (["submit", "--address", "127.0.0.1:1", "program.py"], "who does not know its secret"),
        (["stop", "job-0000"], "there is no job job-0000: `distpool jobs`"),
        (["stop", "nowhere"], "no node of yours of this name runs on this machine: nowhere"),
        (["logs", "job-0000"], "there is no job job-0000"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(cluster: Cluster, words: list[str], complaint: str) -> None:
    status, out, err = cluster.run(*words)
    assert status in (1, 2)
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1, err


def test_an_environment_that_cannot_be_had(cluster: Cluster) -> None:
    environment = '{"worker_process_setup_hook": "no.such"}'
    status, _, err = cluster.run("submit", "--runtime-env", environment, "program.py")
    assert status == 1
    assert "its environment cannot be had" in err


def test_its_node_is_killed(cluster: Cluster) -> None:
    """The last one: the cluster begins anew, with what its head has journaled."""
    job = cluster.submit("ticks.py")
    wait_until(lambda: cluster.processes("ticks.py"), "it runs")
    agent = next(
        p
        for p in cluster.processes("shells.agent")
        if (parent := p.parent()) and "agent" not in " ".join(parent.cmdline())
    )
    address = cluster.run("nodes")[1].splitlines()[1].split()[1]
    os.kill(agent.pid, signal.SIGKILL)
    wait_until(lambda: not cluster.processes("ticks.py"), "it goes with its node")
    wait_until(lambda: not cluster.processes("shells"), "so does all else")
    status, _, err = cluster.run(
        *("start", "--head", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--num-cpus", "2"),
        *("--name", NODE, "--journal", str(next(cluster.folder.glob("XDG_STATE_HOME/distpool/*.journal")))),
    )
    assert status == 0, err
    assert "failed" in (line := line_of(cluster, job))
    assert f"[node {NODE} has ended, and been started again]" in line
    status, _, err = cluster.run("logs", job)
    assert status == 1
    assert "nothing is left of what" in err
