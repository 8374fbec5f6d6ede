"""Ways in which many tasks share one array, and what that costs the store.

Each way is a function of the array and of how many tasks; it gives what each task found of what it looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import distpool
from distpool.futures import ProcessPoolExecutor
from tests.big import bodies
from tests.big.programs import opened


def _captured(array: Any, tasks: int) -> list[bool]:
    def is_right(number: int) -> bool:
        return _seems_right(array, number)

    with opened(2) as pool:
        return pool.map(is_right, range(tasks), 5)


def _captured_by_submit(array: Any, tasks: int) -> list[bool]:
    def is_right(number: int) -> bool:
        return _seems_right(array, number)

    with ProcessPoolExecutor(2) as executor:
        return [future.result() for future in [executor.submit(is_right, n) for n in range(tasks)]]


def _captured_global(array: Any, tasks: int) -> list[bool]:
    """As a script does it, whose own globals no worker can import."""
    main = sys.modules["__main__"].__dict__
    main["array"], main["seems_right"] = array, _seems_right
    exec("def task(number):\n    return seems_right(array, number)\n", main)
    try:
        with opened(2) as pool:
            return pool.map(main["task"], range(tasks), 5)
    finally:
        del main["array"], main["task"]


def _partial(array: Any, tasks: int) -> list[bool]:
    with opened(2) as pool:
        return pool.map(partial(_seems_right, array), range(tasks), 5)


def _initargs(array: Any, tasks: int) -> list[bool]:
    with opened(2, bodies.initialise, (array,)) as pool:
        return pool.map(_kept_seems_right, range(tasks), 5)


def _one_map(array: Any, tasks: int) -> list[bool]:
    with opened(2) as pool:
        return pool.starmap(_seems_right, [(array, n) for n in range(tasks)], 5)


def _one_map_in_single_calls(array: Any, tasks: int) -> list[bool]:
    with opened(2) as pool:
        return pool.starmap(_seems_right, [(array, n) for n in range(tasks)], 1)


def _executor_map(array: Any, tasks: int) -> list[bool]:
    with ProcessPoolExecutor(2) as executor:
        return list(executor.map(_seems_right, [array] * tasks, range(tasks), chunksize=5))


def _put(array: Any, tasks: int) -> list[bool]:
    reference = distpool.put(array)
    with opened(2) as pool:
        return [result.get() for result in [pool.apply_async(_gets, (reference, n)) for n in range(tasks)]]


def _put_in_one_map(array: Any, tasks: int) -> list[bool]:
    reference = distpool.put(array)
    with opened(2) as pool:
        return pool.starmap(_gets, [(reference, n) for n in range(tasks)], 5)


WAYS: dict[str, Callable[[Any, int], list[bool]]] = {
    "captured in a map": _captured,
    "captured in submits": _captured_by_submit,
    "captured global": _captured_global,
    "partial": _partial,
    "initargs": _initargs,
    "one map": _one_map,
    "one map in single calls": _one_map_in_single_calls,
    "executor.map": _executor_map,
    "put": _put,
    "put in one map": _put_in_one_map,
}


def _seems_right(array: Any, number: int) -> bool:
    """A look at one place only: there are many tasks."""
    return bodies.part_is_right(array, 1, number * 4096 % (len(array) - 100))


def _kept_seems_right(number: int) -> bool:
    return _seems_right(bodies.kept["initial"], number)


def _gets(reference: Any, number: int) -> bool:
    return _seems_right(distpool.get(reference), number)
