"""What ``distpool start`` leaves word of in a node's session directory, and finds again: it goes with the node.

``node.json`` says what the node is; ``secret`` is the cluster's. Both are for this user's eyes only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distpool.scheduler.shells import session_dir

__all__ = ["SECRET_FILE", "leave_word", "started_nodes", "write_private"]

NODE_FILE, SECRET_FILE = "node.json", "secret"


def leave_word(directory: str, secret: str, facts: Mapping[str, object]) -> None:
    """``facts``: what ``started_nodes`` is to find."""
    write_private(f"{directory}/{SECRET_FILE}", secret)
    write_private(f"{directory}/{NODE_FILE}", json.dumps(facts))


def started_nodes() -> list[tuple[str, dict[str, Any]]]:
    """This user's nodes on this machine: directory, and what ``node.json`` says."""
    found = []
    for directory in session_dir.living():
        try:
            found.append((directory, json.loads(Path(directory, NODE_FILE).read_text())))
        except (OSError, ValueError):
            continue  # a program's own session
    return found


def write_private(path: str, text: str) -> None:
    """A new file, which nobody else may read. Raises OSError, also where there is one."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
