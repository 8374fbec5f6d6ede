"""On a system without what shared things are made of: the standard library's own serve, and one notice says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from distpool.scheduler.shared import semaphores
from distpool.standing_aside import NOTICE
from tests.processes.harness import ROOT

LACKING = """
import warnings
from distpool.scheduler.shared import semaphores
semaphores.supported = lambda: False
"""

EVERYTHING = """
import multiprocessing
import distpool

def child(lock, semaphore, event, condition, barrier, queue, joinable, simple, value, array):
    with lock, semaphore, condition:
        value.value += 1
        array[0] = 2.5
        queue.put("queue")
        joinable.put("joinable")
        simple.put("simple")
    event.set()
    barrier.wait(30)

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = distpool.get_context(method)
        things = [
            context.RLock(), context.Semaphore(2), context.Event(), context.Condition(), context.Barrier(2),
            context.Queue(), context.JoinableQueue(2), context.SimpleQueue(),
            context.Value("i", 1), context.Array("d", 3),
        ]
        process = context.Process(target=child, args=things)
        process.start()
        _, _, event, _, barrier, queue, joinable, simple, value, array = things
        assert event.wait(30)
        barrier.wait(30)
        assert [queue.get(), joinable.get(), simple.get()] == ["queue", "joinable", "simple"]
        joinable.task_done()
        joinable.join()
        process.join(30)
        assert (process.exitcode, value.value, array[:]) == (0, 2, [2.5, 0.0, 0.0])
        print(method, sorted({type(thing).__module__ for thing in things}))
    assert isinstance(distpool.Lock(), multiprocessing.synchronize.Lock)
    with distpool.Pool(1) as pool:
        print(pool.map(abs, [-1, -2]), type(pool).__module__)
    pool.join()
"""


def run(code: str, tmp_path: Path) -> tuple[str, str]:
    """What a program prints, on both streams."""
    program = tmp_path / "program.py"
    program.write_text(code)
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_this_system_has_it_all() -> None:
    assert semaphores.supported()


def test_everything_is_the_standard_librarys_and_works(tmp_path: Path) -> None:
    out, err = run(LACKING + EVERYTHING, tmp_path)
    modules = ["multiprocessing.queues", "multiprocessing.sharedctypes", "multiprocessing.synchronize"]
    lines = [f"{method} {modules}" for method in ("fork", "spawn", "forkserver")]
    assert out.splitlines() == [*lines, "[1, 2] distpool.pool"]
    assert err.count(NOTICE) == 1, "one notice, in the program and not in its children"
    assert "RuntimeWarning" in err
    assert len(err.splitlines()) <= 2, err


def test_one_notice_however_many_things_are_made(tmp_path: Path) -> None:
    code = (
        LACKING
        + "import distpool\nfor _ in range(3):\n    distpool.Lock(), distpool.Queue(), distpool.Value('i')\n"
    )
    _, err = run(code, tmp_path)
    assert err.count(NOTICE) == 1


@pytest.mark.parametrize("name", ["Lock", "Queue", "Value"])
def test_under_distpool_run_nothing_is_swapped(name: str, tmp_path: Path) -> None:
    code = f"""
from distpool.run import install
install()
import multiprocessing, multiprocessing.synchronize as synchronize, multiprocessing.queues as queues
arguments = ("i",) if {name!r} == "Value" else ()
print(type(multiprocessing.{name}(*arguments)).__module__.partition(".")[0], synchronize.Lock.__module__)
print(queues.Queue.__module__)
"""
    out, err = run(LACKING + code, tmp_path)
    assert out == "multiprocessing multiprocessing.synchronize\nmultiprocessing.queues\n"
    assert err.count(NOTICE) == 1


@pytest.mark.parametrize("lacks", ["no glibc", "another libc", "no memfd", "no /proc", "another system"])
def test_what_is_asked_for(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacks == "no glibc":
        monkeypatch.setattr(semaphores.os, "confstr_names", {})
    elif lacks == "another libc":
        monkeypatch.setattr(semaphores.os, "confstr", lambda name: None)
    elif lacks == "no memfd":
        monkeypatch.delattr(semaphores.os, "memfd_create")
    elif lacks == "no /proc":
        monkeypatch.setattr(semaphores.os.path, "exists", lambda path: False)
    else:
        monkeypatch.setattr(semaphores.sys, "platform", "darwin")
    supported = semaphores.supported()
    monkeypatch.undo()
    assert not supported
