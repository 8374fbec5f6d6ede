"""``distpool stack``: where everybody is, without stopping anybody."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import distpool
from distpool.commands import stack
from distpool.scheduler.messages import NodeAnswers, Surveyed
from distpool.scheduler.messages.insights import Stack, pack
from distpool.scheduler.messages.surveys import Unasked
from tests.commands import bodies
from tests.commands.conftest import Say
from tests.processes.scene import wait_until


def test_a_worker_in_python_is_shown_with_its_lines_and_goes_on(say: Say, tmp_path: Path) -> None:
    ref = bodies.remote_after.remote(tmp_path / "go", 7)
    said: list[tuple[int, str, str]] = []

    def is_seen() -> bool:
        said.append(say("stack"))
        return "in wait_for_file" in said[-1][1]

    wait_until(is_seen, "it is seen where it waits")
    status, text, complaints = said[-1]
    assert (status, complaints) == (0, "")
    assert "has run its task for" in text
    assert f'File "{bodies.__file__}"' in text
    assert text.index("in after") < text.index("in wait_for_file"), "the outermost comes first"
    assert "wait_for_file(path)" in text, "the line itself"
    assert "worker.py" not in text, "the way to the user's code is left out"
    (tmp_path / "go").touch()
    assert distpool.get(ref, timeout=60) == 7


def test_this_program_is_shown_too_and_others_can_be_chosen(say: Say) -> None:
    status, text, _ = say("stack", str(os.getpid()))
    assert status == 0
    assert f"program, process {os.getpid()}" in text
    assert "test_this_program_is_shown_too" in text
    assert "worker" not in text.replace(__file__, "").splitlines()[1]
    status, text, complaints = say("stack", "1")
    assert (status, text) == (1, "")
    assert "no worker, and no program with a session, that is process 1" in complaints


def test_a_worker_whose_lock_is_kept_in_c_is_shown_by_its_signal(say: Say, tmp_path: Path) -> None:
    ref = bodies.keeps_the_lock.remote(tmp_path / "begun")
    wait_until((tmp_path / "begun").exists, "it has begun")
    status, text, complaints = say("stack")
    assert status == 0
    assert "a call into C keeps Python's lock" in text
    assert "in keeps_the_lock" in text
    assert "control.py" not in text
    assert complaints == "", "of whom there is something to show is not missing"
    assert distpool.get(ref, timeout=60) == sum(range(150_000_000)), "it has not noticed"


def test_a_worker_that_is_stopped_is_said_to_be(say: Say, tmp_path: Path) -> None:
    started = tmp_path / "started"
    ref = bodies.tells_its_pid.remote(started, tmp_path / "go")
    wait_until(lambda: started.exists() and started.read_text(), "it has begun")
    pid = int(started.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: f"process {pid}: is stopped" in say("stack")[1], "it is said to be stopped")
    finally:
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "go").touch()
    assert distpool.get(ref, timeout=60) == pid, "what it was sent meanwhile has not ended it"


def test_coroutines_that_wait(say: Say, tmp_path: Path) -> None:
    sleeper = bodies.Sleeper.remote()
    ref = sleeper.until.remote(tmp_path / "go")
    wait_until(lambda: "in Sleeper.until" in say("stack")[1], "it is seen where it waits")
    assert "await asyncio.sleep(0.005)" in say("stack")[1]
    (tmp_path / "go").touch()
    distpool.get(ref, timeout=60)


def test_a_pool_without_remote_functions(say: Say, tmp_path: Path) -> None:
    with distpool.Pool(1) as pool:
        result = pool.apply_async(bodies.after, (tmp_path / "go", 1))
        wait_until(lambda: "in wait_for_file" in say("stack")[1], "it is seen where it waits")
        (tmp_path / "go").touch()
        assert result.get(60) == 1


def test_one_that_could_not_be_asked_is_named() -> None:
    unasked = (
        Unasked(3, 103, "is starting"),
        Unasked(4, 0, "is starting"),
        Unasked(5, 105, "is on its way out"),
    )
    node = NodeAnswers(1, "n", (pack(Stack(106, "n", 6, ())),), (), unasked=unasked)
    surveyed = Surveyed(1, (node,))
    assert list(stack.describe(surveyed, set())) == [
        "node n",
        "  worker 6, process 106: has ended since",
        "  worker 3, process 103: is starting",
        "  worker 4: is starting",
        "  worker 5, process 105: is on its way out",
    ]
    assert list(stack.describe(surveyed, {105})) == ["node n", "  worker 5, process 105: is on its way out"]
