"""What the tests have workers of another node do, and the programs that they run in drivers of their own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import distpool
from distpool.pool import Pool
from distpool.scheduler.node_identity import current_node

ASK_NODE = "from distpool.scheduler.node_identity import current_node; print(current_node())"

_initial: Any = None


def node(_: object = None) -> str:
    return current_node()


def pid_and_node(_: object = None) -> tuple[int, str]:
    return os.getpid(), current_node()


def node_of_a_child() -> str:
    """As a process says that this one has started."""
    return subprocess.run(
        [sys.executable, "-c", ASK_NODE], capture_output=True, text=True, check=True
    ).stdout.strip()


def node_of_a_spawned_child() -> str:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_tell_node, args=(theirs,))
    child.start()
    try:
        return str(ours.recv())
    finally:
        child.join()
        ours.close()
        theirs.close()


def _tell_node(link: Any) -> None:
    link.send(current_node())


def remember(value: Any) -> None:
    """An initializer."""
    global _initial
    _initial = value


def remembered_sum() -> int:
    return int(_initial.sum())


def pattern(size: int, seed: int = 1) -> Any:
    """Bytes that are not all the same, and cheap to make."""
    return np.arange(seed, seed + size // 8, dtype=np.int64)


def check(array: Any, size: int, seed: int = 1) -> str:
    """Look at all of an array, write to it, and say where that was."""
    assert array.nbytes == size
    assert (array == pattern(size, seed)).all()
    array[0] = -1  # an argument is the task's own
    return current_node()


def check_all(arrays: Any) -> str:
    """The same array many times is as many arrays that can be written to, or one: as pickle has it."""
    for array in arrays:
        assert (array[1:] == arrays[0][1:]).all()
    return current_node()


def get_and_check(item: Any, size: int) -> tuple[str, Any]:
    """A reference that came in something: what it leads to, twice, and the reference itself goes back."""
    reference = item["reference"]
    for _ in range(2):
        array = distpool.get(reference)
        check(array, size)
    return current_node(), reference


def put_there(size: int) -> Any:
    """A reference to something that lies in the store of the worker's node, or would."""
    return distpool.put(pattern(size))


def sum_of_nested_pool(count: int) -> tuple[str, set[str], int]:
    """A pool in a task: where it is, where its workers are, and what they have done."""
    with Pool(2) as pool:
        nodes = set(pool.map(node, range(8), 1))
        return current_node(), nodes, sum(pool.map(abs, range(count)))


def run_once_then_wait(folder: str) -> str:
    """The first time this runs it says so in the folder and waits for ever; later it says on which node it is."""
    try:
        os.close(os.open(f"{folder}/first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return current_node()
    Path(folder, "pid").write_text(str(os.getpid()))
    os.rename(f"{folder}/pid", f"{folder}/started")
    while True:
        time.sleep(60)


def wait_for_ever(folder: str) -> None:
    Path(folder, f"waits-{os.getpid()}").touch()
    while True:
        time.sleep(60)


def die() -> None:
    os.kill(os.getpid(), 9)


class FailsToCome:
    """Can be pickled, but not be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def put_key(key: str, value: bytes, mine: bool) -> bool:
    from distpool.scheduler.remote import cluster_facts

    return cluster_facts.key_put(key, value, overwrite=False, mine=mine)


def known_nodes() -> list[str]:
    from distpool import cluster

    return [facts["NodeName"] for facts in cluster.nodes() if facts["Alive"]]


def get_key(key: str) -> bytes | None:
    from distpool.scheduler.remote import cluster_facts

    return cluster_facts.key_get(key)
