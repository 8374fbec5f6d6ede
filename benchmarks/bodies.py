"""The task bodies that every library runs, fixed before any tuning.

A module of their own, importable in every worker, so that no library pays for shipping code by value and
none can be given an easier task than another. Those that work on arrays and frames import what they need when
they are called: rows without data run where there is no numpy.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

ONE_MILLISECOND_S = 0.001


def null_task(argument: T) -> T:
    """The empty task: give the argument back."""
    return argument


def spin_one_millisecond(argument: T) -> T:
    """Keep a core busy for one millisecond of wall-clock time, then give the argument back."""
    end = time.perf_counter() + ONE_MILLISECOND_S
    while time.perf_counter() < end:
        pass
    return argument


def process_id(_argument: object) -> int:
    """The worker's process id, after a millisecond: long enough for the other workers to take a share."""
    spin_one_millisecond(None)
    return os.getpid()


def numbers(count: int) -> Iterator[int]:
    """0, 1, ... count - 1 as a generator: an iterable without a length."""
    yield from range(count)


# ---------------------------------------------------------------- arrays

WORD_BYTES = 8
PAGE_WORDS = 4096 // WORD_BYTES
HOLD_S = 2.0

# What a task keeps in its worker between calls.
_initial: list[Any] = []
_kept: dict[Any, Any] = {}


def random_words(size_bytes: int, seed: int) -> Any:
    """A numpy array of random 64-bit words; every process makes the same of one seed."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, 2**64, size_bytes // WORD_BYTES, dtype=np.uint64)


def sum_first_words(array: Any) -> int:
    """The sum, modulo 2**64, of the first word of every page: reads little, but of each page something."""
    return int(array[::PAGE_WORDS].sum())


def copy_and_return(request: tuple[int, int]) -> Any:
    """Copy into an array that the worker already has, and return that array.

    `request` is (size in bytes, token). Words 0 and 1 of the result tell how long the copy took, in
    nanoseconds, and the token; the others are those of `random_words(size, seed=0)`.
    """
    size_bytes, token = request
    if size_bytes not in _kept:
        source = random_words(size_bytes, seed=0)
        _kept[size_bytes] = (source, source.copy())
    source, target = _kept[size_bytes]
    start_ns = time.perf_counter_ns()
    target[:] = source
    target[0] = time.perf_counter_ns() - start_ns
    target[1] = token
    return target


def keep_array(array: Any) -> None:
    """Keep an array in this worker: an initializer."""
    _initial[:] = [array]


def sum_kept_array(_argument: object) -> int:
    """`sum_first_words` of what the initializer kept."""
    return sum_first_words(_initial[0])


def through_get(request: tuple[Callable[[Any], T], Any]) -> T:
    """Call a function with what a reference of distpool's refers to; `request` is (function, reference)."""
    import distpool

    function, reference = request
    return function(distpool.get(reference))


def read_and_hold(array: Any) -> tuple[int, int]:
    """Read every page, then hold the array for a while; give the process id and the sum."""
    total = sum_first_words(array)
    time.sleep(HOLD_S)
    return os.getpid(), total


def length(argument: bytes) -> int:
    """How many bytes the argument has."""
    return len(argument)


# ---------------------------------------------------------------- frames

FRAME_ROWS = 1_000_000
FRAME_COLUMNS = 10
# Strings are drawn from so many: making ten million different ones would take longer than the measurement.
_STRINGS = 100_000
# One row in so many is looked at: of a column of 64-bit numbers, one on each page.
_ROW_STEP = PAGE_WORDS


def number_table() -> Any:
    """An Arrow table of random floats, the same in every process."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(0)
    return pa.table({f"n{column}": random.random(FRAME_ROWS) for column in range(FRAME_COLUMNS)})


def string_table() -> Any:
    """An Arrow table of random strings of 5 to 15 letters and digits, the same in every process."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(0)
    digits = random.bytes(8 * _STRINGS).hex()
    ends = random.integers(5, 16, _STRINGS)
    words = pa.array([digits[16 * place : 16 * place + end] for place, end in enumerate(ends)])
    return pa.table(
        {
            f"s{column}": words.take(pa.array(random.integers(0, _STRINGS, FRAME_ROWS)))
            for column in range(FRAME_COLUMNS)
        }
    )


def number_frame() -> Any:
    """A pandas frame of `number_table`'s values, as its constructor makes it of columns."""
    import pandas as pd

    return pd.DataFrame(
        {name: column.to_numpy() for name, column in zip(*_columns(number_table()), strict=True)}
    )


def string_frame() -> Any:
    """A pandas frame of `string_table`'s values, in whatever type this pandas gives to strings."""
    return string_table().to_pandas()


def _columns(table: Any) -> tuple[list[str], list[Any]]:
    return table.column_names, table.columns


def look_at_frame(frame: Any) -> tuple[int, int, float]:
    """Rows, columns, and a sum over one row in 512: of the numbers, or of the strings' lengths."""
    sample = frame.iloc[::_ROW_STEP]
    if sample.dtypes.iloc[0].kind == "f":
        total = float(sample.to_numpy().sum())
    else:
        total = float(sum(int(sample[name].str.len().sum()) for name in sample.columns))
    return *frame.shape, total


def look_at_table(table: Any) -> tuple[int, int, float]:
    """`look_at_frame` for an Arrow table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = table.take(pa.array(range(0, table.num_rows, _ROW_STEP)))
    lengths = pa.types.is_string(sample.schema.types[0])
    total = sum(pc.sum(pc.utf8_length(column) if lengths else column).as_py() for column in sample.columns)
    return table.num_rows, table.num_columns, float(total)


def kept_frame(make: Callable[[], T]) -> T:
    """What `make` makes, made once in each worker."""
    if make not in _kept:
        _kept[make] = make()
    made: T = _kept[make]
    return made
