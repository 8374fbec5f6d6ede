"""Where and on what a run was made: date, commit, processor, kernel, Python. A reader needs it to repeat the run."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from benchmarks.lane import ROOT

_GIT_TIMEOUT_S = 10.0


def facts() -> list[tuple[str, str]]:
    """Pairs of what and value, in the order in which they are shown."""
    return [
        ("Date", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Commit", _commit()),
        ("Machine", f"{_usable_cores()} cores usable, {_processor()}, {_memory_gib():.0f} GiB"),
        ("System", f"{platform.system()} {platform.release()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
    ]


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none yet"
    # RESULTS.md itself is about to be written, so it does not make the checkout a changed one.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/RESULTS.md")
    return f"{commit} with uncommitted changes" if changed else commit


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except OSError:  # no git here: an unpacked archive
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
