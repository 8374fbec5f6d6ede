"""What the commands about a cluster's file have in common: a line for each step, a summary."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

from distpool.ssh.hosts import Outcome
from distpool.ssh.spec import HostSpec

__all__ = ["FILE_HELP", "lines_of", "summary"]

FILE_HELP = "the file that lists the hosts (docs/cluster.md)"


def lines_of(hosts: Sequence[HostSpec]) -> Callable[[str, str], None]:
    """What prints a step of a host's; from any thread, a whole line at a time."""
    width = max(len(host.name) for host in hosts)
    lock = threading.Lock()

    def say(name: str, what: str) -> None:
        with lock:
            print(f"{name.ljust(width)}  {what}", flush=True)

    return say


def summary(command: str, outcomes: Sequence[Outcome]) -> int:
    """Say what there is to say at the end; returns the exit status."""
    for outcome in outcomes:
        for remark in outcome.remarks:
            print(f"distpool {command}: {outcome.name} {remark}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        print(f"distpool {command}: {outcome.name}: {outcome.failure}", file=sys.stderr)
    changed = sum(outcome.changed for outcome in outcomes)
    if failed:
        names = ", ".join(outcome.name for outcome in failed)
        print(f"distpool {command}: {len(failed)} of {len(outcomes)} hosts failed: {names}", file=sys.stderr)
    elif not changed:
        print(f"Nothing was to be done on {len(outcomes)} host{'s' * (len(outcomes) != 1)}.")
    return 1 if failed else 0
