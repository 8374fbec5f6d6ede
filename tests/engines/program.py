"""A program that knows nothing of clusters, on the one that DISTPOOL_ADDRESS names: it prints facts for a test.

Run as ``python -m tests.engines.program SCENARIO``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import distpool
from distpool import Pool
from distpool.futures import ProcessPoolExecutor
from tests.engines import here_cluster

base = 0


class OfMain(Exception):
    pass


def set_up(start: int) -> None:
    global base
    base += start


def plus(x: int) -> int:
    return x + base


def fail(x: int) -> None:
    raise OfMain(x)


def die_once(path: str) -> str:
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), 9)
    return "again"


def meet(path: str) -> int:
    """Come back when two are there."""
    Path(path, str(os.getpid())).touch()
    until_s = time.monotonic() + 60
    while len(os.listdir(path)) < 2:
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return os.getpid()


def shout(x: int) -> int:
    print("out", x)
    print("err", x, file=sys.stderr)
    return x


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def touch_and_sleep(path: str) -> None:
    Path(path, f"started-{os.getpid()}").touch()
    time.sleep(600)


def name_of(error: BaseException | None) -> str:
    return f"{type(error).__module__}.{type(error).__name__}: {error}"


def error_of(call: Any) -> str:
    try:
        call()
    except BaseException as error:
        return name_of(error)
    return ""


def values(_folder: str) -> dict[str, Any]:
    with Pool(2, set_up, (7,)) as pool:
        facts = {
            "map": pool.map(plus, range(200)) == [x + 7 for x in range(200)],
            "one by one": pool.map(plus, range(2000), chunksize=1) == [x + 7 for x in range(2000)],
            "imap": list(pool.imap(lambda x: plus(x) * 2, range(20))) == [2 * (x + 7) for x in range(20)],
            "starmap": pool.starmap(pow, [(2, 3), (3, 2)]),
            "error": error_of(lambda: pool.map(fail, [1])),
            "builtin error": error_of(lambda: pool.apply(int, ("x",))),
            "big": pool.apply(len, (b"x" * 5_000_000,)),
            "big back": len(pool.apply(bytes, (5_000_000,))),
            "unpicklable": error_of(lambda: pool.apply(len, (sys._getframe(),))).partition(":")[0],
        }
    with ProcessPoolExecutor(2) as executor:
        facts["executor"] = list(executor.map(abs, [-1, -2, -3]))
    return facts


def failures(folder: str) -> dict[str, Any]:
    with Pool(2) as pool:
        results = pool.map(sleep, [0.01, 300, 0.02], task_timeout=3, errors="return")
        facts: dict[str, Any] = {"in time": results[::2], "overdue": name_of(results[1]).partition(":")[0]}
        facts["once more"] = pool.apply(die_once, (f"{folder}/died",))
        facts["died"] = error_of(lambda: pool.map(die_once, [f"{folder}/no retry"], retries=0)).partition(
            ":"
        )[0]
        facts["goes on"] = pool.map(abs, [-1])
    with ProcessPoolExecutor(1) as executor:
        future = executor.submit(touch_and_sleep, folder)
        while not any(name.startswith("started") for name in os.listdir(folder)):
            time.sleep(0.01)
        facts["cancelled"] = future.cancel()
        facts["after"] = executor.submit(abs, -5).result()
    return facts


def initializer(_folder: str) -> dict[str, Any]:
    with ProcessPoolExecutor(1, initializer=fail, initargs=(3,)) as executor:
        try:
            return {"result": executor.submit(abs, 1).result()}
        except BrokenProcessPool as error:  # or what is one
            return {"broken": str(error).partition(",")[0]}


def prints(_folder: str) -> dict[str, Any]:
    with Pool(2) as pool:
        return {"answers": pool.map(shout, range(4), chunksize=1)}


def sizes(folder: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    with Pool(1) as pool:
        pool.map(abs, [1])
        pool.resize(2)
        (Path(folder) / "two").mkdir()
        facts["two"] = len(set(pool.map(meet, [f"{folder}/two"] * 2, chunksize=1)))
        facts["known"] = len(pool._pool)
    with Pool(3) as pool, ThreadPoolExecutor(3):  # more than there are CPUs
        pids = set()
        until_s = time.monotonic() + 60
        while len(pids) < 3 and time.monotonic() < until_s:
            pids |= set(pool.map(lambda _: (time.sleep(0.05), os.getpid())[1], range(9), chunksize=1))
        facts["three"] = len(pids)
    with Pool(1, maxtasksperchild=1) as pool:
        facts["fresh"] = len({pool.apply(os.getpid) for _ in range(3)})
    facts["by itself"] = Pool()._processes
    facts["cpus"] = distpool.cluster_resources()["CPU"]
    return facts


def remote(_folder: str) -> dict[str, Any]:
    @distpool.remote
    def double(x: int) -> int:
        return 2 * x

    @distpool.remote
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, x: int) -> int:
            self.count += x
            return self.count

    facts: dict[str, Any] = {"calls": distpool.get([double.remote(x) for x in range(50)])}
    facts["chained"] = distpool.get(double.remote(double.remote(distpool.put(3))))
    counter = Counter.remote()
    facts["actor"] = distpool.get([counter.add.remote(x) for x in range(4)])
    facts["nested"] = Pool(1).apply(nest)
    return facts


def nest() -> list[int]:
    with Pool(1) as pool:
        return pool.map(abs, [-1, -2])


def refusals(_folder: str) -> dict[str, Any]:
    def ask(**resources: float) -> str:
        with ProcessPoolExecutor(1, resources=resources) as executor:
            return error_of(executor.submit(abs, -1).result)

    return {"resources": ask(no_such_thing=2.0)}


def long(folder: str) -> dict[str, Any]:
    with Pool(2) as pool:
        began = time.monotonic()
        said = error_of(lambda: pool.map(touch_and_sleep, [folder] * 2, chunksize=1))
        return {"error": said, "after_s": time.monotonic() - began}


if __name__ == "__main__":
    if os.environ["DISTPOOL_ADDRESS"].startswith("here:"):
        here_cluster.register()
    scenario, folder = sys.argv[1:]
    print(json.dumps(globals()[scenario](folder)))
