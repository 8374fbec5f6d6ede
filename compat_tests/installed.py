"""Tests that an installed package brings along, run by pytest in a process of its own; what a plugin says of each.

The plugin (``compat_tests.LIBRARY.plugin``) writes a line of JSON for each test into ``*.jsonl`` files in the folder
that the process is started in. What the records mean is the affair of ``LIBRARY.agreement``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from compat_tests.settings import CHECKOUT, FOLDER

#: Of what a process has said, so much is shown where it could not do its work.
_LOG_CHARACTERS = 2000


class CannotRun(Exception):
    """The tests could not be run, for the reason given."""


class Ended(NamedTuple):
    """A run of pytest. ``said``: the last of its output."""

    status: int
    records: list[dict[str, Any]]
    said: str


def run(library: str, words: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run pytest with the configuration and the plugin of this library, ``words`` behind.

    Raises:
        CannotRun: it could not begin, or no test has told anything.
    """
    here = FOLDER / library
    with tempfile.TemporaryDirectory(prefix=f"compat-{library}-") as folder:
        command = [
            *(sys.executable, "-m", "pytest", "-c", str(here / "pytest.ini"), "--rootdir", str(here)),
            *("-p", f"compat_tests.{library}.plugin", "-q", "--tb=line", *words),
        ]
        known = {
            **os.environ,
            "DISTPOOL_COMPAT_RECORDS": folder,
            "PYTHONPATH": str(CHECKOUT),
            **environment,
        }
        log = Path(folder, "log")
        with log.open("wb") as file:
            status = subprocess.run(
                command, cwd=folder, env=known, stdout=file, stderr=subprocess.STDOUT, check=False
            ).returncode
        records = [
            json.loads(line)
            for path in sorted(Path(folder).glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        said = log.read_text()[-_LOG_CHARACTERS:]
    if status > 1 or not records:
        raise CannotRun(f"pytest ended with {status}:\n{said}")
    return Ended(status, records, said)
