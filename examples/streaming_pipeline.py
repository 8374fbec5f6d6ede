"""Clean a long series of readings as it is made, in bounded memory: a generator with back-pressure, then tasks.

    python streaming_pipeline.py
    python streaming_pipeline.py --blocks 400 --unread 8

    read_sensor ── blocks, at most `unread` of them lie ──► clean, a task for each block ──► sums, in order
    one task that yields                                    several at once                  this program

The first task makes blocks far quicker than they are cleaned. It is held back when `unread` blocks lie there that
nobody has taken. Only references pass through this program. That memory stays bounded is checked by the clock: each
block says when it was made, and this program notes when it took it.

A program for Ray: with `import ray` in place of `import distpool as ray` it runs there.
"""

import argparse
import bisect
import sys
import time

import numpy as np

import distpool as ray

BLOCK = 125_000  # readings, a megabyte
AT_ONCE = 4  # blocks that are being cleaned


@ray.remote
def read_sensor(blocks):
    """Yield block after block of readings, some of them nonsense, with the time at which each was made."""
    for number in range(blocks):
        readings = np.random.default_rng(number).normal(20, 5, BLOCK)
        readings[number::1_000] = 9_999
        # The same clock in all processes of a machine.
        yield time.monotonic(), readings


@ray.remote
def clean(block):
    """Leave out the nonsense; give what is left as numbers that can be added up."""
    made_at, readings = block
    good = readings[readings < 100]
    middle = np.sort(good)[len(good) // 100 : -(len(good) // 100)]  # without the outermost hundredths
    return made_at, len(readings) - len(good), len(middle), middle.sum()


def most_ahead(made, taken):
    """How many blocks were there at most that had not been taken: of those made, when each was made."""
    return max(number + 1 - bisect.bisect_right(taken, made_at) for number, made_at in enumerate(made))


def show_progress(done, total):
    """Draw a bar over the last one."""
    width = 40
    filled = done * width // total
    print(f"\r[{'#' * filled}{'.' * (width - filled)}] {done}/{total} blocks", end="", file=sys.stderr)
    if done == total:
        print(file=sys.stderr)


def main():
    """Run the pipeline, and say what came out of it and how much lay unread."""
    parser = argparse.ArgumentParser(description="Clean readings as they are made, in bounded memory.")
    parser.add_argument("--blocks", type=int, default=60, help="blocks of 1 MB (default: 60)")
    parser.add_argument("--unread", type=int, default=4, help="blocks that may lie unread (default: 4)")
    parser.add_argument(
        "--progress", action="store_true", help="show progress even where stderr is no terminal"
    )
    options = parser.parse_args()
    if min(options.blocks, options.unread) < 1:
        parser.error("there must be a block, and one must be allowed to lie unread")
    progress = options.progress or sys.stderr.isatty()

    reader = read_sensor.options(
        num_returns="streaming", _generator_backpressure_num_objects=options.unread
    ).remote(options.blocks)
    made, taken, cleaning = [], [], []
    nonsense, count, total = 0, 0, 0.0
    while len(made) < options.blocks:
        if len(cleaning) < AT_ONCE and len(taken) < options.blocks:
            cleaning.append(clean.remote(next(reader)))
            taken.append(time.monotonic())
            continue
        made_at, left_out, kept, sum_of_block = ray.get(cleaning.pop(0))
        made.append(made_at)
        nonsense, count, total = nonsense + left_out, count + kept, total + sum_of_block
        if progress:
            show_progress(len(made), options.blocks)
    ray.shutdown()

    print(
        f"{options.blocks} blocks, {nonsense} readings were nonsense, mean of the others {total / count:.6f}"
    )
    ahead = most_ahead(made, taken)
    # One more may be on its way: made when the one before it was taken, and this program has not noted that yet.
    bound = options.unread + 1
    if ahead > bound:
        print(f"{ahead} blocks lay unread at some time, and it was to be {bound} at most")
        return 1
    print(f"of {options.blocks} MB never more than {bound} MB lay unread")
    return 0


if __name__ == "__main__":
    sys.exit(main())
