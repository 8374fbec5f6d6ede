"""Running one program twice, plainly and under ``distpool run``, and comparing all that can be seen of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compat_tests.programs.catalogue import Program
from compat_tests.settings import CACHE, CHECKOUT

PACKAGES_OF_STDLIB = ("asyncio", "email", "json", "logging")
#: What programs keep of times and of their own state; everything else that they write is compared.
NOT_COMPARED = ("__pycache__", ".doctrees", ".doit.db", ".mypy_cache")
TIMEOUT_S = 180
INSTALL_TIMEOUT_S = 900
_LOOK_S = 0.005


@dataclass(frozen=True)
class Seen:
    """All that can be seen of one run: status, both outputs (by lines, or by characters if these may come in any
    order), files by path, and whether there was a session.
    """

    status: int
    output: tuple[str, ...]
    errors: tuple[str, ...]
    files: dict[str, str]
    session: bool
    seconds: float


def environment(programs: Sequence[Program]) -> Path:
    """The Python of a virtual environment that has these programs and what distpool depends on, made if need be.

    Raises:
        SystemExit: they cannot be installed; the text is pip's.
    """
    folder = CACHE / f"programs-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not python.exists():
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", str(folder)], check=True, timeout=INSTALL_TIMEOUT_S)
    packages = sorted({package for program in programs for package in program.packages})
    installed = folder / "installed"
    wanted = "\n".join(packages)
    if not installed.exists() or installed.read_text() != wanted:
        core = ("pyzmq", "msgspec", "cloudpickle", "psutil")
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *core,
            *packages,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the programs cannot be installed: {' '.join(command)}\n{done.stderr}")
        installed.write_text(wanted)
    return python


def differences(program: Program, python: Path, folder: Path) -> tuple[list[str], Seen, Seen]:
    """What is different between the two runs, in sentences (none: it passes), and both runs."""
    plain = _run(program, python, folder, [])
    ours = _run(program, python, folder, ["-m", "distpool", "run"])
    found = []
    if plain.status != ours.status:
        found.append(f"exit status {ours.status} instead of {plain.status}")
    for what, here, there in (("stdout", ours.output, plain.output), ("stderr", ours.errors, plain.errors)):
        if here != there:
            line = next(iter([*(set(here) ^ set(there)), "their order or number"]))
            found.append(f"{what} differs, for instance in: {line[:200]}")
    for path in sorted(plain.files.keys() | ours.files.keys()):
        if plain.files.get(path) != ours.files.get(path):
            found.append(f"the file {path} differs")
    if program.starts_session and not ours.session:
        found.append("distpool was not used: no session was started")
    return found, plain, ours


def _run(program: Program, python: Path, folder: Path, prefix: list[str]) -> Seen:
    work, home, temporary = folder / "work", folder / "home", folder / "tmp"
    for path in (work, home, temporary):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(Path(__file__).with_name("inputs"), work, ignore=shutil.ignore_patterns("__pycache__"))
    for package in PACKAGES_OF_STDLIB:
        source = Path(sysconfig.get_path("stdlib")) / package
        shutil.copytree(source, work / "stdlib" / package, ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    temporary.mkdir()
    scripts = {path.name: str(path) for path in python.parent.iterdir()}
    command = [
        str(python),
        *prefix,
        *(part.format(**scripts) if "{" in part else part for part in program.command),
    ]
    variables = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    watch = _Watch(temporary)
    began_s = time.monotonic()
    done = subprocess.run(
        command, cwd=work, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    seconds = time.monotonic() - began_s
    session = watch.stop()
    return Seen(
        done.returncode,
        _lines(done.stdout, program),
        _lines(done.stderr, program),
        {
            str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in work.rglob("*")
            if path.is_file() and not set(path.relative_to(work).parts) & set(NOT_COMPARED)
        },
        session,
        seconds,
    )


def _lines(text: str, program: Program) -> tuple[str, ...]:
    text = re.sub(program.mask, "", text) if program.mask else text
    return tuple(sorted(text) if program.any_order else text.splitlines())


class _Watch:
    """Looks, until it is stopped, whether a session's directory appears in the folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._seen and not self._stop.wait(_LOOK_S):
            self._seen = any(path.name.startswith("distpool-") for path in self._folder.iterdir())

    def stop(self) -> bool:
        """Whether one was seen."""
        self._stop.set()
        self._thread.join()
        return self._seen
