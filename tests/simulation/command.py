"""A simulator's command line: ``--seed N [--trace]``, ``--seeds A:B [--jobs J]``. Runs worlds, names what is wrong."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from .loop import Violation

#: Runs the world of a seed; tells its story to the second argument, if there is one. Raises Violation.
Run = Callable[..., Any]


def try_seed(run: Run, seed: int) -> tuple[int, str]:
    """The seed and what was violated, "" if nothing."""
    try:
        run(seed)
    except Violation as violation:
        return seed, str(violation)
    return seed, ""


def main(prog: str, run: Run, describe: Callable[[Any], str]) -> int:
    """``prog``: how it is called; ``describe``: what to print of a world that ended well."""
    parser = argparse.ArgumentParser(prog=prog, description="Run simulated worlds and name what is wrong.")
    parser.add_argument("--seed", type=int, help="run one world")
    parser.add_argument("--trace", action="store_true", help="print its story")
    parser.add_argument("--seeds", default="0:100", help="run worlds A:B")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if options.seed is not None:
        return one(run, describe, options.seed, options.trace)
    first, last = (int(part) for part in options.seeds.split(":"))
    return many(prog, run, range(first, last), options.jobs)


def one(run: Run, describe: Callable[[Any], str], seed: int, trace: bool) -> int:
    try:
        world = run(seed, print if trace else None)
    except Violation as violation:
        print(f"seed {seed}: {violation}")
        if violation.__cause__ is not None:
            raise
        return 1
    print(f"seed {seed}: well after {describe(world)}")
    return 0


def many(prog: str, run: Run, seeds: range, jobs: int) -> int:
    began = time.perf_counter()
    failed = 0
    executor = ProcessPoolExecutor(jobs) if jobs > 1 else None
    attempt = partial(try_seed, run)
    results = executor.map(attempt, seeds, chunksize=4) if executor else map(attempt, seeds)
    for seed, text in results:
        if text:
            failed += 1
            print(f"seed {seed}: {text}\n    repeat: {prog} --seed {seed} --trace", flush=True)
    if executor:
        executor.shutdown()
    print(f"{len(seeds)} seeds, {failed} failed, {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0
