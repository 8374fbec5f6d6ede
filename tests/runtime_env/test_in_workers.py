"""In workers of a session, by the way that is there for all pools: an initializer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.runtime_env.workers import ROOT, Place


@pytest.fixture
def short_tmpdir() -> str:
    """Where a session's directory fits, for its sockets; pytest's folders have long names."""
    folder = tempfile.mkdtemp(prefix="dp", dir="/tmp")
    yield folder  # type: ignore[misc]
    shutil.rmtree(folder)


def run(place: Place, short_tmpdir: str, program: str, cwd: Path | None = None) -> list[str]:
    script = place.root / "program" / "script.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script), str(place.base)],
        cwd=cwd or place.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": short_tmpdir},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(short_tmpdir) == []
    return done.stdout.splitlines()


def test_workers_become_what_a_payload_says(place: Place, short_tmpdir: str) -> None:
    place.folder("proj", {"mine.py": "where = 'proj'", "data.txt": "some data"})
    program = """
import os, sys
from distpool import Pool
from distpool.runtime_envs import adopted, apply, prepare

def hook():
    os.environ["HOOKED"] = os.environ["A"]

def look(_):
    import mine
    return mine.where, open("data.txt").read(), os.environ["HOOKED"], adopted()["env_vars"]

if __name__ == "__main__":
    env = {"working_dir": "proj", "env_vars": {"A": "${B}1", "B": "unseen"}, "worker_process_setup_hook": hook}
    prepared = prepare(env, sys.argv[1])
    os.environ["B"] = "b"
    with Pool(2, apply, (prepared.payload(), sys.argv[1])) as pool:
        print(*pool.map(look, range(2)), sep="\\n")
    pool.join()
    print("A" in os.environ, "mine" in sys.modules)
"""
    one = "('proj', 'some data', 'b1', {'A': 'b1', 'B': 'unseen'})"
    assert run(place, short_tmpdir, program) == [one, one, "False False"]


def test_a_set_up_that_fails_is_told_to_the_program(place: Place, short_tmpdir: str) -> None:
    program = """
import sys
from distpool import Pool
from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_envs import apply, prepare

if __name__ == "__main__":
    prepared = prepare({"worker_process_setup_hook": "nothing.here"}, sys.argv[1])
    pool = Pool(1, apply, (prepared.payload(), sys.argv[1]))
    try:
        pool.apply(abs, (1,))
    except Exception as error:
        text = str(error) + str(error.__cause__)
        print("RuntimeEnvSetupError" in repr(error) + repr(error.__cause__), "No module named 'nothing'" in text)
    pool.terminate()
    pool.join()
"""
    assert run(place, short_tmpdir, program) == ["True True"]


def test_a_module_that_was_edited_is_seen_by_workers_that_start_later(
    place: Place, short_tmpdir: str
) -> None:
    """What an interactive session does: a module beside the program, edited and loaded anew between two calls."""
    place.folder("program", {"beside.py": "def f(x):\n    return 'old', x"})
    program = """
import importlib, pathlib, sys
from distpool import Pool
from distpool.runtime_env_modules import driver_modules_version, look_anew

import beside

def call(x):
    return beside.f(x)

if __name__ == "__main__":
    first = driver_modules_version()
    with Pool(1) as pool:
        print(pool.apply(call, (1,)), pool.apply(beside.f, (2,)))
        pathlib.Path(beside.__file__).write_text("def f(x):\\n    return 'edited', x")
        importlib.reload(beside)
        look_anew()
        print(driver_modules_version() != first)
        with Pool(1) as later:
            print(later.apply(call, (3,)), later.apply(beside.f, (4,)))
    pool.join()
    later.join()
"""
    assert run(place, short_tmpdir, program) == [
        "('old', 1) ('old', 2)",
        "True",
        "('edited', 3) ('edited', 4)",
    ]
