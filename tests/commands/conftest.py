"""A program's session with two CPUs, which the commands ask from within this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import distpool
from distpool import cli
from distpool.scheduler import client
from tests.processes.conftest import own_tmpdir as own_tmpdir

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="package")
def session(own_tmpdir: str) -> Iterator[None]:
    client.shutdown()
    distpool.init(num_cpus=2)
    distpool.nodes()  # its agent answers
    yield
    distpool.shutdown()


@pytest.fixture
def say(session: None, capfd: pytest.CaptureFixture[str]) -> Say:
    """Runs a command for this program; its status, output and complaints."""

    def say(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = cli.main([words[0], "--session", str(os.getpid()), *words[1:]])
        return status, *capfd.readouterr()

    return say
