"""Runs a program in a process of its own, with a bound: what is tested here hangs when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

WITHIN_S = 10.0


def outcome(program: str, within_s: float = WITHIN_S) -> str:
    """What the program printed. Fails if it does not end in time; what it wrote on stderr counts as printed."""
    running = subprocess.Popen(
        # Python 3.12 and newer warn of forks beside threads, which these programs make on purpose.
        [sys.executable, "-W", "ignore:This process", "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return running.communicate(timeout=within_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)  # with the children that it has forked
        shown = running.communicate()[0]
        raise AssertionError(f"hangs; up to then it printed: {shown}") from None
