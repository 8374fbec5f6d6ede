"""What tests of the backend have workers do. A module of its own, which imports neither joblib nor the tests."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def square(x: int) -> int:
    return x * x


def inverse(x: float) -> float:
    return 1 / x


def pid(_: Any = None) -> int:
    return os.getpid()


def meet(folder: str, count: int) -> int:
    """Returns when so many workers are here at once: their pids lie in a folder."""
    open(os.path.join(folder, str(os.getpid())), "w").close()
    while len(os.listdir(folder)) < count:
        time.sleep(0.005)
    return os.getpid()


def wait_for(path: str) -> int:
    """Returns when there is such a file."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return os.getpid()


def note_and_wait_for_ever(path: str) -> None:
    open(path, "w").close()
    try:
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        open(path + ".interrupted", "w").close()
        raise


def raise_when(path: str) -> None:
    wait_for(path)
    raise ValueError("as it was told")


def first_and_add(array: Any, index: int) -> float:
    """The first item, as this task sees it; then it is another one."""
    first = float(array[0])
    array += 1
    return first


def environment(names: list[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def cpus_and_nested_pids() -> tuple[int, int, int]:
    """What joblib counts here, and in how many threads and processes a nested call with n_jobs=-1 runs."""
    import threading

    from joblib import Parallel, cpu_count, delayed

    def where() -> tuple[int, int]:
        time.sleep(0.002)
        return os.getpid(), threading.get_ident()

    places = Parallel(n_jobs=-1)(delayed(where)() for _ in range(20))
    return cpu_count(), len(set(places)), len({process for process, _ in places})


def die_once(path: str) -> int:
    """The first one to come here is killed."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def set_word(word: str) -> None:
    os.environ["WORD_OF_INITIALIZER"] = word


def word() -> str | None:
    return os.environ.get("WORD_OF_INITIALIZER")


def fail_to_set_up() -> None:
    raise LookupError("no such word")
