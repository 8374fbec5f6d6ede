"""What is wrong with a command or a program's environment is said in a line, and nothing is left running."""

from __future__ import annotations

import os

import pytest

from tests.cluster.conftest import PORT, SECRET, facts_of, of_cluster, start
from tests.cluster.hosts import ROOT, Host

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("words", "env", "complaint"),
    [
        (["--address", "{a}"], {"DISTPOOL_SECRET": "some other secret of 20"}, "has another secret"),
        (["--address", "{a}"], {"DISTPOOL_SECRET": "short"}, "has 5 characters, and needs at least 16"),
        (["--address", "{a}"], {"DISTPOOL_SECRET": ""}, "the cluster's secret is needed"),
        (["--address", "{a}", "--name", "a"], {}, "a node named a"),
        (["--address", "{b}"], {}, "nothing answers at"),
        (["--address", "nowhere"], {}, "a cluster's address is HOST:PORT"),
        (["--address", "{a}", "--secret-file", "/no/file"], {}, "the secret cannot be read"),
        (["--address", "{a}", "--resources", "many"], {}, "is no JSON object"),
        (["--address", "{a}", "--num-cpus", "-1"], {}, "cannot ask for -1.0 of CPU"),
        (["--address", "{a}", "--host", "10.77.0.98"], {}, "cannot listen at 10.77.0.98:0"),
        (["--address", "no-such-host:9437"], {}, "there is no machine called no-such-host"),
        (["--address", "[::1]:9437"], {}, "it is no IPv4 address"),
        (["--address", "10.99.0.1:9437"], {}, "nothing answers at 10.99.0.1:9437"),
        (["--address", "{a}", "--drain", "-1"], {}, "'-1' is no number of seconds"),
        (["--address", "{a}", "--node-silent", "0.1"], {}, "a busy node may well say nothing for 0.5 s"),
        (["--address", "{a}", "--journal", "j"], {}, "--journal is for --head"),
        (["--address", "{a}", "--head"], {}, "not allowed with argument"),
        ([], {}, "one of the arguments --head --address is required"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    lone_head: list[Host], words: list[str], env: dict[str, str], complaint: str
) -> None:
    a, b, c = lone_head
    places = {"a": f"{a.address}:{PORT}", "b": f"{b.address}:{PORT}"}
    status, text = c.run(
        *("-m", "distpool", "start", "--host", c.address),
        *[word.format(**places) for word in words],
        env={"DISTPOOL_SECRET": SECRET, **env},
    )
    assert status in (1, 2)
    assert complaint in text
    assert text.count("\n") == 1, text
    assert c.pids() == []


def test_a_port_that_is_taken(lone_head: list[Host]) -> None:
    a = lone_head[0]
    status, text = a.run(
        "-m", "distpool", "start", "--head", "--host", a.address, env={"DISTPOOL_SECRET": SECRET}
    )
    assert status == 1
    assert f"cannot listen at {a.address}:{PORT}: Address already in use" in text


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"DISTPOOL_SECRET": ""}, "set DISTPOOL_SECRET_FILE to the file"),
        ({"DISTPOOL_SECRET": "some other secret of 20"}, "has another secret"),
        ({"DISTPOOL_ADDRESS": "10.77.0.2:9437"}, "nothing answers at 10.77.0.2:9437"),
        ({"DISTPOOL_ADDRESS": "here"}, "a cluster's address is HOST:PORT"),
        ({"DISTPOOL_ADDRESS": "no-such-host:9437"}, "there is no machine called no-such-host"),
    ],
)
def test_a_program_that_does_not_get_in(lone_head: list[Host], env: dict[str, str], complaint: str) -> None:
    a, _, c = lone_head
    status, text = c.run(
        "-m", "tests.cluster.program", "spread", "1", env={**of_cluster(a), **env}, within_s=50.0
    )
    assert status == 1
    assert complaint in text.splitlines()[-1]
    assert c.pids() == []


def test_the_name_of_a_node_that_has_joined(cluster: list[Host]) -> None:
    a, b, c = cluster
    words = (
        "-m",
        "distpool",
        "start",
        "--host",
        c.address,
        "--address",
        f"{a.address}:{PORT}",
        "--name",
        "b",
    )
    status, text = c.run(*words, env={"DISTPOOL_SECRET": SECRET})
    assert status == 1
    assert f"a node named b is alive at tcp://{b.address}:" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("command", ["nodes", "stack"])
def test_a_command_that_does_not_get_in(lone_head: list[Host], command: str) -> None:
    a, _, c = lone_head
    for env, complaint in (
        ({"DISTPOOL_SECRET": "some other secret of 20"}, "has another secret"),
        ({"DISTPOOL_SECRET": ""}, "set DISTPOOL_SECRET_FILE to the file"),
    ):
        status, text = c.run("-m", "distpool", command, env={**of_cluster(a), **env})
        assert status == 1
        assert complaint in text
        assert text.count("\n") == 1


#: What Python imports at its start, if it is there: another clock.
_CLOCK = """
import time
time_s, time_ns = time.time, time.time_ns
time.time = lambda: time_s() + {seconds}
time.time_ns = lambda: time_ns() + {seconds} * 10**9
"""


def test_clocks_that_differ_by_days(three: list[Host]) -> None:
    """A node of yesterday and a program of tomorrow; then that node starts once more, by a clock that went back."""
    a, b, c = three
    start(a, "--head")
    day_s = 86_400
    with_clock = {}
    for name, seconds in (("b", -day_s), ("earlier", -2 * day_s), ("c", day_s)):
        folder = three[0].folder.parent / f"clock-{name}"
        folder.mkdir()
        folder.joinpath("sitecustomize.py").write_text(_CLOCK.format(seconds=seconds))
        with_clock[name] = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    for clock in ("b", "earlier"):
        if clock == "earlier":
            assert b.run("-m", "distpool", "stop")[0] == 0
        start(b, "--address", f"{a.address}:{PORT}", env=with_clock[clock])
    status, text = c.run(
        "-m", "tests.cluster.program", "spread", "50", env={**of_cluster(a), **with_clock["c"]}
    )
    assert status == 0, text
    assert set(facts_of(text)["nodes"]) == {"a", "b"}  # type: ignore[call-overload]
