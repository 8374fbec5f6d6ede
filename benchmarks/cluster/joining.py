"""How long a node takes to join: from the exec of ``distpool start --address`` to a result of one of its workers."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from benchmarks.cluster import scene
from benchmarks.model import Session

NODES = "bcdef"
_PASSED_ON = ("TMPDIR", "XDG_STATE_HOME", "PYTHONPATH", "DISTPOOL_SECRET")


def measure(_session: Session) -> Mapping[str, float]:
    """The best of five, one after the other: the first has files to read."""
    found = []
    with scene.cluster("a", *NODES, joined=1) as (a, *others):
        for host in others:
            environment = host.environment({"DISTPOOL_SECRET": scene.SECRET})
            given = [f"{name}={environment[name]}" for name in _PASSED_ON]
            command = host.command("env", *given, sys.executable, *scene.start_words(host, a))
            found.append(scene.run(a, a, "joined", host.name, *command))
    return {key: min(facts[key] for facts in found) for key in ("command", "usable")}
