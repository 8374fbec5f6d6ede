"""TPC-H queries as fragments on a cluster, for one machine of it. A node may go while rows lie on it.

Each fragment leaves its node's name in a folder. In the query in the middle, between two stages, the program says
"begun" and waits for a file: by then pieces of the first stage lie on every node, and the second one needs them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas

import distpool
import distpool.dataframe as pd
from benchmarks.tpch.queries import QUERIES
from distpool.dataframe import running
from distpool.dataframe.fragments import executor
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.worker import run_fragment
from distpool.scheduler.node_identity import current_node

TABLES, MARKS = Path(sys.argv[1]), Path(sys.argv[2])
FOLDER = str(MARKS)
# Every join and every group-by shuffles.
running.limits = Limits(fragment_bytes=50_000, broadcast_bytes=2_000, gather_bytes=2_000, pieces_max=3)


def marked(order: Any, *buffers: Any) -> Any:
    """Run a fragment, and say where."""
    Path(FOLDER, f"on-{current_node()}").touch()
    return run_fragment(order, *buffers)


class Pausing(executor.OnEngine):
    """Pauses when the first stage of many fragments has been made, once it is told to."""

    armed = False

    def run(self, stage: Any) -> Any:
        """Run a stage."""
        many = len(stage.fragments) >= 6
        made = super().run(stage)
        if many and Pausing.armed:
            Pausing.armed = False
            print("begun", flush=True)
            while not (MARKS / "gone").exists():
                time.sleep(0.01)
        return made


def main(numbers: list[int]) -> None:
    """Run these queries, and say which gave what pandas gives, and on which nodes."""
    executor.run_fragment = marked
    executor.OnEngine = Pausing  # type: ignore[misc]
    equal = []
    for at, number in enumerate(numbers):
        Pausing.armed = Pausing.armed or at == len(numbers) // 2
        expected = QUERIES[number](pandas, lambda name: pandas.read_parquet(TABLES / f"{name}.parquet"))
        with pd.route("cluster"):
            found = QUERIES[number](pd, lambda name: pd.read_parquet(TABLES / f"{name}.parquet"))
            pandas.testing.assert_frame_equal(found, expected)
        equal.append(number)
    assert not Pausing.armed
    print(json.dumps({"equal": equal}))
    distpool.shutdown()


if __name__ == "__main__":
    main([int(number) for number in sys.argv[3].split(",")])
