"""Whole programs for the tests to run in a process of their own: each has a store of the size its environment says.

``run("name", *args)`` runs ``name(*args)`` of this module, and returns what it prints. A program checks what it can see
itself and raises; what only somebody outside can see (what is left of it) the caller checks.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distpool
from distpool.errors import DiskFull, DistpoolError, StoreFull
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.big import bodies, storage
from tests.processes import scene
from tests.processes.bodies import noted
from tests.processes.scene import wait_until

MB = 1 << 20


def source(name: str, *args: Any) -> str:
    """The code of a program that calls ``name(*args)``."""
    return (
        f"import json\nfrom tests.big import programs\nprograms.{name}(*json.loads({json.dumps(args)!r}))\n"
    )


def settings(**values: Any) -> dict[str, str]:
    """An environment: ``store_memory="64MB"``, ``spill_limit="1GB"``, ..."""
    quiet = {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}
    return quiet | {f"DISTPOOL_{name.upper()}": str(value) for name, value in values.items()}


def run(name: str, *args: Any, within_s: float = 60.0, **values: Any) -> str:
    """Run a program to its good end, with nothing left of it."""
    text = scene.run(source(name, *args), within_s=within_s, env=settings(**values))
    assert os.listdir(os.environ["DISTPOOL_SPILL_DIR"]) == []
    return text


def say(**facts: Any) -> None:
    """Tell the test something, as a line of JSON."""
    print(json.dumps(facts), flush=True)


def heard(text: str) -> dict[str, Any]:
    """What a program said last."""
    return json.loads(text.strip().splitlines()[-1])  # type: ignore[no-any-return]


@contextmanager
def opened(*args: Any, **kwargs: Any) -> Iterator[Any]:
    """A pool that is really gone afterwards."""
    with Pool(*args, **kwargs) as pool:
        yield pool
    pool.join()


def warmed_up() -> storage.Usage:
    """Start the session; what its store takes while there is nothing in it."""
    with opened(1) as pool:
        pool.apply(abs, (-1,))
    return storage.usage()


def expect(kind: type[BaseException], call: Callable[..., Any], *args: Any) -> str:
    """The text of what a call must raise."""
    try:
        call(*args)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised by {call}{args!r:.100}")


# ------------------------------------------------------------------------------ more than memory


def more_than_memory(total: int, size: int, live: int) -> None:
    """Put ``total`` bytes, ``live`` bytes of them at a time, and read all of it back, here and in workers."""
    before = warmed_up()
    memory_max = 0
    with opened(2) as pool:
        for start in range(0, total, live):
            keys = range(start // size, min(start + live, total) // size)
            references = [(distpool.put(bodies.pattern(key, size)), key) for key in keys]
            memory_max = max(memory_max, storage.usage().memory)
            chance = random.Random(start)
            chance.shuffle(references)
            half = len(references) // 2
            assert pool.starmap(bodies.get_and_check, references[:half], 1) == [True] * half
            for reference, key in references[half:]:
                assert bodies.write_over(distpool.get(reference), key), key
            for reference, key in references[:4]:  # once more, after others were brought back
                assert bodies.is_pattern(distpool.get(reference), key), key
            references.clear()
            del reference
    disk = storage.usage().disk
    gc.collect()
    storage.wait_given_back(before)
    say(memory_max=memory_max, disk=disk, spills=storage.spills())


def results_beyond_memory(count: int, size: int) -> None:
    """Results that nobody has taken yet, and arguments that wait, in all larger than the store's memory."""
    before = warmed_up()
    with opened(2) as pool:
        results = [pool.apply_async(bodies.make_pattern, (key, size)) for key in range(count)]
        for result in results:
            result.wait(60.0)
        arguments = [
            pool.apply_async(bodies.check_pair, (bodies.pattern(key, size), key)) for key in range(count)
        ]
        assert storage.usage().disk > before.disk, "not all of it is in memory"
        assert [bodies.is_pattern(result.get(), key) for key, result in enumerate(results)] == [True] * count
        results.clear()
        del result
        assert [argument.get(60.0) for argument in arguments] == [True] * count
    gc.collect()
    storage.wait_given_back(before)
    say(done=True)


def one_huge(size: int) -> None:
    """One array, as argument, as result and by put."""
    warmed_up()
    array = bodies.pattern(1, size)
    with opened(1) as pool:
        assert pool.apply(bodies.check_pair, (array, 1))
        del array
        array = pool.apply(bodies.make_pattern, (2, size))
        assert bodies.is_pattern(array, 2)
        array[-1] ^= 1  # the last page, where offsets are largest
        reference = distpool.put(array)
        assert pool.apply(bodies.last, (array,)) == array[-1]
        del array
        got = distpool.get(reference)
        got[-1] ^= 1
        assert bodies.is_pattern(got, 2)
        del got, reference
    gc.collect()
    storage.wait_empty()
    say(size=size)


# ------------------------------------------------------------------------------------ full stores


def _store_full(text: str) -> None:
    assert "DISTPOOL_STORE_MEMORY" in text, text
    assert "DISTPOOL_SPILL_LIMIT" in text, text


def full_store(size: int) -> None:
    """Everything that has no room fails by name, on that call; everything else goes on. 16 MB of memory, 16 of disk."""
    assert issubclass(StoreFull, MemoryError)
    before = warmed_up()
    too_big = bodies.pattern(1, size)
    text = "x" * size
    with opened(2) as pool, ProcessPoolExecutor(1) as executor:
        _store_full(expect(StoreFull, distpool.put, too_big))
        _store_full(expect(StoreFull, pool.apply, bodies.same, (too_big,)))
        _store_full(expect(StoreFull, pool.apply, bodies.same, ([text],)))
        _store_full(expect(StoreFull, pool.apply, bodies.make_of_size, (size,)))
        _store_full(expect(StoreFull, pool.map, len, [[text], "small"]))
        _store_full(expect(StoreFull, pool.map, bodies.make_of_size, [10, size, 10], 1))
        _store_full(str(executor.submit(bodies.first, too_big).exception()))
        assert isinstance(executor.submit(bodies.make_of_size, size).exception(), StoreFull)
        iterator = pool.imap(bodies.make_of_size, [100_000, size, 200_000])
        assert bodies.is_pattern(next(iterator), 1)
        _store_full(expect(StoreFull, next, iterator))
        assert bodies.is_pattern(next(iterator), 1)
        _store_full(expect(StoreFull, _open_with, too_big))
        _store_full(expect(StoreFull, pool.apply, lambda: bodies.first(too_big)))
        # And all of that took nothing away.
        array = bodies.pattern(3, 10 * MB)
        assert pool.apply(bodies.check_pair, (array, 3))
        assert executor.submit(bodies.check_pair, array, 3).result()
        assert bodies.is_pattern(pool.apply(bodies.make_pattern, (4, 10 * MB)), 4)
    gc.collect()
    storage.wait_empty()
    storage.wait_given_back(before)
    say(done=True)


def _open_with(array: Any) -> None:
    with opened(1, bodies.initialise, (array,)) as pool:
        pool.apply(abs, (1,))


def full_of_small_things(size: int) -> None:
    """Put until there is no room; what is there stays right, and what is let go makes room again."""
    warmed_up()
    references: list[Any] = []
    with opened(1) as pool:
        text = expect(StoreFull, _put_for_ever, references, size)
        _store_full(text)
        assert len(references) * size > 16 * MB, "both memory and disk were used"
        _store_full(expect(StoreFull, pool.apply, bodies.make_of_size, (size,)))
        for key, reference in enumerate(references):
            assert bodies.is_pattern(distpool.get(reference), key)
        del reference, references[:2]
        assert bodies.is_pattern(pool.apply(bodies.make_pattern, (9, size)), 9)
        _put_for_ever_again = expect(StoreFull, _put_for_ever, [], size)
        assert _put_for_ever_again
        references.clear()
        gc.collect()
        storage.wait_empty()
        assert len([distpool.put(bodies.pattern(1, size)) for _ in range(3)]) == 3
    say(done=True)


def _put_for_ever(references: list[Any], size: int) -> None:
    while True:
        references.append(distpool.put(bodies.pattern(len(references), size)))


def full_disk(size: int) -> None:
    """The spill file's disk has 8 MB, which the budget does not know; the store's memory has 16."""
    assert issubclass(DiskFull, OSError)
    warmed_up()
    with opened(1) as pool:
        references: list[Any] = []
        text = expect(DiskFull, _put_for_ever, references, size)
        assert "DISTPOOL_SPILL_DIR" in text, text
        assert len(references) * size >= 12 * MB, "memory was used"
        text = expect(DiskFull, pool.apply, bodies.make_of_size, (30 * MB,))
        assert "DISTPOOL_SPILL_DIR" in text, text
        expect(DiskFull, pool.apply, bodies.first, (bodies.pattern(1, 30 * MB),))
        for key, reference in enumerate(references):
            assert bodies.is_pattern(distpool.get(reference), key)
        references.clear()
        del reference
        gc.collect()
        assert bodies.is_pattern(pool.apply(bodies.make_pattern, (9, 10 * MB)), 9)
        assert pool.apply(bodies.check_pair, (bodies.pattern(9, 10 * MB), 9))
        assert isinstance(distpool.put(bodies.pattern(9, size)), distpool.ObjectRef)
    storage.wait_empty()
    say(done=True)


def complaint() -> None:
    """A setting that is no size."""
    try:
        warmed_up()
    except DistpoolError as error:
        say(text=str(error))


# -------------------------------------------------------------------------------------- containers


def there_and_back(size: int) -> None:
    """The same script wherever it runs: argument, result, map, put, set-up; prints what came of it."""
    array = bodies.pattern(1, size)
    digests = []
    with opened(2, bodies.initialise, (array,)) as pool:
        assert pool.apply(bodies.initial_is, (1,))
        assert pool.apply(bodies.write_over, (array, 1))
        results = pool.starmap(bodies.give_back_pair, [(array, key) for key in range(2)])
        digests += [bodies.digest(result) for result, _ in results]
        reference = distpool.put(array)
        digests.append(bodies.digest(distpool.get(reference)))
        assert pool.apply(bodies.get_and_check, (reference, 1))
    say(digests=digests)


# ---------------------------------------------------------------------------------- random lives


def random_life(steps: int, kills: int, seed: int) -> None:
    """Eight processes put, get, overwrite and drop at random, and workers are killed meanwhile; then all is gone.

    This one gives its own objects to the workers, takes theirs as results, and keeps some of those.
    """
    before = warmed_up()
    chance = random.Random(seed)
    kill_at = sorted(chance.sample(range(steps), kills))
    mine: dict[int, Any] = {}
    arrays: dict[int, Any] = {}
    pending: list[Any] = []
    done = killed = 0
    with opened(7, retries=10_000) as pool:
        while done < steps:
            if kill_at and done >= kill_at[0]:
                kill_at.pop(0)
                pids = [process.pid for process in pool._pool if process.pid]
                if pids:
                    _kill(chance.choice(pids))
                    killed += 1
            done += _one_step(chance, pool, mine, arrays, pending)
        while pending:
            _take(pending.pop(0), arrays, chance)
        for key, array in arrays.items():
            assert bodies.is_pattern(array, key), f"{key}, which was kept"
        arrays.clear()
        mine.clear()
        del array
    gc.collect()
    storage.wait_empty()
    storage.wait_given_back(before)
    say(steps=done, killed=killed, spills=storage.spills())


_TURN_STEPS = 8


def _one_step(
    chance: random.Random, pool: Any, mine: dict[int, Any], arrays: dict[int, Any], pending: list[Any]
) -> int:
    """One thing, or a turn of a worker, which is several; returns how many."""
    match chance.choice(["put", "get", "drop", "turn", "turn", "argument", "take", "take"]):
        case "put" if len(mine) < 16:
            key = chance.randrange(1 << 30)
            mine[key] = distpool.put(bodies.pattern(key, bodies.random_size(chance)))
        case "get" if mine:
            key = chance.choice(list(mine))
            assert bodies.write_over(distpool.get(mine[key]), key), f"{key}, of the driver"
        case "drop" if mine:
            del mine[chance.choice(list(mine))]
        case "turn" if len(pending) < 20:
            given = chance.sample(list(mine.items()), min(3, len(mine)))
            turn = (chance.randrange(1 << 30), _TURN_STEPS, given)
            pending.append(pool.apply_async(bodies.random_turn, turn))
            return _TURN_STEPS
        case "argument" if len(pending) < 20:
            key = chance.randrange(1 << 30)
            array = bodies.pattern(key, bodies.random_size(chance))
            pending.append((key, pool.apply_async(bodies.write_over, (array, key))))
        case _:
            if pending:
                _take(pending.pop(chance.randrange(len(pending))), arrays, chance)
    return 1


def _take(result: Any, arrays: dict[int, Any], chance: random.Random) -> None:
    """See to a result; some of the arrays are kept for a while."""
    if isinstance(result, tuple):
        key, result = result
        assert result.get(60.0), f"{key}, an argument"
        return
    wrong, key, array = result.get(60.0)
    assert not wrong, wrong
    assert bodies.is_pattern(array, key), f"{key}, a result"
    if chance.random() < 0.3:
        arrays[key] = array
    if len(arrays) > 8:
        key = chance.choice(list(arrays))
        assert bodies.write_over(arrays.pop(key), key), f"{key}, which was kept"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ------------------------------------------------------------------------------------------ deaths


def deaths_while_answering(size: int, count: int, seed: int) -> None:
    """Workers that die at random instants while they make, copy and tell of a big result."""
    before = warmed_up()
    chance = random.Random(seed)
    span_s = size / 2e9  # about what it takes to make, copy and send one
    with tempfile.TemporaryDirectory() as folder, opened(2, retries=3) as pool:
        for first in range(0, count, 2):
            pair = [
                pool.apply_async(
                    bodies.die_while_answering,
                    (size, key, chance.uniform(0.0001, span_s), f"{folder}/{key}", 1),
                )
                for key in (first, first + 1)
            ]
            for key, result in zip((first, first + 1), pair, strict=True):
                assert bodies.is_pattern(result.get(60.0), key)
                assert noted(f"{folder}/{key}") in (1, 2)
            pair.clear()
            del result
        died = sum(noted(f"{folder}/{key}") - 1 for key in range(count))
        assert pool.apply(bodies.answer_around_a_death, (size, 5, f"{folder}/pickled", 2))[1] == "alive"
        _still_good(pool, size)
    gc.collect()
    storage.wait_empty()
    storage.wait_given_back(before)
    say(died=died)


def deaths_while_reading(size: int, count: int, seed: int) -> None:
    """Workers that die while they read and write an argument that others read at the same time."""
    warmed_up()
    chance = random.Random(seed)
    array = bodies.pattern(1, size)
    reference = distpool.put(array)
    with tempfile.TemporaryDirectory() as folder, opened(3, retries=3) as pool:
        calls = [(array, 1, chance.uniform(0.0001, 0.02), f"{folder}/{n}", 1) for n in range(count)]
        deaths = pool.starmap_async(bodies.die_while_reading, calls, 1)
        others = [pool.apply_async(bodies.get_and_check, (reference, 1)) for _ in range(count)]
        assert deaths.get(60.0) == [True] * count
        assert [other.get(60.0) for other in others] == [True] * count
        runs = [noted(f"{folder}/{n}") for n in range(count)]
        assert runs == [2] * count, f"each died once, and was run again once: {runs}"
        assert bodies.is_pattern(array, 1)
        del array, reference, calls
        _still_good(pool, size)
    gc.collect()
    storage.wait_empty()
    say(done=True)


def _still_good(pool: Any, size: int) -> None:
    """The store has survived: big things go both ways."""
    array = bodies.pattern(77, size)
    assert pool.starmap(bodies.check_pair, [(array, 77)] * 4, 1) == [True] * 4
    assert bodies.is_pattern(pool.apply(bodies.make_pattern, (78, size)), 78)
    assert bodies.write_over(distpool.get(distpool.put(array)), 77)


def busy_driver(size: int, folder: str) -> None:
    """For somebody to kill: this process and its workers read and write big things for ever."""
    warmed_up()
    reference = distpool.put(bodies.pattern(1, size))
    pool = Pool(2)
    for n in range(2):
        pool.apply_async(bodies.busy_with_big_things, (size, f"{folder}/{n}"))
    wait_until(lambda: noted(f"{folder}/0") and noted(f"{folder}/1"), "both are busy")
    say(ready=True)
    while bodies.get_and_check(reference, 1):
        bodies.rounds_at_one_place(size, 5)


# ------------------------------------------------------------------------------------------- forks


def forked_driver(size: int) -> None:
    """Fork while results and references are at hand; parent and child both go on with them."""
    warmed_up()
    with opened(1) as pool:
        array = pool.apply(bodies.make_pattern, (1, size))
        got = distpool.get(distpool.put(bodies.pattern(2, size)))
        go_read, go_write = os.pipe()
        told_read, told_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child_of_driver([array, got], go_read, told_write)
        os.close(go_read)
        os.close(told_write)
        assert bodies.write_over(array, 1)
        del array  # the child has it still
        for key in range(10, 16):
            assert bodies.write_over(pool.apply(bodies.make_pattern, (key, size)), key)
            assert bodies.write_over(distpool.get(distpool.put(bodies.pattern(key, size))), key)
        os.write(go_write, b"g")
        os.close(go_write)
        with open(told_read, "rb") as told:
            verdict = told.read()
        assert os.waitpid(pid, 0)[1] == 0
        assert verdict == b"right right right", verdict
        assert bodies.is_pattern(got, 2), "what the child wrote is the child's"
        del got
        _still_good(pool, size)
    gc.collect()
    storage.wait_empty()
    say(done=True)


def _child_of_driver(arrays: list[Any], go: int, told: int) -> None:
    """Wait until the parent has used the store for other things, then look; and use a pool of one's own."""
    try:
        os.read(go, 1)
        words = ["right" if bodies.write_over(array, key) else "wrong" for key, array in enumerate(arrays, 1)]
        with opened(1) as pool:
            arrays[0][...] = bodies.pattern(5, len(arrays[0]))
            good = pool.apply(bodies.check_pair, (arrays[0], 5))
            good &= bodies.is_pattern(pool.apply(bodies.same, (arrays[0],)), 5)
            words.append("right" if good else "wrong")
        distpool.scheduler.client.shutdown()
        os.write(told, " ".join(words).encode())
    finally:
        if sys.exc_info()[1] is not None:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(0)


def forks_that_stay(size: int) -> None:
    """A child that lives on keeps what it may see, even after its parent let go; with the child's end it goes."""
    warmed_up()
    with opened(1) as pool:
        array = pool.apply(bodies.make_pattern, (1, size))
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(not bodies.is_pattern(array, 1))
        os.close(read)
        del array
        gc.collect()
        for key in range(10, 14):
            assert bodies.is_pattern(pool.apply(bodies.make_pattern, (key, size)), key)
        os.close(write)
        assert os.waitpid(pid, 0)[1] == 0
    storage.wait_empty()
    say(done=True)


def forked_worker(size: int, *, dies: bool = False) -> None:
    """A task forks with its argument at hand; the child looks at it after the worker has dropped and used the place."""
    warmed_up()
    with tempfile.TemporaryDirectory() as folder, opened(1) as pool:
        go, verdict = f"{folder}/go", f"{folder}/verdict"
        assert pool.apply(bodies.fork_and_keep_looking, (bodies.pattern(1, size), 1, go, verdict))
        if dies:
            worker = pool.apply(os.getpid)
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: pool.apply(os.getpid) != worker, "another worker has come")
        for key in range(10, 16):
            assert pool.apply(bodies.write_over, (bodies.pattern(key, size), key))
        assert pool.apply(bodies.rounds_at_one_place, (size, 5)) == 5
        Path(go).touch()
        wait_until(lambda: os.path.exists(verdict), "the child has looked")
        assert Path(verdict).read_text() == "right"
        if not dies:
            assert pool.apply(bodies.wait_for_child) == 0
        _still_good(pool, size)
    gc.collect()
    storage.wait_empty()
    say(done=True)


def forked_worker_that_dies(size: int) -> None:
    """As above, and the worker is killed: its child needs what it sees all the same, and with its end that is free."""
    forked_worker(size, dies=True)


# ------------------------------------------------------------------------------------ many of them


def many_live_arrays(count: int, size: int) -> None:
    """They cost no descriptors, in whoever has them."""
    warmed_up()
    with opened(1) as pool:
        before = storage.descriptors()
        arrays = pool.starmap(bodies.make_pattern, [(key, size) for key in range(count)])
        results = storage.descriptors()
        references = [distpool.put(array) for array in arrays]
        assert [bodies.is_pattern(array, key) for key, array in enumerate(arrays)] == [True] * count
        objects = len(storage.lying_there())
        arrays.clear()
        arrays = distpool.get(references)
        gets = storage.descriptors()
        worker = pool.starmap(bodies.keep_many, enumerate(arrays), 1)
        arrays.clear()
        references.clear()
        gc.collect()
        pool.apply(bodies.forget)
        storage.wait_empty()
    say(
        before=before,
        results=results,
        gets=gets,
        worker_first=min(worker),
        worker_last=max(worker),
        objects=objects,
    )


def many_closures(count: int, size: int) -> None:
    """Functions that come and go, each with a big array of its own, in a pool that stays."""
    before = warmed_up()
    executor = ProcessPoolExecutor(1)
    with storage.Watch() as watch:
        for key in range(count):
            array = bodies.pattern(key, size)
            assert executor.submit(lambda a=array, k=key: bodies.is_pattern(a, k)).result()
    del array
    executor.shutdown()
    gc.collect()
    storage.wait_empty()  # although ``executor`` is still there
    say(peak=watch.peak - before.memory)


def many_readers(workers: int, size: int) -> None:
    """Workers that read one array at the same time share its memory."""
    warmed_up()
    reference = distpool.put(bodies.pattern(1, size))
    with tempfile.TemporaryDirectory() as folder, opened(workers) as pool:
        before = storage.usage().memory
        calls = [(reference, folder, name, workers) for name in range(workers)]
        private = pool.starmap(bodies.private_bytes_of_reading, calls, 1)
        say(private=private, more=storage.usage().memory - before)
