"""A head that has nothing, and starts nodes on its own machine when something waits: real processes, real kills."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from distpool.scheduler.shells import processes
from tests.processes.harness import ROOT
from tests.processes.scene import MARK, SOAK, wait_until

pytestmark = pytest.mark.timeout(90)
#: The simulator has the same in milliseconds.
SLOW = pytest.mark.skipif(not SOAK, reason="soak")
SECRET = "the secret of a cluster of tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Scene:
    """One head on this machine, and all that it starts, known by a mark in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.head = f"head{self.port}"
        self.story = folder / "story"
        self.logs: list[TextIO] = []
        self._mark = uuid.uuid4().hex
        self.env = {
            **os.environ,
            "TMPDIR": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
            "DISTPOOL_ADDRESS": f"127.0.0.1:{self.port}",
            "DISTPOOL_SECRET": SECRET,
            "PROVIDER_STORY": str(self.story),
            MARK: self._mark,
        }

    def start(self, autoscale: str) -> None:
        host = ["--host", "127.0.0.1", "--port", str(self.port), "--num-cpus", "0", "--name", self.head]
        self.run("-m", "distpool", "start", "--head", *host, "--autoscale", autoscale)
        self.logs = [file.open() for file in self.folder.glob("distpool-*/log")]  # they go with the node

    def begin(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            env=self.env,
            cwd=ROOT,
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str) -> str:
        child = self.begin(*words)
        text, _ = child.communicate(timeout=60)
        assert child.returncode == 0, text
        return text

    def stop(self) -> None:
        """By names: without them, nodes of tests that run beside this are ended too."""
        for name in (self.head, *self.provided()):
            self.begin("-m", "distpool", "stop", name).communicate(timeout=60)  # it may have left meanwhile

    def status(self) -> str:
        return self.run("-m", "distpool", "status")

    def pids(self, word: bytes = b"") -> list[int]:
        """Those of the scene, whose command line has this word."""
        found = []
        for pid, words in processes.command_lines():
            try:
                ours = f"{MARK}={self._mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(
                    b"\0"
                )
            except OSError:
                continue
            if ours and word in " ".join(words).encode():
                found.append(pid)
        return found

    def provided(self) -> list[str]:
        """The nodes that are there by the directories that the provider has made."""
        return sorted(
            json.loads(mark.read_text())["name"] for mark in self.folder.glob("distpool-*/provided.json")
        )


@pytest.fixture
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        scene = Scene(Path(folder))
        try:
            yield scene
            scene.stop()
            wait_until(lambda: not scene.pids(), "nothing outlives the cluster", 10.0)
        finally:
            for log in scene.logs:
                print(log.read())  # shown if the test fails
                log.close()
            for pid in scene.pids():
                processes.kill(pid)


def result_of(child: subprocess.Popen[str]) -> dict[str, object]:
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    facts: dict[str, object] = json.loads(text)
    return facts


def all_have_left(scene: Scene) -> Callable[[], bool]:
    return lambda: not scene.provided() and "Nodes by demand: none" in scene.status()


def test_nodes_come_with_the_work_and_go_when_it_is_done(scene: Scene) -> None:
    scene.start("local:CPU=2,max=2,idle=1")
    told = f"1 node; the head is on {scene.head}\nNodes by demand: none\n"
    wait_until(lambda: scene.status() == told, "the provider has said that there are none", 10.0)
    facts = result_of(scene.begin("-m", "tests.cluster.demanding", "4", "1.0"))
    assert set(facts["nodes"]) == {"local-1", "local-2"}, "and no more than there may be"  # type: ignore[call-overload]
    wait_until(all_have_left(scene), "idle nodes go", 20.0)
    assert scene.status().startswith("1 node; the head"), "who was told to go is not called lost"


def test_room_can_be_requested_by_a_program_and_ends_with_it(scene: Scene) -> None:
    scene.start("local:CPU=2,max=3,idle=0.5")
    child = scene.begin("-m", "tests.cluster.demanding", "0", "0", stdin=subprocess.PIPE)
    wait_until(lambda: "2 up" in scene.status(), "three CPUs are two nodes", 20.0)
    wait_until(lambda: "leaving" not in scene.status(), "which stay, though they are idle", 5.0)
    assert len(scene.provided()) == 2
    child.communicate("", timeout=30)
    wait_until(all_have_left(scene), "nobody requests anything any more", 30.0)


def test_what_no_node_can_ever_have_is_an_error_still(scene: Scene) -> None:
    scene.start("local:CPU=1,max=2,idle=1")
    child = scene.begin("-m", "tests.cluster.demanding", "1", "0")
    text, _ = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "each worker asks for CPU 2, and no node has that" in text
    assert scene.provided() == []


def test_the_head_is_killed_again_and_again_while_nodes_start(scene: Scene) -> None:
    scene.start("local:CPU=2,max=3,idle=1")
    child = scene.begin("-m", "tests.cluster.demanding", "12", "0.5")
    most = 0
    wait_until(scene.provided, "a node is being started", 20.0)
    for _ in range(3):
        wait_until(
            lambda: scene.pids(b"head_process") and scene.pids(b"providers.process"), "there is a head", 20.0
        )
        for pid in scene.pids(b"head_process"):
            os.kill(pid, signal.SIGKILL)
        most = max(most, len(scene.provided()))
    facts = result_of(child)
    most = max(most, len(scene.provided()))
    assert len(facts["nodes"]) == 12  # type: ignore[arg-type]
    assert 1 <= most <= 3, "none is started twice"
    wait_until(all_have_left(scene), "none is forgotten", 30.0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "FailsOnce",
            "nodes of type FailsOnce: 1 failure in a row, the last: there is no machine left; tried again",
        ),
        pytest.param("HangsOnce", "HangsOnce-1 has not joined within 3 s, and is given up", marks=SLOW),
        pytest.param("DiesOnce", "the provider's process is started again: it has ended (", marks=SLOW),
    ],
    ids=["fails", "hangs", "dies"],
)
def test_a_provider_with_something_wrong_is_named_and_tried_again(scene: Scene, kind: str, said: str) -> None:
    scene.start(f"tests.cluster.providers:{kind}:CPU=2,max=1,idle=1,start=3")
    child = scene.begin("-m", "tests.cluster.demanding", "1", "0")
    seen: list[str] = []

    def is_said() -> bool:
        seen.append(scene.status())
        return said in seen[-1]

    wait_until(lambda: is_said() or child.poll() is not None, "the failure is told", 20.0)
    assert any(said in text for text in seen), seen
    assert len(result_of(child)["nodes"]) == 1  # type: ignore[arg-type]
    assert scene.story.read_text().split().count("start") == 2, "tried again, and not in a hurry"
