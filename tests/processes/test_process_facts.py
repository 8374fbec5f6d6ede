"""Start times, descendants, ends; and what a dead worker leaves behind: frames, slots, last words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.shells import processes
from distpool.scheduler.shells.frames import Frames, frame
from distpool.scheduler.shells.slots import Slots, take_last_words
from tests.processes.harness import ROOT, survivors

#: Starts a child that starts a grandchild in a session of its own, prints their pids, and waits for its standard input.
FAMILY = """
import subprocess, sys
code = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
grandchild = int(child.stdout.readline())
print(child.pid, grandchild, flush=True)
"""


def family(then: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """A process with a child and a grandchild, which then does ``then``."""
    root = subprocess.Popen(
        [sys.executable, "-c", f"{FAMILY}\n{then}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert root.stdout is not None
    child, grandchild = map(int, root.stdout.readline().split())
    return root, child, grandchild


def end(root: subprocess.Popen[bytes], *others: int) -> None:
    root.kill()
    root.wait()
    for pid in others:
        processes.kill(pid)
    for pipe in (root.stdin, root.stdout):
        if pipe is not None:
            pipe.close()


def test_descendants_are_found_parents_first_wherever_they_are() -> None:
    root, child, grandchild = family("sys.stdin.read()")
    try:
        assert processes.descendants(root.pid) == [child, grandchild]
        assert {child, grandchild} <= set(processes.descendants(os.getpid()))
    finally:
        end(root, child, grandchild)


def test_ending_descendants_reaps_what_became_ours() -> None:
    code = (
        "from distpool.scheduler.shells import processes\n"
        "processes.become_subreaper()\n"
        "sys.stdin.readline()\n"
        "print(processes.end_descendants(), processes.descendants(__import__('os').getpid()), flush=True)\n"
        "sys.stdin.read()"
    )
    root, child, grandchild = family(code)
    try:
        assert root.stdin is not None
        assert root.stdout is not None
        root.stdin.write(b"\n")
        root.stdin.flush()
        assert root.stdout.readline() == b"True []\n"
        assert not survivors([child, grandchild], within_s=0.0)
    finally:
        end(root, child, grandchild)


def test_ending_a_session_kills_its_members_but_not_the_caller_and_removes_the_directory(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "session"
    directory.mkdir()
    (directory / "agent").touch()
    code = (
        "import os; from distpool.scheduler.shells import processes\n"
        "sys.stdin.readline()\n"
        f"processes.end_session({str(directory)!r}, os.getsid(0))\n"
        "print('alive', flush=True); sys.stdin.read()"
    )
    root, child, grandchild = family(code)
    try:
        assert root.stdin is not None
        assert root.stdout is not None
        root.stdin.write(b"\n")
        root.stdin.flush()
        assert root.stdout.readline() == b"alive\n"
        assert not survivors([child], within_s=5.0)
        assert not directory.exists()
    finally:
        end(root, child, grandchild)


def test_a_start_time_tells_one_life_of_a_pid_from_another_and_the_dead_have_none() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    first = processes.start_time(child.pid)
    assert first is not None
    assert first == processes.start_time(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: dead, but not reaped
    assert processes.start_time(child.pid) is None
    child.wait()
    assert processes.start_time(child.pid) is None
    assert processes.open_pidfd(child.pid) is None


@given(st.lists(st.binary(max_size=300)), st.data())
def test_frames_come_out_whole_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(message) for message in messages)
    frames = Frames()
    out: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        out += frames.feed(stream[:size])
        stream = stream[size:]
    assert out == messages


def test_a_slot_is_shared_with_whoever_maps_the_same_memory() -> None:
    slots = Slots(4)
    other = Slots(4, os.dup(slots.fd))
    view = slots.view(2)
    view[0], view[1] = 7, 6
    assert [other.running(slot) for slot in range(4)] == [0, 0, 7, 0]
    view[1] = 7
    assert other.running(2) == 0
    other.clear(2)
    assert list(view) == [0, 0]
    for mapping in (slots, other):
        os.close(mapping.fd)


@pytest.mark.parametrize("words", [b"", b"one", b"\xff\n" * 50, b"x" * 100_000])
def test_last_words_are_few_and_taken_once(tmp_path: Path, words: bytes) -> None:
    (tmp_path / "worker-1.fault").write_bytes(words)
    taken = take_last_words(str(tmp_path), 1)
    assert len(taken.splitlines()) <= 20
    assert len(taken) <= 16 << 10
    assert bool(taken) == bool(words)
    assert take_last_words(str(tmp_path), 1) == ""
