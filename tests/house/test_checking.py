"""What `make check` stands on: steps side by side, and the order in which several processes take the tests."""

import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests import conftest
from tests.processes.harness import survivors
from tests.run.programs import ROOT

BESIDE = [sys.executable, str(ROOT / ".ci" / "beside.py")]
#: Each waits for the other to have begun: one after the other they would never end.
MEET = "touch {here}; while [ ! -e {there} ]; do sleep 0.01; done; echo {said}; echo {said} >&2"
HANGS = """
import os, time
print(os.getpid(), flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("cleared up")
"""
PRESSES = """
import os, signal
print(signal.getsignal(signal.SIGINT), flush=True)
os.kill(0, signal.SIGINT)
"""


def beside(limit_s, *words):
    return subprocess.run([*BESIDE, str(limit_s), *words], capture_output=True, text=True, timeout=60)


def program(tmp_path, code):
    """A command that runs it."""
    path = tmp_path / "program.py"
    path.write_text(code)
    return f"exec {sys.executable} {path}"


def test_steps_run_at_the_same_time_and_each_is_shown_whole(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    commands = [
        MEET.format(here=here, there=there, said="first"),
        MEET.format(here=there, there=here, said="second"),
    ]
    done = beside(30, "one step", commands[0], "another", commands[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\n== one step\nfirst\nfirst\n== one step: passed in \d+ s\n", done.stdout)
    assert re.search(r"\n== another\nsecond\nsecond\n== another: passed in \d+ s\n", done.stdout)


def test_one_that_fails_fails_the_whole_and_the_others_are_still_run():
    done = beside(30, "bad", "echo why; exit 3", "good", "echo fine")
    assert done.returncode == 1
    assert re.search(r"\n== bad\nwhy\n== bad: FAILED after \d+ s\n", done.stdout)
    assert re.search(r"\n== good\nfine\n== good: passed in \d+ s\n", done.stdout)


def test_one_that_does_not_end_is_interrupted(tmp_path):
    done = beside(2, "slow", program(tmp_path, HANGS))
    assert done.returncode == 1, done.stdout
    pid, said, verdict = done.stdout.strip().splitlines()[1:]
    assert said == "cleared up"
    assert verdict.startswith("== slow: not done within 2 s, FAILED after ")
    assert survivors([int(pid)], within_s=5.0) == []


def test_ctrl_c_reaches_what_runs_and_is_not_ignored_there(tmp_path):
    process = subprocess.Popen(
        [*BESIDE, "30", "presses", program(tmp_path, PRESSES), "waits", "exec sleep 30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1, out
    assert "default_int_handler" in out
    assert out.count("FAILED after") == 2


def test_the_tests_themselves_can_be_interrupted():
    """A shell has what it starts in the background ignore Ctrl-C: then a dozen tests would wait for ever."""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN, f"process {os.getpid()} ignores Ctrl-C"


def test_the_long_files_that_come_first_exist():
    assert len(set(conftest.LONGEST_FIRST)) == len(conftest.LONGEST_FIRST)
    assert [name for name in conftest.LONGEST_FIRST if not (ROOT / name).is_file()] == []


def test_the_order_is_changed_for_several_processes_only():
    long, longer = conftest.LONGEST_FIRST[1], conftest.LONGEST_FIRST[0]
    names = ["tests/a.py::one", f"{long}::x", "tests/b.py::two", f"{longer}::y", f"{longer}::z"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    conftest.pytest_collection_modifyitems(SimpleNamespace(), items)
    assert [item.nodeid for item in items] == names
    conftest.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), items)
    assert [item.nodeid for item in items] == [names[3], names[4], names[1], names[0], names[2]]


def test_a_name_that_differs_from_process_to_process_is_refused():
    items = [SimpleNamespace(nodeid="tests/a.py::test[<object at 0x7f...>]")]
    with pytest.raises(pytest.UsageError, match="name its parameters"):
        conftest.pytest_collection_modifyitems(SimpleNamespace(), items)
