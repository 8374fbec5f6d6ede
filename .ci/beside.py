"""Runs commands side by side, and shows what each of them said, whole, when it has ended.

``beside.py LIMIT_S NAME COMMAND NAME COMMAND ...``: for steps of `.ci/check` that wait for much of their time. One that
runs for longer than ``LIMIT_S`` is interrupted, then killed, and has failed. Ctrl-C reaches all of them, as they are in
this process's group. (A shell would have what it starts in the background ignore Ctrl-C, which some of these press.)
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

#: What a command may take to clear up, once it has been interrupted.
FAREWELL_S = 20.0

_printing = threading.Lock()


def main(limit_s: float, commands: list[tuple[str, str]]) -> int:
    """Run them all; returns 1 if any failed."""
    # Ctrl-C is theirs: they end, and so do we. (A handler is not inherited, as ignoring it would be.)
    signal.signal(signal.SIGINT, lambda *_: None)
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for name, command in commands:
        threading.Thread(target=_run, args=(name, command, limit_s, ended)).start()
    statuses = [ended.get() for _ in commands]
    return 1 if any(statuses) else 0


def _run(name: str, command: str, limit_s: float, ended: queue.SimpleQueue[int]) -> None:
    status, began_s = 1, time.monotonic()
    try:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command, shell=True, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            status, verdict = _end_of(process, limit_s)
            said.seek(0)
            with _printing:
                print(f"\n== {name}", flush=True)
                sys.stdout.buffer.write(said.read())
                print(f"== {name}: {verdict} {time.monotonic() - began_s:.0f} s", flush=True)
    finally:
        ended.put(status)


def _end_of(process: subprocess.Popen[bytes], limit_s: float) -> tuple[int, str]:
    """Its status, and what there is to say of it; at its limit it is ended."""
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return 1, f"not done within {limit_s:g} s, FAILED after"
    return status, "FAILED after" if status else "passed in"


if __name__ == "__main__":
    words = sys.argv[2:]
    sys.exit(main(float(sys.argv[1]), list(zip(words[::2], words[1::2], strict=True))))
