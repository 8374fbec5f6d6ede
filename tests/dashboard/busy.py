"""A program that has something of everything to show: chains of calls, actors, arrays, errors. Argument: seconds."""

from __future__ import annotations

import random
import sys
import time

import numpy as np

import distpool
from distpool.util.metrics import Counter


@distpool.remote
def load(part: int) -> np.ndarray:
    time.sleep(random.uniform(0.02, 0.08))
    return np.full(60_000, part, dtype=float)


@distpool.remote
def clean(rows: np.ndarray) -> np.ndarray:
    time.sleep(random.uniform(0.005, 0.03))
    if random.random() < 0.004:
        raise ValueError(f"part {int(rows[0])} has no column 'price'")
    Counter("rows", tag_keys=("step",)).inc(len(rows), {"step": "clean"})
    return rows


@distpool.remote
def train(rows: np.ndarray) -> float:
    print(f"trained on {len(rows)} rows")
    time.sleep(random.uniform(0.1, 0.5))
    return float(rows.sum())


@distpool.remote(num_gpus=1, num_cpus=0)
class Model:
    def score(self, x: float) -> float:
        time.sleep(random.uniform(0.01, 0.06))
        return x


@distpool.remote(num_cpus=0)
class Board:
    def __init__(self) -> None:
        self.scores: list[float] = []

    def add(self, score: float) -> int:
        self.scores.append(score)
        return len(self.scores)


def main(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    kept = [distpool.put(np.ones(n * 1_000_000)) for n in (1, 2, 4, 8)]
    model, boards = Model.remote(), [Board.options(name=f"board {n}").remote() for n in range(3)]
    print("busy", flush=True)
    part = 0
    while time.monotonic() < until_s:
        rows = [clean.remote(load.remote(part + n)) for n in range(40)]
        part += 40
        scores = [model.score.remote(train.remote(each)) for each in rows[::4]]
        told = [boards[n % 3].add.remote(score) for n, score in enumerate(scores)]
        for ref in [*rows, *told]:
            try:
                distpool.get(ref, timeout=120)
            except Exception:
                continue
    del kept


if __name__ == "__main__":
    main(float(sys.argv[1]))
