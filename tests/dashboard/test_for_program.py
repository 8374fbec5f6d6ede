"""``dashboard=True``: a page for one program, which comes with it and goes with it, whatever its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.processes.scene import wait_until

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(own_tmpdir: str) -> Iterator[Start]:
    """Starts a program whose code this is."""
    programs: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        programs.append(subprocess.Popen([sys.executable, "-c", code], text=True, **pipes))  # type: ignore[call-overload]
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def dashboard_of(program: subprocess.Popen[str]) -> psutil.Process:
    found = [
        child
        for child in psutil.Process(program.pid).children()
        if "--for-program" in " ".join(child.cmdline())
    ]
    assert len(found) == 1
    return found[0]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


INIT = """
import distpool, sys
with distpool.init(num_cpus=1, dashboard=True) as context:
    print(context.dashboard_url, flush=True)
    print(distpool.get(distpool.remote(len).remote("abc")), flush=True)
    sys.stdin.readline()
print("over", flush=True)
sys.stdin.readline()
"""


def test_it_comes_with_init_and_goes_with_shutdown(start: Start) -> None:
    program = start(INIT)
    assert program.stdin is not None
    assert program.stdout is not None
    assert program.stderr is not None
    url = program.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", url)
    assert program.stdout.readline() == "3\n"
    assert program.stderr.readline() == f"distpool dashboard: {url}\n"
    base, _, token = url.partition("?token=")
    request = urllib.request.Request(f"{base}table/functions", headers={"authorization": f"Bearer {token}"})

    def text() -> str:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    wait_until(lambda: '"name":"len"' in text(), "the call is counted")
    process = dashboard_of(program)
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "over\n"
    wait_until(lambda: is_gone(process), "it has gone with the session")
    out, said = program.communicate("\n", timeout=60)
    assert (program.returncode, out, said) == (0, "", "")


def test_it_goes_with_a_program_that_is_killed(start: Start) -> None:
    program = start(INIT)
    assert program.stdout is not None
    program.stdout.readline()
    process = dashboard_of(program)
    os.kill(program.pid, signal.SIGKILL)
    wait_until(lambda: is_gone(process), "it has gone with the program")


def test_a_pools_shows_it_and_a_child_that_was_forked_does_not_keep_it(start: Start) -> None:
    program = start(
        "import distpool, os, sys, time\n"
        "pool = distpool.Pool(1, dashboard=True)\n"
        "print(pool.map(abs, [-1]), distpool.Pool(1, dashboard=True).map(abs, [-2]), flush=True)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    time.sleep(60); os._exit(0)\n"
        "print(child, flush=True)\n"
        "sys.stdin.readline()\n"
        "os._exit(0)\n"
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline() == "[1] [2]\n"
    assert program.stderr.readline().startswith("distpool dashboard: http://127.0.0.1:")
    child = int(program.stdout.readline())
    try:
        process = dashboard_of(program)  # one for all pools
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.wait(timeout=60) == 0
        wait_until(lambda: is_gone(process), "it has gone with the program")
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("call", ["init(dashboard={port})", "Pool(1, dashboard='127.0.0.1:{port}')"])
def test_a_port_in_use_is_an_error_with_the_remedy(start: Start, call: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        program = start(f"import distpool\ndistpool.{call.format(port=port)}\n")
        _, said = program.communicate(timeout=60)
    assert program.returncode == 1
    assert said.splitlines()[-1] == (
        f"RuntimeError: the dashboard did not start: port {port} of 127.0.0.1 is in use: choose another by --port, or "
        "0 for any that is free"
    )


def test_a_place_that_is_none(start: Start) -> None:
    program = start("import distpool\ndistpool.init(dashboard='here')\n")
    _, said = program.communicate(timeout=60)
    assert said.splitlines()[-1] == "ValueError: dashboard is True, a port, or 'HOST:PORT', not 'here'"
