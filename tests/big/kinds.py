"""Kinds of big values, each made anew in any process, and what it means that one has arrived.

The oracle is pickle: what ``loads(dumps(value))`` gives, type, order and writability included, must arrive.
"""

from __future__ import annotations

import array
import datetime
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from distpool.scheduler.serialize import STORED_BYTES_MIN
from tests.big.bodies import pattern

ARRAYS: dict[str, Callable[[], Any]] = {}
OTHERS: dict[str, Callable[[], Any]] = {}
FRAMES: dict[str, Callable[[], Any]] = {}
TABLES: dict[str, Callable[[], Any]] = {}


def _into(table: dict[str, Callable[[], Any]]) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def add(make: Callable[[], Any]) -> Callable[[], Any]:
        table[make.__name__] = make
        return make

    return add


#: A read-only array that pickle makes writable; what the store lends for it stays read-only.
MAY_STAY_READ_ONLY = {"of_read_only_files"}


def make(name: str) -> Any:
    """One value, equal to all others of its name."""
    return {**ARRAYS, **OTHERS, **FRAMES, **TABLES}[name]()


def check(name: str, value: Any) -> None:
    """Raise AssertionError unless this is what pickle would have made of it."""
    expected = pickle.loads(pickle.dumps(make(name), 5))
    if name in MAY_STAY_READ_ONLY:
        value, expected = value.view(), expected.view()
        value.flags.writeable = expected.flags.writeable = False
    assert_same(value, expected)


def check_and_return(name: str, value: Any) -> Any:
    """Check an argument, and give it back as a result."""
    check(name, value)
    return value


def check_keyword(name: str, *, value: Any) -> str:
    check(name, value)
    return name


def make_in_worker(name: str) -> Any:
    return make(name)


# -------------------------------------------------------------------------------------- arrays

_SIDE = 400
_COUNT = _SIDE * _SIDE


@_into(ARRAYS)
def c_order() -> Any:
    return pattern(1, _COUNT * 8).view(np.int64).reshape(_SIDE, _SIDE)


@_into(ARRAYS)
def fortran_order() -> Any:
    return np.asfortranarray(c_order())


@_into(ARRAYS)
def three_dimensions() -> Any:
    return c_order().reshape(20, 20, _SIDE)


@_into(ARRAYS)
def turned_in_three_dimensions() -> Any:
    return three_dimensions().transpose(1, 2, 0)


@_into(ARRAYS)
def structured() -> Any:
    made = np.zeros(20_000, dtype=[("a", "<i4"), ("b", "<f8"), ("c", "S5"), ("d", "<f4", (2, 2))])
    made["a"] = np.arange(20_000)
    made["b"] = np.linspace(0, 1, 20_000)
    made["c"] = b"word"
    made["d"][:, 1] = 7
    return made


@_into(ARRAYS)
def records() -> Any:
    return structured().view(np.recarray)


@_into(ARRAYS)
def objects() -> Any:
    return np.array([{"n": n, "text": "t" * (n % 50)} for n in range(12_000)], dtype=object)


@_into(ARRAYS)
def objects_that_are_arrays() -> Any:
    made = np.empty(4, dtype=object)
    for n in range(4):
        made[n] = pattern(n, 300_000)
    return made


@_into(ARRAYS)
def of_no_size() -> Any:
    return np.empty((0, 5))


@_into(ARRAYS)
def of_no_dimension() -> Any:
    return np.array(3.5)


@_into(ARRAYS)
def every_second() -> Any:
    return pattern(2, 700_000)[::2]


@_into(ARRAYS)
def backwards() -> Any:
    return pattern(2, 400_000)[::-1]


@_into(ARRAYS)
def some_columns() -> Any:
    return c_order()[10:-10, 5:300]


@_into(ARRAYS)
def a_contiguous_part() -> Any:
    return pattern(2, 400_000)[1_001:-7]


@_into(ARRAYS)
def broadcast() -> Any:
    return np.broadcast_to(np.arange(300), (300, 300))


@_into(ARRAYS)
def read_only() -> Any:
    made = pattern(3, 400_000)
    made.flags.writeable = False
    return made


@_into(ARRAYS)
def on_bytes() -> Any:
    return np.frombuffer(pattern(4, 400_000).tobytes(), dtype=np.uint8)


@_into(ARRAYS)
def of_files() -> Any:
    with tempfile.TemporaryFile() as file:
        made = np.memmap(file, dtype=np.uint8, mode="w+", shape=(400_000,))
        made[:] = pattern(5, 400_000)
        return made


@_into(ARRAYS)
def of_read_only_files() -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(pattern(6, 400_000).tobytes())
        file.flush()
        return np.memmap(file, dtype=np.uint8, mode="r")


@_into(ARRAYS)
def float16() -> Any:
    return np.linspace(-5, 5, _COUNT).astype(np.float16)


@_into(ARRAYS)
def with_nan_and_infinity() -> Any:
    made = np.linspace(-5, 5, _COUNT)
    made[::3] = np.nan
    made[1::3] = -np.inf
    return made


@_into(ARRAYS)
def complex128() -> Any:
    return np.linspace(-5, 5, _COUNT) * (1 + 2j)


@_into(ARRAYS)
def big_endian() -> Any:
    return np.arange(_COUNT, dtype=">i4")


@_into(ARRAYS)
def dates() -> Any:
    return np.datetime64("2020-01-01T00:00") + np.arange(_COUNT).astype("m8[m]")


@_into(ARRAYS)
def times() -> Any:
    return np.arange(_COUNT).astype("m8[ns]")


@_into(ARRAYS)
def truths() -> Any:
    return pattern(7, 3 * _COUNT) > 127


@_into(ARRAYS)
def texts() -> Any:
    return np.array([f"ä€😀 {n}" for n in range(10_000)])


@_into(ARRAYS)
def byte_strings() -> Any:
    return np.array([b"%d" % n for n in range(80_000)])


@_into(ARRAYS)
def masked() -> Any:
    return np.ma.masked_greater(c_order(), 0)


@_into(ARRAYS)
def exactly_the_least() -> Any:
    return pattern(8, STORED_BYTES_MIN)


@_into(ARRAYS)
def one_byte_less() -> Any:
    return pattern(8, STORED_BYTES_MIN - 1)


@_into(ARRAYS)
def one_byte_more() -> Any:
    return pattern(8, STORED_BYTES_MIN + 1)


# ---------------------------------------------------------------------------------- other things


class Record:
    """An object of one's own with a big array in its dictionary."""

    def __init__(self, key: int) -> None:
        self.array = pattern(key, 300_000)
        self.text = "small"


class Slotted:
    """Another, with slots and a reducer of its own."""

    __slots__ = ("array", "view")

    def __init__(self, array: Any, view: Any) -> None:
        self.array = array
        self.view = view

    def __reduce__(self) -> Any:
        return Slotted, (self.array, self.view)


class HoldsView:
    """An object that stands on a memoryview, and lends it to the pickler."""

    def __init__(self, view: Any) -> None:
        self.view = memoryview(view)

    def __reduce_ex__(self, protocol: int) -> Any:
        return HoldsView, (pickle.PickleBuffer(self.view),)


@_into(OTHERS)
def big_bytes() -> Any:
    return pattern(10, 400_000).tobytes()


@_into(OTHERS)
def big_bytearray() -> Any:
    return bytearray(pattern(11, 400_000))


@_into(OTHERS)
def holds_a_view() -> Any:
    return HoldsView(bytearray(pattern(12, 400_000)))


@_into(OTHERS)
def holds_a_read_only_view() -> Any:
    return HoldsView(pattern(12, 400_000).tobytes())


@_into(OTHERS)
def holds_a_part_of_a_view() -> Any:
    return HoldsView(memoryview(bytearray(pattern(12, 600_000)))[1_000:400_001])


@_into(OTHERS)
def big_text() -> Any:
    return "ä€😀 text" * 40_000


@_into(OTHERS)
def big_number() -> Any:
    return 3**1_500_000


@_into(OTHERS)
def array_array() -> Any:
    return array.array("d", range(50_000))


@_into(OTHERS)
def many_small_things() -> Any:
    return [(n, str(n), n / 7, {"n": n}) for n in range(10_000)]


@_into(OTHERS)
def a_set() -> Any:
    return {f"word {n}" for n in range(30_000)}


@_into(OTHERS)
def nested() -> Any:
    return {
        "arrays": {"first": pattern(13, 300_000), "second": [pattern(14, 400_000), pattern(15, 10)]},
        "bytes": (big_bytes(), big_bytearray()),
        ("a", 1): OrderedDict(text=big_text(), nothing=None, when=datetime.datetime(2020, 1, 1)),
    }


@_into(OTHERS)
def many_arrays() -> Any:
    return [pattern(key, 65_536 + key) for key in range(20)] + [
        pattern(key, 300_000 + key) for key in range(8)
    ]


@_into(OTHERS)
def own_object() -> Any:
    return Record(16)


@_into(OTHERS)
def own_object_with_slots() -> Any:
    return Slotted(pattern(17, 400_000), {"more": pattern(18, 300_000)})


# ------------------------------------------------------------------------------ pandas and Arrow

_ROWS = 40_000


@_into(FRAMES)
def numbers() -> Any:
    import pandas

    return pandas.DataFrame(
        {f"c{n}": pattern(n, _ROWS * 8).view(np.int64) for n in range(4)}
        | {f"f{n}": np.linspace(0, n, _ROWS) for n in range(4)}
    )


@_into(FRAMES)
def strings() -> Any:
    import pandas

    return pandas.DataFrame({f"s{n}": [f"värde {row % 1000}-{n}" for row in range(_ROWS)] for n in range(3)})


@_into(FRAMES)
def object_strings() -> Any:
    return strings().astype(object)


@_into(FRAMES)
def categorical() -> Any:
    import pandas

    words = pandas.Series([f"kind {n}" for n in range(7)] * _ROWS)
    return pandas.DataFrame(
        {"kind": words.astype("category"), "ordered": pandas.Categorical(words, ordered=True)}
    )


@_into(FRAMES)
def multi_index() -> Any:
    import pandas

    index = pandas.MultiIndex.from_product([range(100), [f"k{n}" for n in range(200)]], names=["a", "b"])
    return pandas.DataFrame({"x": np.arange(20_000.0), "y": np.arange(20_000)}, index=index)


@_into(FRAMES)
def dates_with_zones() -> Any:
    import pandas

    index = pandas.date_range("2020-01-01", periods=_ROWS, freq="min", tz="Europe/Berlin")
    return pandas.DataFrame({"n": np.arange(_ROWS), "when": index}, index=index)


@_into(FRAMES)
def with_missing() -> Any:
    import pandas

    return pandas.DataFrame(
        {
            "integer": pandas.array([None if row % 3 else row for row in range(_ROWS)], dtype="Int64"),
            "truth": pandas.array([None if row % 3 else True for row in range(_ROWS)], dtype="boolean"),
            "float": [None if row % 3 else row / 2 for row in range(_ROWS)],
        }
    )


@_into(FRAMES)
def a_series() -> Any:
    return numbers()["c1"]


@_into(FRAMES)
def an_index() -> Any:
    return strings().set_index("s0").index


@_into(FRAMES)
def some_rows() -> Any:
    return numbers().iloc[100:-100:3]


@_into(TABLES)
def table() -> Any:
    import pyarrow

    return pyarrow.table(
        {
            "n": pyarrow.array(np.arange(_ROWS)),
            "text": pyarrow.array([f"värde {n}" if n % 5 else None for n in range(_ROWS)]),
            "list": pyarrow.array([[n, n + 1] for n in range(_ROWS)]),
        }
    )


@_into(TABLES)
def part_of_a_table() -> Any:
    return table()[1_000:-1_000]


@_into(TABLES)
def table_in_chunks() -> Any:
    import pyarrow

    return pyarrow.concat_tables([table(), part_of_a_table()])


@_into(TABLES)
def record_batch() -> Any:
    return table().to_batches()[0]


@_into(TABLES)
def arrow_array() -> Any:
    import pyarrow

    return pyarrow.array(np.arange(100_000.0))


@_into(TABLES)
def frame_on_arrow() -> Any:
    import pandas

    return table().select(["n", "text"]).to_pandas(types_mapper=pandas.ArrowDtype)


# ------------------------------------------------------------------------------------- equality


def assert_same(one: Any, other: Any) -> None:
    """Equal in type, content, and in what may be done with it."""
    assert type(one) is type(other), (type(one), type(other))
    module = type(one).__module__.partition(".")[0]
    if isinstance(one, np.ndarray):
        _assert_same_array(one, other)
    elif module == "pandas":
        _assert_same_pandas(one, other)
    elif module == "pyarrow":
        assert one.equals(other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for item, item_of_other in zip(one, other, strict=True):
            assert_same(item, item_of_other)
    elif isinstance(one, Record):
        assert_same(one.__dict__, other.__dict__)
    elif isinstance(one, Slotted):
        assert_same([one.array, one.view], [other.array, other.view])
    elif isinstance(one, HoldsView):
        assert one.view.readonly == other.view.readonly
        assert one.view.tobytes() == other.view.tobytes()
    else:
        assert one == other


def _assert_same_array(one: Any, other: Any) -> None:
    assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
    assert one.flags.writeable == other.flags.writeable
    if isinstance(one, np.ma.MaskedArray):
        assert np.array_equal(one.mask, other.mask)
    if one.dtype == object:
        assert_same(one.tolist(), other.tolist())
    else:
        assert one.tobytes(order="A") == other.tobytes(order="A")


def _assert_same_pandas(one: Any, other: Any) -> None:
    import pandas

    if isinstance(one, pandas.DataFrame):
        if one.equals(other) and one.dtypes.equals(other.dtypes) and one.columns.equals(other.columns):
            return pandas.testing.assert_frame_equal(
                one.head(1000), other.head(1000)
            )  # it looks at each by itself
        pandas.testing.assert_frame_equal(one, other)
    elif isinstance(one, pandas.Series):
        pandas.testing.assert_series_equal(one, other)
    else:
        pandas.testing.assert_index_equal(one, other)
