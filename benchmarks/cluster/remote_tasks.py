"""Empty tasks from a driver on host ``a`` to workers there, and on ``b``: by a's agent, b's port and its gate."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cluster import scene
from benchmarks.model import Session


def measure(session: Session) -> Mapping[str, float]:
    """The best of some turns."""
    with scene.cluster("a", "b") as (a, _):
        best = scene.run(a, a, "tasks", str(session.count), "a", "b")
    here, there = best["a"], best["b"]
    return {
        "there": there["rate"],
        "here": here["rate"],
        "ratio": there["rate"] / here["rate"],
        "there_one": there["round_trips"],
        "here_one": here["round_trips"],
    }
