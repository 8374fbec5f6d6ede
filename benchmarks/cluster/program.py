"""The programs that run on a host of a cluster; each prints, as JSON, what it has found out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distpool
from benchmarks import bodies

ROUNDS = 5
_WARM_TASKS = 2_000
_ROUND_TRIPS = 500
#: A copy is kept for two seconds after its last use; then its pages are given back.
COPIES_GO_S = 4.0


def on(node: str, **options: Any) -> Callable[[Any], Any]:
    """A remote function that runs on this node only, and is not tried again."""
    return distpool.remote(num_cpus=0, max_retries=0, resources={f"node:{node}": 0.001}, **options)


def tasks(count: int, *nodes: str) -> dict[str, Any]:
    """Empty tasks by a Pool of two workers on each of the nodes, in turns: the best rates by node."""
    best: dict[str, dict[str, float]] = {node: {"rate": 0.0, "round_trips": 0.0} for node in nodes}
    for _ in range(ROUNDS):
        for node in nodes:
            with distpool.Pool(2, resources={f"node:{node}": 0.001}) as pool:
                pool.map(bodies.null_task, range(_WARM_TASKS), 1)
                began = time.perf_counter()
                waiting = [pool.apply_async(bodies.null_task, (number,)) for number in range(count)]
                assert [one.get() for one in waiting] == list(range(count))
                rate = count / (time.perf_counter() - began)
                began = time.perf_counter()
                for number in range(_ROUND_TRIPS):
                    pool.apply(bodies.null_task, (number,))
                trips = _ROUND_TRIPS / (time.perf_counter() - began)
            best[node]["rate"] = max(best[node]["rate"], rate)
            best[node]["round_trips"] = max(best[node]["round_trips"], trips)
    return best


def _looked_at(references: list[Any]) -> int:
    return len(distpool.get(references[0]))


def broadcast(size: int, *nodes: str) -> dict[str, Any]:
    """How long it takes until the first of the nodes, and then until all of them have a copy of a big value."""
    calls = {node: on(node)(_looked_at) for node in nodes}
    distpool.get([call.remote([distpool.put(b"x" * 300_000)]) for call in calls.values()])  # links, workers
    times = {}
    for what, there in (("one", nodes[:1]), ("all", nodes)):
        reference = distpool.put(os.urandom(1 << 20) * (size >> 20))
        began = time.perf_counter()
        assert distpool.get([calls[node].remote([reference]) for node in there]) == [size] * len(there)
        times[what] = time.perf_counter() - began
        del reference
        time.sleep(COPIES_GO_S)
    return times


def _hang(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(1000)


def _begun(path: str) -> int:
    while not (os.path.exists(path) and (text := Path(path).read_text())):
        time.sleep(0.005)
    return int(text)


def noticed(folder: str, node: str, signal_name: str, times: int, *pids: str) -> dict[str, Any]:
    """Seconds until the loss of what a task runs on is that task's error: its worker (no ``pids``), or these."""
    seconds = []
    for number in range(times):
        path = f"{folder}/{node}-{signal_name}-{number}"
        waiting = on(node)(_hang).remote(path)
        worker = _begun(path)
        time.sleep(0.5)  # all is still; a beat may be due or not
        began = time.perf_counter()
        for pid in pids or [worker]:
            os.kill(int(pid), getattr(signal, signal_name))
        try:
            distpool.get(waiting, timeout=60)
        except distpool.exceptions.GetTimeoutError:
            raise
        except distpool.exceptions.RayError:
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds}


def joined(node: str, *command: str) -> dict[str, Any]:
    """Seconds from the exec of what has this node join until that has ended, and until a worker there has worked."""
    distpool.get(distpool.remote(bodies.null_task).remote(1))
    call = on(node)(bodies.null_task)
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    command_s = time.perf_counter() - began
    while True:
        try:
            assert distpool.get(call.remote(1)) == 1
            return {"command": command_s, "usable": time.perf_counter() - began}
        except distpool.exceptions.TaskUnschedulableError:  # nobody here has heard of it yet
            time.sleep(0.005)


PROGRAMS: dict[str, Callable[..., dict[str, Any]]] = {
    "tasks": lambda count, *nodes: tasks(int(count), *nodes),
    "broadcast": lambda size, *nodes: broadcast(int(size), *nodes),
    "noticed": lambda folder, node, name, times, *pids: noticed(folder, node, name, int(times), *pids),
    "joined": joined,
}

if __name__ == "__main__":
    distpool.init()
    print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
    distpool.shutdown()
