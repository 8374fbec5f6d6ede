"""How long a cluster is without its head when that is killed: ``python -m benchmarks.cluster.head_restart [ACTORS]``.

::

    start --head (a cluster of its own, on this machine) ─► ACTORS named actors, a key of ``kv`` for each
    five times: kill -9 the head ─► the first answer of the next one ─► all names looked up, all actors called

Each line tells the seconds from the kill to the first answer (``kv.get``), of looking up all names one after the other,
of making another named actor, and of calling all. The first and the last two together are what "full service" takes.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import distpool
from benchmarks.model import Session
from distpool import kv
from distpool.scheduler.shells import curve

ROUNDS = 5
PORT = 19_437


@distpool.remote(num_cpus=0)
class _Actor:
    def ping(self) -> int:
        return 1


def _head(folder: str) -> int:
    """The pid of the head that has its journal in this folder."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            if b"head_process" in command and folder.encode() in command:
                return int(entry.name)
        except (OSError, ValueError):
            continue
    raise LookupError("there is no head")


def _measure(count: int, folder: str) -> list[tuple[float, ...]]:
    began = time.monotonic()
    actors = [_Actor.options(name=f"actor {number}").remote() for number in range(count)]
    distpool.get([actor.ping.remote() for actor in actors])
    for number in range(count):
        kv.put(f"key {number}", b"x" * 100)
    print(f"{count} actors and keys: {time.monotonic() - began:.1f} s", flush=True)
    found = []
    for _ in range(ROUNDS):
        os.kill(_head(folder), signal.SIGKILL)
        times = [time.monotonic()]
        assert kv.get("key 0") == b"x" * 100
        times.append(time.monotonic())
        known = [distpool.get_actor(f"actor {number}") for number in range(count)]
        times.append(time.monotonic())
        another = _Actor.options(name="another").remote()
        distpool.get(another.ping.remote())
        times.append(time.monotonic())
        assert sum(distpool.get([actor.ping.remote() for actor in known])) == count
        times.append(time.monotonic())
        distpool.kill(another)
        first, names, new, calls = (after - before for before, after in itertools.pairwise(times))
        print(
            f"first answer {first:.3f}  names {names:.3f}  another actor {new:.3f}  calls {calls:.3f}",
            flush=True,
        )
        found.append((first, first + names + new + calls))
    return found


def measure(session: Session) -> Mapping[str, float]:
    """As a row: the slowest of five."""
    found = main(session.count)
    return {"first": max(first for first, _ in found), "full": max(full for _, full in found)}


def main(count: int) -> list[tuple[float, ...]]:
    """Start a cluster, measure, end it. Returns seconds until the first answer, and until all was served, each time."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        secret = curve.new_secret()
        os.environ.update(TMPDIR=folder, XDG_STATE_HOME=f"{folder}/state", DISTPOOL_SECRET=secret)
        start = ["start", "--head", "--host", "127.0.0.1", "--port", str(PORT)]
        subprocess.run([sys.executable, "-m", "distpool", *start], check=True, stdout=subprocess.DEVNULL)
        try:
            distpool.init(f"127.0.0.1:{PORT}")
            found = _measure(count, folder)
            distpool.shutdown()
            return found
        finally:
            (facts,) = Path(folder).glob("*/node.json")  # `distpool stop` would end other clusters' nodes too
            os.kill(json.loads(facts.read_text())["pid"], signal.SIGTERM)
            while facts.exists():
                time.sleep(0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
