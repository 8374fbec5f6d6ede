"""``python -m tests.store --seed N [--trace]``, ``--seeds A:B [--jobs J]``: run worlds, name what is wrong."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.loop import Violation

from .world import run


def try_seed(seed: int) -> tuple[int, str]:
    """The seed and what was violated, "" if nothing."""
    try:
        run(seed)
    except Violation as violation:
        return seed, str(violation)
    return seed, ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.store", description=__doc__)
    parser.add_argument("--seed", type=int, help="run one world")
    parser.add_argument("--trace", action="store_true", help="print its story")
    parser.add_argument("--seeds", default="0:100", help="run worlds A:B")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if options.seed is not None:
        return one(options.seed, options.trace)
    first, last = (int(part) for part in options.seeds.split(":"))
    return many(range(first, last), options.jobs)


def one(seed: int, trace: bool) -> int:
    try:
        world = run(seed, print if trace else None)
    except Violation as violation:
        print(f"seed {seed}: {violation}")
        if violation.__cause__ is not None:
            raise
        return 1
    print(f"seed {seed}: well after {world.steps} steps, {world.plan}")
    spills = world.memory.ledger.spills
    print(f"{world.deaths} deaths, {world.repairs} repairs, {world.full} times full, {spills} spills")
    return 0


def many(seeds: range, jobs: int) -> int:
    began = time.perf_counter()
    failed = 0
    executor = ProcessPoolExecutor(jobs) if jobs > 1 else None
    results = executor.map(try_seed, seeds, chunksize=4) if executor else map(try_seed, seeds)
    for seed, text in results:
        if text:
            failed += 1
            print(f"seed {seed}: {text}\n    repeat: python -m tests.store --seed {seed} --trace", flush=True)
    if executor:
        executor.shutdown()
    print(f"{len(seeds)} seeds, {failed} failed, {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
