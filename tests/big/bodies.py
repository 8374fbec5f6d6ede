"""What the tests of big objects have their workers do: make contents that can be told apart, check, write, keep, die.

``pattern(key, size)`` is the content of everything here: no two pages of it are alike, nor two of different keys.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import random
import select
import signal
from multiprocessing import parent_process
from typing import Any

import numpy as np

import distpool
from distpool.pool import Pool
from distpool.scheduler.serialize import STORED_BYTES_MIN
from tests.processes.bodies import meet, note

_TILE_BYTES = 65_521  # a prime: pages and tiles never meet again
_STEP_BYTES = _TILE_BYTES * 512

#: What a worker keeps from one task to the next.
kept: dict[Any, Any] = {}


def pattern(key: int, size: int) -> np.ndarray:
    """``size`` bytes that only this key has."""
    return np.resize(_tile(key), size)


def is_pattern(array: Any, key: int) -> bool:
    """Whether this is ``pattern(key, ...)``, looked at piece by piece, so that it takes no memory."""
    data = np.asarray(array).reshape(-1).view(np.uint8)
    whole = np.resize(_tile(key), min(_STEP_BYTES, data.nbytes))
    for start in range(0, data.nbytes, _STEP_BYTES):
        piece = data[start : start + _STEP_BYTES]
        if not np.array_equal(piece, whole[: piece.nbytes]):
            return False
    return True


def part_is_right(array: Any, key: int, at: int, size: int = 100) -> bool:
    """Whether ``size`` bytes of a pattern are right."""
    expected = np.take(_tile(key), np.arange(at, at + size) % _TILE_BYTES)
    return bool(np.array_equal(array[at : at + size], expected))


@functools.lru_cache(64)
def _tile(key: int) -> np.ndarray:
    return np.random.default_rng(key).integers(0, 256, _TILE_BYTES, dtype=np.uint8)


def digest(array: Any) -> str:
    return hashlib.blake2b(memoryview(array).cast("B"), digest_size=8).hexdigest()


# ------------------------------------------------------------------------------------ plain work


def same(value: Any) -> Any:
    return value


def first(array: Any, *_: Any) -> int:
    return int(array.flat[0])


def last(array: Any, *_: Any) -> int:
    return int(array.flat[-1])


def first_and_last(array: Any, *_: Any) -> tuple[int, int]:
    return first(array), last(array)


def wait_for_file(path: str, value: Any = None) -> Any:
    """Stand in the way of others until the file is there."""
    for _ in range(20_000):
        if os.path.exists(path):
            return value
        select.select([], [], [], 0.002)
    raise TimeoutError(path)


def write_over(array: Any, key: int) -> bool:
    """Whether it was right when it came; it is overwritten, which nobody else must see."""
    was_right = is_pattern(array, key)
    array[...] = 0xAA
    return was_right and bool((array == 0xAA).all())


def write_one_read_other(one: Any, other: Any) -> int:
    one[...] = 0xAA
    return first(other)


def are_one(one: Any, other: Any) -> bool:
    return one is other


def is_writeable(array: Any) -> bool:
    return bool(array.flags.writeable)


def get_and_write_over(reference: Any, key: int) -> bool:
    return write_over(distpool.get(reference), key)


def get_and_check(reference: Any, key: int) -> bool:
    return is_pattern(distpool.get(reference), key)


def rounds_at_one_place(size: int, rounds: int) -> int:
    """Write to what was got, free it, put another, read; returns how many rounds were right."""
    right = 0
    for key in range(rounds):
        reference = distpool.put(pattern(key, size))
        array = distpool.get(reference)
        if not is_pattern(array, key):
            break
        array[...] = 0xAA
        del array, reference
        right += 1
    return right


def _by_numpy(array: Any) -> None:
    array[len(array) // 2] ^= 1


def _at_the_very_end(array: Any) -> None:
    array[-1] ^= 1


def _by_memoryview(array: Any) -> None:
    memoryview(array)[:3] = b"abc"


def _by_address(array: Any) -> None:
    ctypes.memset(array.ctypes.data + 5000, 0xAA, 5000)


def _by_the_kernel(array: Any) -> None:
    """What no instruction of this process writes: a read from a file straight into the array."""
    with open("/dev/zero", "rb", buffering=0) as file:
        assert file.readinto(memoryview(array)[4096:12288]) == 8192


def _by_a_part_that_stays(array: Any) -> None:
    kept["part"] = array[:10]
    kept["part"][...] = 0xAA


MANNERS_OF_WRITING = {
    manner.__name__.strip("_").replace("_", " "): manner
    for manner in (
        _by_numpy,
        _at_the_very_end,
        _by_memoryview,
        _by_address,
        _by_the_kernel,
        _by_a_part_that_stays,
    )
}


def write_drop_get_again(reference: Any, key: int, manner: str, rounds: int) -> int:
    """Get, write, let go, get: each time it must be as it was put. Returns how many rounds were right."""
    for right in range(rounds):
        array = distpool.get(reference)
        if not is_pattern(array, key):
            return right
        MANNERS_OF_WRITING[manner](array)
        if is_pattern(array, key):
            return -1  # this test's own fault
        del array
    return rounds


def check_then_write(array: Any, key: int, manner: str) -> bool:
    was_right = is_pattern(array, key)
    MANNERS_OF_WRITING[manner](array)
    return was_right


# --------------------------------------------------------------------------- views, and their life


def keep(name: Any, value: Any) -> None:
    kept[name] = value


def keep_slices(name: Any, array: Any) -> None:
    """Only parts of it: the array itself goes with the task."""
    kept[name] = [array[100:200], array[::-4096], memoryview(array)[-50:]]


def slices_are_right(name: Any, key: int, size: int) -> list[bool]:
    whole = pattern(key, size)
    head, pages, tail = kept[name]
    return [
        np.array_equal(head, whole[100:200]),
        np.array_equal(pages, whole[::-4096]),
        bytes(tail) == whole[-50:].tobytes(),
    ]


def kept_is_pattern(name: Any, key: int) -> bool:
    return is_pattern(kept[name], key)


def take_kept(name: Any) -> Any:
    return kept[name]


def forget() -> None:
    kept.clear()


def views_of(array: Any) -> dict[str, Any]:
    """Results made of the argument: itself, a part, every second byte, a transposed view."""
    return {
        "same": array,
        "part": array[4096:-4096],
        "strided": array[::2],
        "turned": array[: len(array) // 2 * 2].reshape(2, -1).T,
    }


def pass_on(array: Any, key: int) -> list[bool]:
    """Give views of an argument to workers of one's own."""
    with Pool(1) as pool:
        whole = pool.apply(is_pattern, (array, key))
        part = pool.apply(np.array_equal, (array[5000:], pattern(key, len(array))[5000:]))
        back = pool.apply(same, (array[:-1],))
    pool.join()
    return [whole, part, is_pattern(back, key)]


# ------------------------------------------------------------------------------------- arrivals


class CarriesArray(Exception):
    """One array among its arguments, another as an attribute."""

    def __init__(self, text: str, array: Any) -> None:
        super().__init__(text, array)
        self.text = text
        self.array = array


def raise_with(array: Any) -> None:
    error = CarriesArray("with an array", array[::-1].copy())
    error.more = {"array": array}  # type: ignore[attr-defined]
    raise error


def initialise(array: Any, *, name: str = "initial") -> None:
    kept[name] = array


def initial_is(key: int, *_: Any, name: str = "initial") -> bool:
    return is_pattern(kept[name], key)


def by_keyword(*, array: Any, key: int) -> bool:
    return is_pattern(array, key)


def check_pair(array: Any, key: int) -> bool:
    return is_pattern(array, key)


def give_back_pair(array: Any, key: int) -> tuple[Any, int]:
    return array, key


def make_pattern(key: int, size: int) -> Any:
    return pattern(key, size)


def make_of_size(size: int) -> Any:
    return pattern(1, size)


def keep_many(count: int, array: Any) -> int:
    """Keep one more; how many descriptors this worker has now."""
    kept[count] = array
    return len(os.listdir("/proc/self/fd"))


def private_bytes_of_reading(reference: Any, folder: str, name: int, of: int) -> int:
    """Read all of what is referred to, together with the others; how much more memory this process alone has then."""
    before = _private_bytes()
    array = distpool.get(reference)
    checksum = int(array.sum(dtype=np.int64))
    assert meet(folder, name, of), "the others did not come"
    return _private_bytes() - before if checksum else -1


def _private_bytes() -> int:
    """Anonymous pages: copies of a file's pages count, the file's own do not, even if nobody else maps them."""
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) << 10


# ---------------------------------------------------------------------------------- random lives


def random_turn(seed: int, steps: int, given: list[tuple[int, Any]]) -> tuple[list[str], int, Any]:
    """Put, get, drop and overwrite at random, what was given and what this worker has; returns what was wrong."""
    chance = random.Random(seed)
    mine: dict[int, Any] = kept.setdefault("mine", {})
    wrong = []
    for _ in range(steps):
        what = chance.choice(["put", "put", "get", "get", "given", "given", "drop"])
        if what == "put" and len(mine) < 4:
            key = chance.randrange(1 << 30)
            mine[key] = distpool.put(pattern(key, random_size(chance)))
        elif what == "get" and mine:
            key = chance.choice(list(mine))
            if not write_over(distpool.get(mine[key]), key):
                wrong.append(f"{key}, of this worker")
        elif what == "given" and given:
            key, reference = chance.choice(given)
            if not write_over(distpool.get(reference), key):
                wrong.append(f"{key}, given")
        elif mine:
            del mine[chance.choice(list(mine))]
    key = chance.randrange(1 << 30)
    return wrong, key, pattern(key, random_size(chance))


def random_size(chance: random.Random) -> int:
    """Around the least that is an object of its own, smaller and odd ones, and some megabytes."""
    around = [STORED_BYTES_MIN - 1, STORED_BYTES_MIN, STORED_BYTES_MIN + 1]
    return chance.choice(
        [*around, 65_536, 100_001, 1 << 20, (1 << 20) + 1, chance.randrange(1 << 16, 3 << 20)]
    )


# --------------------------------------------------------------------------------------- deaths


def die_after(delay_s: float, path: str, times: int) -> bool:
    """The first ``times`` times, have the kernel end this process then, in whatever it is; whether it will."""
    assert parent_process() is not None, "the tests' own process is not to be killed"
    doomed = note(path) <= times
    if doomed:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # by the kernel, so in the middle of a copy as well
        signal.setitimer(signal.ITIMER_REAL, delay_s)
    return doomed


def die_while_answering(size: int, key: int, delay_s: float, path: str, times: int) -> Any:
    """A big result, and a death at some instant of its being made, pickled, copied, told of."""
    array = pattern(key, size)
    die_after(delay_s, path, times)
    return array


def die_while_reading(array: Any, key: int, delay_s: float, path: str, times: int) -> bool:
    """A death while the argument is read, and written to."""
    doomed = die_after(delay_s, path, times)
    while doomed:
        array[...] = array[::-1]
    return is_pattern(array, key)


class DiesWhenPickled:
    """After what stands before it, and before what stands behind."""

    def __init__(self, path: str, times: int) -> None:
        self.how = (path, times)

    def __reduce__(self) -> Any:
        path, times = self.how
        if note(path) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return str, ("alive",)


def answer_around_a_death(size: int, key: int, path: str, times: int) -> list[Any]:
    return [pattern(key, size), DiesWhenPickled(path, times), pattern(key, size)]


def busy_with_big_things(size: int, path: str) -> None:
    """Read, write, put and get for ever; ``path`` tells that it began."""
    note(path)
    while True:
        rounds_at_one_place(size, 5)


# ---------------------------------------------------------------------------------------- forks


def fork_and_keep_looking(array: Any, key: int, go: str, verdict: str) -> bool:
    """Fork with an argument at hand. The child waits for ``go``, then says whether its bytes are still right."""
    pid = os.fork()
    if pid == 0:
        try:
            wait_for_file(go)
            right = write_over(array, key)
            with open(verdict + ".new", "w") as file:
                file.write("right" if right else "wrong")
            os.rename(verdict + ".new", verdict)
        finally:
            os._exit(0)
    kept["child"] = pid
    return is_pattern(array, key)


def wait_for_child() -> int:
    """Reap it; its exit status."""
    return os.waitpid(kept.pop("child"), 0)[1]
