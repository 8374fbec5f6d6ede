"""Finds the Pythons of this machine and makes a virtual environment for each one under test.

    wanted "3.13"  →  the running one, pyenv's, those on PATH  →  the newest that has the tests  →  its venv

The venv lies in the git-ignored `.cache/`. It sees this checkout and what distpool depends on: the running
interpreter's own packages if it is the one under test, else a `pip install` of them, once. Its `.pth` file is
what makes `compat_tests.hook` run at the start of every process.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compat_tests.settings import CACHE, CHECKOUT, Settings, same_series
from compat_tests.suites import Suite

PROBE = (
    "import sys, sysconfig, json; print(json.dumps([sys.version.split()[0], sysconfig.get_path('stdlib')]))"
)
SUPPORTED_FROM = (3, 11)
PROBE_TIMEOUT_S = 20
INSTALL_TIMEOUT_S = 600


class MissingInterpreter(Exception):
    """No Python of this machine fits; the text says what was looked for and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine: its executable, version ("3.13.0") and standard library."""

    executable: Path
    version: str
    stdlib: Path

    def has_tests(self) -> bool:
        """Whether this build has CPython's tests at all; the packages of distributions often lack them."""
        return (self.stdlib / "test" / "_test_multiprocessing.py").exists()

    def order(self) -> tuple[int, ...]:
        """A key that sorts by version."""
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())


def running() -> Interpreter:
    """The interpreter that runs this, without the virtual environment that it may be in."""
    found = _probe(Path(getattr(sys, "_base_executable", sys.executable)))
    if found is None:
        raise MissingInterpreter(f"{sys.executable} cannot be started again, so no test process can be")
    return found


def find(wanted: str) -> Interpreter:
    """The Python that `wanted` ("3.13", "3.13.0" or a path) names. Raises MissingInterpreter."""
    if os.sep in wanted:
        found = _probe(Path(wanted))
        if found is None:
            raise MissingInterpreter(f"--python {wanted}: no Python can be started there")
        return found
    fitting = [python for python in on_this_machine() if same_series(python.version, wanted)]
    if fitting:
        return max(fitting, key=lambda python: (python.has_tests(), python == running(), python.order()))
    raise MissingInterpreter(
        f"--python {wanted}: not found in pyenv's versions nor on PATH; install it (pyenv install {wanted}), "
        f"or give a path"
    )


def find_all() -> list[Interpreter]:
    """One Python of each series that distpool supports and whose tests are here, oldest first."""
    series = {python.order()[:2] for python in on_this_machine() if python.has_tests()}
    return [find(f"{major}.{minor}") for major, minor in sorted(series) if (major, minor) >= SUPPORTED_FROM]


@functools.cache
def on_this_machine() -> tuple[Interpreter, ...]:
    """All Pythons from 3.10 on that are found here; the older ones may lend tests only."""
    found = {python.stdlib: python for path in _executables() if (python := _probe(path)) is not None}
    return tuple(python for python in found.values() if python.order() >= (3, 10))


def lender(borrower: Interpreter, suite: Suite) -> Interpreter | None:
    """Who can lend the tests of `suite` to `borrower`, which lacks them: the nearest newer, else older."""
    owners = [python for python in on_this_machine() if suite.source_files(python.stdlib)]
    newer = [python for python in owners if python.order() > borrower.order()]
    older = [python for python in owners if python.order() < borrower.order()]
    if newer:
        return min(newer, key=Interpreter.order)
    return max(older, key=Interpreter.order) if older else None


def environment(python: Interpreter, settings: Settings, stdlib_only: bool) -> Path:
    """The executable of the virtual environment for `python`, made if need be.

    `stdlib_only`: without distpool's dependencies. Raises MissingInterpreter if they cannot be installed.
    """
    key = hashlib.sha256(f"{python.executable}\n{CHECKOUT}".encode()).hexdigest()[:8]
    folder = CACHE / "venv" / f"{python.version}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # suites run side by side; let go of when it is closed
        return _made(python, folder, settings, stdlib_only)


def _made(python: Interpreter, folder: Path, settings: Settings, stdlib_only: bool) -> Path:
    executable = folder / "bin" / "python"
    if not executable.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(
            [str(python.executable), "-m", "venv", str(folder)], f"a virtual environment of {python.version}"
        )
    site = next(folder.glob("lib/python*/site-packages"))
    lines = [str(CHECKOUT)]
    if python == running():
        lines += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    lines.append("import compat_tests.hook; compat_tests.hook.at_start()")
    (site / "compat_tests_hook.pth").write_text("\n".join(lines) + "\n")
    if not stdlib_only and not _imports(executable, settings.imports):
        _run(
            [str(executable), "-m", "pip", "install", "--quiet", *settings.dependencies],
            f"distpool's dependencies for Python {python.version}",
        )
    return executable


def _executables() -> Iterator[Path]:
    yield Path(getattr(sys, "_base_executable", sys.executable))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.*/bin/python3"))
    for folder in os.get_exec_path():
        # pyenv's shims choose by the current directory; the versions themselves were listed above.
        if Path(folder) != pyenv / "shims":
            yield from sorted(Path(folder).glob("python3.[0-9]*[0-9]"))


@functools.cache
def _probe(executable: Path) -> Interpreter | None:
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        version, stdlib = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(executable, version, Path(stdlib))


def _imports(executable: Path, modules: tuple[str, ...]) -> bool:
    command = [str(executable), "-I", "-c", "import " + ", ".join(modules)]
    return subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False).returncode == 0


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise MissingInterpreter(f"could not make {what}: {' '.join(command)}\n{done.stdout}{done.stderr}")
