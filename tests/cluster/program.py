"""A program for one machine. Prints, as JSON, what it has found out; a file's end may make it wait."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from typing import Any

import distpool
from distpool.scheduler.node_identity import current_node


def work(number: int, seconds: float = 0.0) -> tuple[int, str]:
    time.sleep(seconds)
    return number * number, current_node()


def spread(count: int) -> None:
    """A map over as many workers as there are CPUs, none of which knows the secret."""
    with distpool.Pool() as pool:
        size = len(pool._pool)  # all of them are there then
        assert pool.map(os.environ.get, ["DISTPOOL_SECRET"] * 20, 1) == [None] * 20
        results = pool.starmap(work, [(number, 0.02) for number in range(count)], 1)
    assert [value for value, _ in results] == [number * number for number in range(count)]
    print(json.dumps({"workers": size, "nodes": Counter(node for _, node in results)}))


def long(count: int, seconds: float) -> None:
    """As many futures at once; says when both nodes have answered, and at the end how often each future was."""
    from distpool.futures import ProcessPoolExecutor, as_completed

    answers: Counter[int] = Counter()
    nodes: Counter[str] = Counter()
    begun = False
    with ProcessPoolExecutor() as executor:
        futures = {executor.submit(work, number, seconds): number for number in range(count)}
        for future in futures:
            future.add_done_callback(lambda done: answers.update([futures[done]]))
        for future in as_completed(futures):
            value, node = future.result()
            assert value == futures[future] ** 2
            nodes[node] += 1
            if len(nodes) == 2 and not begun:
                begun = True
                print("begun", flush=True)
    print(json.dumps({"answers": sorted(answers.values()), "nodes": nodes}))


def idle() -> None:
    """Workers that have had their work."""
    with distpool.Pool(4) as pool:
        pool.map(work, range(100), 1)
        print("idle", flush=True)
        time.sleep(1000)


def remote() -> None:
    """Tasks, tasks of tasks, an actor, a big array: by Ray's names."""
    import numpy as np

    @distpool.remote
    def plus(a: int, b: int) -> int:
        return a + b

    @distpool.remote
    def tree(depth: int) -> int:
        return 1 if not depth else sum(distpool.get([tree.remote(depth - 1) for _ in range(2)]))

    @distpool.remote
    class Counting:
        def __init__(self) -> None:
            self.count = 0

        def add(self, array: object) -> float:
            self.count += 1
            return self.count + float(np.sum(array))  # type: ignore[call-overload]

    distpool.init("auto" if os.environ.get("AUTO") else None)
    counting = Counting.remote()
    array = np.ones(1_000_000)
    print(
        json.dumps(
            {
                "sum": distpool.get(plus.remote(plus.remote(1, 2), plus.remote(3, 4))),
                "tree": distpool.get(tree.remote(3)),
                "calls": distpool.get([counting.add.remote(array) for _ in range(3)]),
                "cpus": distpool.cluster_resources()["CPU"],
                "address": distpool.init(ignore_reinit_error=True)["node_id"] != "",
            }
        )
    )
    distpool.shutdown()


def _line_bytes() -> tuple[int, int]:
    """How many bytes this host has received and sent by its line."""
    with open("/proc/net/dev") as file:
        fields = [line.split() for line in file if ":" in line and not line.lstrip().startswith("lo:")]
    return sum(int(row[1]) for row in fields), sum(int(row[9]) for row in fields)


def objects() -> None:
    """What crosses this program's line when many tasks share an array, and when results are passed on."""
    import gc

    import numpy as np

    from distpool.scheduler.serialize import stored

    def on(node: str) -> Any:
        return distpool.remote(resources={f"node:{node}": 0.001})

    @distpool.remote
    def total(array: Any, seed: int) -> float:
        array += seed  # its own copy
        return float(array.sum())

    def make(seed: int) -> Any:
        return np.full(2_500_000, float(seed))

    def plus(left: Any, right: Any) -> Any:
        return left + right

    def held() -> int:
        facts = stored.current().ledger.facts()  # type: ignore[union-attr]
        return sum(
            known.extent.bytes > 10_000_000 for known in facts
        )  # not what the pools keep for their workers

    facts: dict[str, object] = {}
    mib = 1 << 20
    array = np.ones(2_500_000)  # 20 MB
    before = _line_bytes()
    shared = distpool.put(array)
    sums = distpool.get([total.remote(shared, seed) for seed in range(20)])
    facts["sums"] = sums == [2_500_000.0 * (seed + 1) for seed in range(20)]
    with distpool.Pool() as pool:
        facts["map"] = pool.map(lambda number: float(array[number]), range(40), 1) == [1.0] * 40
    received, sent = (now - then for now, then in zip(_line_bytes(), before, strict=True))
    facts["sent_arrays"] = round(sent / array.nbytes, 1)
    facts["received_mib"] = received // mib

    before = _line_bytes()
    made = [on(node)(make).remote(seed) for seed, node in enumerate(["a", "b", "a", "b"])]
    both = [on(node)(plus).remote(made[0], made[1]) for node in "ab"]
    for _ in range(3):
        both = [on("ab"[place])(plus).remote(both[0], both[1]) for place in range(2)]
    distpool.wait(both, num_returns=2, fetch_local=False)
    received, _ = (now - then for now, then in zip(_line_bytes(), before, strict=True))
    facts["passed_on_mib"] = received // mib
    facts["value"] = distpool.get(both[1])[7]
    facts["nested"] = distpool.get(on("b")(lambda refs: float(distpool.get(refs[1])[0])).remote(made))
    del shared, made, both
    gc.collect()
    until = time.monotonic() + 20
    while (left := [distpool.get(on(node)(held).remote()) for node in "ab"]) != [0, 0]:
        assert time.monotonic() < until, f"in the stores are still {left} objects"
        time.sleep(0.2)
    print(json.dumps(facts))


def wait_for_file(path: str) -> None:
    until_s = time.monotonic() + 60
    while not os.path.exists(path):
        assert time.monotonic() < until_s, f"{path} never came"
        time.sleep(0.01)


def talk(go: str) -> None:
    """Calls that print and wait for a file, one more than there are CPUs left by an actor that has printed."""

    @distpool.remote
    class Talker:
        def __init__(self) -> None:
            print("an actor's first words")
            print("an actor's last words")

        def ready(self) -> None:
            pass

    @distpool.remote(name="talk")
    def talk() -> None:
        print("first words")
        print("to stderr", file=sys.stderr)
        wait_for_file(go)
        print("last words")

    talker = Talker.options(num_cpus=1).remote()
    distpool.get(talker.ready.remote())
    refs = [talk.remote() for _ in range(4)]
    from distpool.util import state

    while sum(task.state == "RUNNING" for task in state.list_tasks(filters=[("name", "=", "talk")])) < 3:
        time.sleep(0.05)
    print("begun", flush=True)
    distpool.get(refs)
    distpool.shutdown()


def prints(count: int, go: str = "") -> None:
    """Calls of four workers print so many lines, print to stderr, log and have a child print; then a worker dies."""
    import logging
    import subprocess

    logging.basicConfig(level=logging.INFO, format="log %(message)s", stream=sys.stdout)

    def task(number: int) -> str:
        time.sleep(0.1)
        for line in range(count):
            print(f"call {number} line {line}")
        print(f"call {number} to stderr", file=sys.stderr)
        logging.info("call %d", number)
        subprocess.run(["sh", "-c", f"echo call {number} child"], check=True)
        return current_node()

    def die() -> None:
        print("last words")
        os.kill(os.getpid(), 9)

    with distpool.Pool(4, retries=0) as pool:
        pool.map(os.environ.get, ["HOME"] * 8, 1)
        if go:
            print("begun", flush=True)
            wait_for_file(go)
        nodes = pool.map(task, range(8), 1)
        try:
            pool.apply(die)
        except distpool.errors.WorkerDied as error:
            print(type(error).__name__)
    print(json.dumps(nodes))


def peers() -> None:
    """Workers and the program have to do with each other directly, wherever they are."""

    def on(node: str) -> Any:
        return distpool.remote(resources={f"node:{node}": 0.001})

    class Counting:
        def __init__(self) -> None:
            self.count = 0

        def add(self, by: int) -> int:
            self.count += by
            return self.count

        def where(self) -> str:
            return current_node()

    def add(counting: Any, by: int) -> int:
        return int(distpool.get(counting.add.remote(by)))

    def slow(value: int) -> int:
        time.sleep(0.3)
        return value

    def start(node: str, value: int) -> list[Any]:
        return [on(node)(slow).remote(value)]

    def total(refs: list[Any]) -> int:
        return sum(distpool.get(refs))

    facts: dict[str, object] = {}
    counting = on("b")(Counting).remote()
    facts["actor"] = distpool.get(counting.where.remote())
    facts["by_others"] = sorted(distpool.get([on(node)(add).remote(counting, 1) for node in "aabb"]))
    facts["here"] = distpool.get(counting.add.remote(1))
    named = on("a")(Counting).options(name="of all").remote()
    distpool.get(named.add.remote(10))
    facts["by_name"] = distpool.get(on("b")(lambda: add(distpool.get_actor("of all"), 1)).remote())
    pending = on("a")(slow).remote(7)
    facts["pending"] = distpool.get(on("b")(total).remote([pending, pending]))
    facts["started_there"] = [
        distpool.get(distpool.get(on(first)(start).remote(second, 3)))[0] for first in "ab" for second in "ab"
    ]
    passed_on = on("b")(start).remote("a", 5)
    facts["passed_on"] = distpool.get(on("a")(lambda refs: total(refs)).remote(passed_on))
    try:
        distpool.get(
            distpool.get(
                on("b")(lambda: [on("a")(lambda: os._exit(1)).options(max_retries=0).remote()]).remote()
            )
        )
    except distpool.exceptions.WorkerCrashedError as error:
        facts["death"] = type(error).__name__
    print(json.dumps(facts))
    distpool.shutdown()


def callers() -> None:
    """Callers on node a of an actor on node b, whose machine is switched off."""

    def on(node: str) -> Any:
        return distpool.remote(resources={f"node:{node}": 0.001})

    class Echo:
        def echo(self, value: int) -> int:
            return value

    def call(echo: Any) -> str:
        for number in range(1_000_000):
            try:
                assert distpool.get(echo.echo.remote(number)) == number
            except distpool.exceptions.ActorUnavailableError:
                time.sleep(0.05)  # the call under way as the line went; the next one may know more
            except distpool.exceptions.RayActorError as error:
                return type(error).__name__
        return "it went on"

    def value_of(refs: Any) -> str:
        try:
            distpool.get(refs[0])
        except distpool.exceptions.RayError as error:
            return type(error).__name__
        return "it came"

    echo = on("b")(Echo).remote()
    distpool.get(echo.echo.remote(1))
    calling = on("a")(call).remote(echo)
    waits = on("b")(lambda: [on("b")(time.sleep).remote(1000)]).remote()
    waiting = on("a")(value_of).remote(distpool.get(waits))
    print("begun", flush=True)
    print(json.dumps({"calling": distpool.get(calling), "waiting": distpool.get(waiting)}))
    distpool.shutdown()


def modules(folder: str) -> None:
    """A module and a folder of this program's own, in a place that no other machine sees."""
    import ctypes
    import importlib
    from pathlib import Path

    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, recursive, private = 0x20000, 0x4000, 1 << 18
    assert libc.unshare(new_mounts) == 0
    assert libc.mount(b"none", b"/", None, recursive | private, None) == 0
    assert libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, None) == 0
    Path(folder, "own_package").mkdir()
    Path(folder, "own_package", "__init__.py").write_text("from own_package.inner import squared\n")
    Path(folder, "own_package", "inner.py").write_text("def squared(value):\n    return value * value\n")
    Path(folder, "data").mkdir()
    Path(folder, "data", "words").write_text("to be read")
    sys.path.insert(0, folder)
    own = importlib.import_module("own_package")

    def on(node: str, **options: Any) -> Any:
        return distpool.remote(resources={f"node:{node}": 0.001}, **options)

    facts: dict[str, object] = {}
    with distpool.Pool() as pool:
        facts["pool"] = pool.map(own.squared, range(4), 1)
    facts["remote"] = [distpool.get(on(node)(own.squared).remote(3)) for node in "ab"]
    environment = {"working_dir": f"{folder}/data"}
    facts["working_dir"] = [
        distpool.get(on(node, runtime_env=environment)(lambda: Path("words").read_text()).remote())
        for node in "ab"
    ]
    print(json.dumps(facts))
    distpool.shutdown()


def keep(path: str) -> None:
    """A big value that was made on the node with "only_here", and is looked at when that has gone."""
    import numpy as np

    @distpool.remote(max_retries=0, resources={"only_here": 1})
    def make() -> object:
        return np.arange(1_000_000)

    distpool.init()
    made = make.remote()
    distpool.wait([made], fetch_local=False)
    print("begun", flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)
    print(json.dumps({"sum": int(np.sum(distpool.get(made)))}))  # type: ignore[call-overload]
    distpool.shutdown()


PROGRAMS = {
    "callers": callers,
    "modules": modules,
    "keep": keep,
    "objects": objects,
    "peers": peers,
    "spread": lambda count, times="1": [spread(int(count)) for _ in range(int(times))],
    "long": lambda count, seconds: long(int(count), float(seconds)),
    "idle": idle,
    "talk": talk,
    "prints": lambda count, go="": prints(int(count), go),
    "remote": remote,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
