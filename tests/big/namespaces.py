"""Programs in a mount namespace of their own: another /dev/shm, a tiny disk, and nobody else sees it."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.processes import scene


@functools.cache
def _unshare() -> list[str]:
    """The command that makes a namespace in which mounts are allowed: as root, else as root of one's own; or none."""
    for options in (["-m"], ["-r", "-m"]):
        command = ["unshare", *options, "sh", "-c", "mount -t tmpfs none /mnt"]
        try:
            if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0:
                return ["unshare", *options]
        except FileNotFoundError:
            return []
    return []


@contextmanager
def driver(mounts: str, code: str, **options: Any) -> Iterator[scene.Driver]:
    """A driver for which the shell commands ``mounts`` were run first. Skips the test where that is not allowed."""
    unshare = _unshare()
    if not unshare:
        pytest.skip("no mount namespace can be made here: `unshare -m` is not permitted")
    shell = f"{mounts} && exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    with scene.driver(_EXEC, *unshare, "sh", "-c", shell, **options) as it:
        yield it


_EXEC = "import os, sys\nos.execvp(sys.argv[1], sys.argv[1:])\n"
