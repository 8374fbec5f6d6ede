"""`make demo`: run complexity.py on plain multiprocessing and on distpool, and compare.

It first runs the program once through `python -m distpool run`, with its progress and its result shown, and then
both ways in turn, ROUNDS times, and keeps the best time of each. The picture needs rich; without it, it is plain.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 3
PROGRAM = str(Path(__file__).with_name("complexity.py"))
COMMANDS = {
    "multiprocessing": [sys.executable, PROGRAM],
    "distpool": [sys.executable, "-m", "distpool", "run", PROGRAM],
}
BAR_WIDTH = 50


def run(command, **kwargs):
    """Run a command to its end: what it printed, and the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **kwargs)
    return done.stdout, time.perf_counter() - started


def measure():
    """Time both commands in turn: their best times, and their outputs."""
    best, outputs = {}, {}
    for number in range(1, ROUNDS + 1):
        for name, command in COMMANDS.items():
            outputs[name], seconds = run(command, stderr=subprocess.DEVNULL)
            best[name] = min(seconds, best.get(name, seconds))
            print(f"  round {number}: {name:16} {seconds:6.2f} s", file=sys.stderr)
    return best, outputs


def draw(best):
    """Print a bar for each time."""
    longest = max(best.values())
    rows = [
        (name, "█" * max(1, round(BAR_WIDTH * seconds / longest)), seconds) for name, seconds in best.items()
    ]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        for name, bar, seconds in rows:
            print(f"  {name:16} {bar:{BAR_WIDTH}} {seconds:6.2f} s")
        return
    table = Table(show_header=False, box=None)
    for (name, bar, seconds), colour in zip(rows, ("yellow", "green"), strict=True):
        table.add_row(name, f"[{colour}]{bar}[/]", f"{seconds:.2f} s")
    Console().print(table)


def main():
    """Show, measure, compare; the exit status tells whether both printed the same."""
    command = ["python", *COMMANDS["distpool"][1:-1], os.path.relpath(PROGRAM)]
    print("$", *command, flush=True)
    shown, _ = run([*COMMANDS["distpool"], "--progress"])
    print(shown)

    print(
        f"The same program, unmodified, on plain multiprocessing and on distpool, {ROUNDS} times in turn:",
        flush=True,
    )
    best, outputs = measure()
    equal = outputs["multiprocessing"] == outputs["distpool"] == shown
    print(
        f"\nWhat they print is {'equal' if equal else 'DIFFERENT'}. Best of {ROUNDS}, on {os.cpu_count()} CPUs:\n",
        flush=True,
    )
    draw(best)
    ratio = best["multiprocessing"] / best["distpool"]
    print(f"\ndistpool took {1 / ratio:.2f} times as long as multiprocessing ({ratio:.2f} times its speed).")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
