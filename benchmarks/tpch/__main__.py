"""`python -m benchmarks.tpch --scale 1`: the 22 queries on pandas and on distpool, the same program, and their times.

Both read the files anew for each query. The results are compared; what differs is said and ends the run with an error.
Times are of the clock, the best of the rounds; below is the CPU time as well, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.tpch.data import generate
from benchmarks.tpch.queries import QUERIES

LIBRARIES = {"pandas": "pandas", "distpool": "distpool.dataframe"}


def timed(library: Any, number: int, tables: Path) -> tuple[Any, float, float]:
    """Run a query to its rows: they, and the seconds of clock and CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    made = QUERIES[number](library, lambda name: library.read_parquet(tables / f"{name}.parquet"))
    len(made)
    return made, time.perf_counter() - clock, time.process_time() - cpu


def main() -> None:
    """Run all, and print a line a query."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpch", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(".cache/tpch"))
    options = parser.parse_args()
    tables = generate(options.folder, options.scale)
    libraries = {name: importlib.import_module(module) for name, module in LIBRARIES.items()}
    equal = libraries["pandas"].testing.assert_frame_equal
    sums = {name: [0.0, 0.0] for name in libraries}
    print(f"{'query':>5}" + "".join(f"{name:>10}" for name in libraries))
    for number in QUERIES:
        line, results = f"{number:>5}", []
        for name, library in libraries.items():
            rounds = [timed(library, number, tables) for _ in range(options.rounds)]
            results.append(rounds[0][0])
            clock, cpu = min(clock for _, clock, _ in rounds), min(cpu for _, _, cpu in rounds)
            sums[name] = [sums[name][0] + clock, sums[name][1] + cpu]
            line += f"{clock:>9.3f}s"
        print(line, flush=True)
        equal(results[1], results[0])
    for at, text in enumerate(("clock", "CPU")):
        print(f"{text:>5}" + "".join(f"{sums[name][at]:>9.2f}s" for name in libraries))


if __name__ == "__main__":
    main()
