"""A program's session with two CPUs, and a dashboard that looks at it: a process of its own, as people start it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import distpool
from distpool.scheduler import client
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.scene import wait_until

TOKEN = "a-token-for-the-tests-24"


@dataclass
class Served:
    """A dashboard that runs."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def url(self) -> str:
        """With the token, as it was printed."""
        return f"{self.address}/?token={TOKEN}"

    def get(self, path: str, token: str | None = TOKEN) -> tuple[int, str]:
        """Status and text."""
        request = urllib.request.Request(self.address + path)
        if token is not None:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def table(self, name: str, query: str = "") -> list[dict[str, Any]]:
        status, text = self.get(f"/table/{name}?{query}")
        assert status == 200, text
        rows: list[dict[str, Any]] = json.loads(text)["rows"]
        return rows

    def frames(self) -> Iterator[dict[str, Any]]:
        """Live."""
        request = urllib.request.Request(f"{self.address}/live", headers={"authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@contextlib.contextmanager
def serving(*words: str, **environment: str) -> Iterator[Served]:
    """``distpool dashboard`` with these words."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distpool", "dashboard", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DISTPOOL_DASHBOARD_TOKEN": TOKEN, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    late = threading.Timer(60.0, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
        late.cancel()
        found = re.fullmatch(r"distpool dashboard: (http://\S+)/\?token=(\S+)\n", line)
        assert found is not None, line + process.stderr.read()
        yield Served(process, found[1])
    finally:
        late.cancel()
        process.terminate()
        try:
            _, said = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
    assert said == "", "what it has to say it says on the page"


@pytest.fixture(scope="package")
def session(own_tmpdir: str) -> Iterator[None]:
    client.shutdown()
    distpool.init(num_cpus=2)
    distpool.nodes()  # its agent answers
    yield
    distpool.shutdown()


@pytest.fixture(scope="module")
def served(session: None) -> Iterator[Served]:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with serving("--session", str(os.getpid())) as dashboard:
        yield dashboard


__all__ = ["own_tmpdir", "wait_until"]
