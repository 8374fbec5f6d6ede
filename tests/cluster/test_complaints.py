"""What is wrong with a command or a program's environment is said in a line, and nothing is left running."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import PORT, SECRET, of_cluster
from tests.cluster.hosts import Host

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
