"""A program for one machine: Dask on the cluster of DISTPOOL_ADDRESS, beside the synchronous scheduler. Prints JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd

import distpool.dask
from distpool.scheduler.node_identity import current_node


def where(_value: Any) -> tuple[str, int]:
    time.sleep(0.05)
    return current_node(), hash("a word")


def cluster() -> None:
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"key": random.integers(0, 50, 20_000), "name": random.choice(list("abcd"), 20_000)})
    rows = dd.from_pandas(frame, npartitions=4).set_index("key")
    words = db.from_sequence([f"word {i % 17}" for i in range(100)], npartitions=4)
    groups = words.groupby(str).map(lambda pair: (pair[0], len(pair[1])))
    x = da.random.default_rng(1).random((512, 1024), chunks=(256, 1024))
    products = x.dot(x.T).sum(axis=0)
    nodes: set[tuple[str, int]] = set()
    until_s = time.monotonic() + 60.0  # for the workers of the other machine to start
    while len(nodes) < 2 and time.monotonic() < until_s:
        nodes.update(dask.compute(*[dask.delayed(where)(i) for i in range(20)], scheduler="distpool"))
    kept = x.persist(scheduler="distpool")
    facts = {
        "nodes": sorted({node for node, _ in nodes}),
        "hashes": len({found for _, found in nodes}),
        "set_index": rows.compute(scheduler="distpool").equals(rows.compute(scheduler="sync")),
        "groups": sorted(groups.compute(scheduler="distpool")) == sorted(groups.compute(scheduler="sync")),
        "array": bool(
            np.allclose(products.compute(scheduler="distpool"), products.compute(scheduler="sync"))
        ),
        "persisted": bool(np.array_equal(kept.compute(scheduler="distpool"), x.compute(scheduler="sync"))),
    }
    print(json.dumps(facts))


def interrupted(folder: str) -> None:
    """Tasks that leave a mark when they begin, and one when they end by an interrupt."""
    from pathlib import Path

    def work(number: int) -> None:
        try:
            Path(folder, f"begun-{number}").write_text(str(os.getpid()))
            time.sleep(100)
        except KeyboardInterrupt:
            Path(folder, f"interrupted-{number}").touch()
            raise

    try:
        dask.compute(*[dask.delayed(work)(number) for number in range(50)], scheduler=distpool.dask.get)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        print(dask.delayed(sum)([1, 2]).compute(scheduler="distpool"), flush=True)


if __name__ == "__main__":
    {"cluster": cluster, "interrupted": interrupted}[sys.argv[1]](*sys.argv[2:])
