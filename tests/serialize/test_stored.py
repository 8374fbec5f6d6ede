"""Big arguments and results: out of the blob, into the store, once copied each way."""

from __future__ import annotations

import gc
import pickle
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy
import pytest

from distpool.scheduler.serialize import (
    Exporter,
    Importer,
    SerializationError,
    ids_of,
    loads,
    loads_result,
    path_note,
    use,
)
from tests.serialize.conftest import STORED_BYTES_MIN
from tests.serialize.directory_store import DirectoryStore, Full, Gone
from tests.serialize.other_process import ROOT

BIG = 100_000


def sent(value: Any, keep: list[Any] | None = None) -> bytes:
    return Exporter().dumps(((value,), {}), keep=[] if keep is None else keep)


def there(value: Any) -> Any:
    """The value as a worker gets it; what was kept for it goes at once, so that only its own views keep it."""
    keep: list[Any] = []
    return loads(sent(value, keep))[0][0]


# ----------------------------------------------------------------------------------------- numpy

BASE = numpy.arange(BIG, dtype="f8")
RECORDS = numpy.zeros(BIG, dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")])
RECORDS["a"] = numpy.arange(BIG)
ARRAYS = {
    "C": (BASE.reshape(100, -1), True),
    "Fortran": (numpy.asfortranarray(BASE.reshape(100, -1)), True),
    "three axes": (BASE.reshape(10, 100, -1).copy(), True),
    "structured": (RECORDS, True),
    "booleans": (BASE > 7, True),
    "big-endian": (BASE.astype(">i4"), True),
    "text": (numpy.array(["abc", "de"] * BIG), True),
    "one big item": (numpy.array(b"x" * BIG, dtype=f"V{BIG}"), True),
    "part": (BASE[1_000:50_000], True),
    "rows": (BASE.reshape(100, -1)[10:90], True),
    "every second": (BASE[::2], False),
    "reversed": (BASE[::-1], False),
    "columns": (BASE.reshape(100, -1)[:, 10:900], False),
    "dates": (BASE.astype("M8[s]"), True),
    "durations, two axes": (numpy.asfortranarray(BASE.astype(">m8[ms]").reshape(100, -1)), True),
    "every second date": (BASE.astype("M8[s]")[::2], False),
    "object": (numpy.array([1, "two", None, [4]] * 30_000, dtype=object), False),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(store: DirectoryStore, name: str) -> None:
    array, is_zero_copy = ARRAYS[name]
    blob = sent(array, keep := [])
    back = loads(blob)[0][0]
    assert (back == array).all()
    assert (back.dtype, back.shape, back.strides) == (array.dtype, array.shape, back.strides)
    assert back.flags.f_contiguous == array.flags.f_contiguous or not is_zero_copy
    assert back.flags.writeable
    assert len(blob) < 1_000
    assert len(store.put_sizes) == 1
    if is_zero_copy:
        assert store.put_sizes == [array.nbytes]
    del keep
    assert bool(store.viewed) == is_zero_copy, (
        "an array that has its data from a view keeps it; a copy does not"
    )


@pytest.mark.parametrize(
    "array",
    [numpy.zeros(0), numpy.zeros((0, 7)), numpy.zeros((5, 0), order="F"), numpy.array(3.5), numpy.arange(9)],
)
def test_small_and_empty_arrays_stay_in_band(store: DirectoryStore, array: Any) -> None:
    back = there(array)
    assert (back == array).all()
    assert back.shape == array.shape
    assert back.flags.writeable
    assert not store.put_sizes


def test_writable_arrives_writable_and_read_only_read_only(store: DirectoryStore) -> None:
    array = BASE.copy()
    for is_writable in (True, False):
        array.flags.writeable = is_writable
        back = there(array)
        assert back.flags.writeable == is_writable
        small = there(array[:3])
        assert small.flags.writeable == is_writable
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_who_writes_changes_his_own_copy(store: DirectoryStore) -> None:
    blob = sent(BASE, keep := [])
    first, second = loads(blob)[0][0], loads(blob)[0][0]
    first[:] = 0
    assert (second == BASE).all()
    assert (loads(blob)[0][0] == BASE).all()
    assert (numpy.arange(BIG) == BASE).all()
    assert keep


def test_a_view_of_a_part_keeps_the_whole(store: DirectoryStore) -> None:
    part = there(BASE)[5:7][1:]
    gc.collect()
    assert part[0] == 6
    assert store.viewed
    del part
    assert store.is_empty()


def test_the_copy_is_complete_before_dumps_returns(store: DirectoryStore) -> None:
    array = BASE.copy()
    first = sent(array, keep := [])
    array += 1
    second = sent(array, keep)
    array[:] = 0
    assert (loads(first)[0][0] == BASE).all()
    assert (loads(second)[0][0] == BASE + 1).all()


def test_a_memory_mapped_file(store: DirectoryStore, tmp_path: Path) -> None:
    mapped = numpy.memmap(tmp_path / "data", dtype="f8", mode="w+", shape=(BIG,))
    mapped[:] = BASE
    for array in (mapped, numpy.asarray(mapped), mapped[100:90_000], mapped.view("M8[s]"), mapped[:9]):
        before = len(store.put_sizes)
        back = there(array)
        assert type(back) is type(array)
        assert (back == array).all()
        assert back.dtype == array.dtype
        assert back.flags.writeable
        assert store.put_sizes[before:] == ([array.nbytes] if array.size > 9 else [])
    read_only = numpy.memmap(tmp_path / "data", dtype="f8", mode="r")
    assert not there(read_only).flags.writeable


def test_an_array_that_occurs_twice_is_one_array_there_too(store: DirectoryStore) -> None:
    first, second, [third] = there((BASE, BASE, [BASE]))
    assert first is second is third
    assert store.put_sizes == [BASE.nbytes]


def test_two_views_are_two_arrays(store: DirectoryStore) -> None:
    first, second = there((BASE[:], BASE[:]))
    first[:] = 0
    assert (second == BASE).all()
    assert store.put_sizes == [BASE.nbytes] * 2


def test_many_in_one_call_are_one_put(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    put = store.put
    monkeypatch.setattr(
        store, "put", lambda objects, **how: calls.append(len(objects)) or put(objects, **how)
    )
    arrays = [numpy.full(BIG, number) for number in range(5)]
    text = "x" * BIG
    back = there({"arrays": arrays, "text": text, "small": numpy.arange(3)})
    assert all((one == other).all() for one, other in zip(back["arrays"], arrays, strict=True))
    assert back["text"] == text
    assert calls == [6]


# ------------------------------------------------------------------------- bytes, text and others


@pytest.mark.parametrize("size", [STORED_BYTES_MIN - 100, STORED_BYTES_MIN, BIG, 1_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, "ascii", "wide"])
def test_bytes_and_text_are_stored_as_a_stream(store: DirectoryStore, size: int, kind: Any) -> None:
    value = (
        "x" * size if kind == "ascii" else "\u20ac" * (size // 3 + 1) if kind == "wide" else kind(b"x" * size)
    )
    blob = sent(value, keep := [])
    assert loads(blob)[0][0] == value
    is_big = size >= STORED_BYTES_MIN
    assert len(store.put_sizes) == is_big
    assert len(ids_of(blob)) == is_big
    assert not store.viewed, "a copy was made, so nothing is mapped any more"
    assert bool(keep) == is_big


def test_a_big_stream_is_written_piece_by_piece(store: DirectoryStore) -> None:
    value = [b"a" * BIG, bytearray(b"b" * BIG), "c" * BIG]
    assert there(value) == value
    assert len(store.parts_of_largest) > 3
    assert bytearray in store.parts_of_largest, "it was handed on as it is, not copied"


def test_many_small_things_are_a_big_stream(store: DirectoryStore) -> None:
    value = [f"item {number}" for number in range(20_000)]
    blob = sent(value, keep := [])
    assert len(blob) == 26
    assert loads(blob)[0][0] == value
    assert len(keep) == 1


def test_a_small_rest_stays_in_the_blob(store: DirectoryStore) -> None:
    blob = sent({"name": "a long way", "array": BASE}, keep := [])
    assert b"a long way" in blob
    assert blob[:10] == struct.pack("<BBII", 2, 0, 1, 0)
    assert ids_of(blob) == keep[0].ids == struct.unpack_from("<Q", blob, 10)
    assert ids_of(memoryview(blob)) == ids_of(bytearray(blob)) == ids_of(blob)


def test_buffers_and_a_stream(store: DirectoryStore) -> None:
    value = {"array": BASE, "text": "x" * BIG, "fortran": numpy.asfortranarray(BASE.reshape(100, -1))}
    blob = sent(value, keep := [])
    assert blob[:10] == struct.pack("<BBII", 2, 1, 3, 0)
    back = loads(blob)[0][0]
    assert (back["array"] == value["array"]).all()
    assert (back["fortran"] == value["fortran"]).all()
    assert back["text"] == value["text"]
    assert sorted(store.put_sizes)[1:] == [BASE.nbytes] * 2
    assert len(keep) == 1


@pytest.mark.parametrize("value", [1, "a", None, [1, 2], {"a": 1}, (1, "two", 3.0, b"four"), ("x" * 60_000,)])
def test_small_calls_know_nothing_of_the_store(store: DirectoryStore, value: Any) -> None:
    exporter = Exporter()
    for obj in (value, ((value,), {})):
        keep: list[Any] = []
        blob = exporter.dumps(obj, keep=keep)
        assert blob == pickle.dumps(obj, 5)
        assert loads(blob) == obj
        assert not keep
        assert ids_of(blob) == ()


@pytest.mark.parametrize("value", [(1, "x" * BIG), (b"x" * BIG, None), ("x" * 4096, "y" * 90_000)])
def test_short_tuples_with_something_big(store: DirectoryStore, value: Any) -> None:
    blob = Exporter().dumps(value, keep=(keep := []))
    assert len(blob) < 100
    assert loads(blob) == value
    assert keep


class Pair:
    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right


def test_objects_of_the_users_with_arrays_inside(store: DirectoryStore) -> None:
    back = there(Pair(BASE, [Pair({"deep": BASE[:50_000]}, b"y" * BIG)]))
    assert (back.left == BASE).all()
    assert (back.right[0].left["deep"] == BASE[:50_000]).all()
    assert back.right[0].right == b"y" * BIG


class Fortran:
    """Hands out its array's buffer in its own order, which not every consumer of a buffer takes."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytes, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("has_store", [True, False])
def test_a_buffer_in_fortrans_order(store: DirectoryStore, has_store: bool) -> None:
    use(store if has_store else None)
    array = numpy.asfortranarray(BASE.reshape(100, -1))
    assert there(Fortran(array)) == array.tobytes("F")


# ------------------------------------------------------------------------------- pandas and Arrow


def test_frames(store: DirectoryStore) -> None:
    pandas = pytest.importorskip("pandas")
    rows = 20_000
    frame = pandas.DataFrame(
        {
            "number": numpy.arange(rows),
            "float": numpy.linspace(0, 1, rows),
            "other": numpy.linspace(1, 2, rows),
            "text": [f"text {number}" for number in range(rows)],
            "category": pandas.Categorical(["red", "green", "blue", "green"] * (rows // 4)),
            "time": pandas.date_range("2020-01-01", periods=rows, freq="min"),
            "nullable": pandas.array([1, None] * (rows // 2), dtype="Int64"),
        },
        index=numpy.arange(rows) * 2 + 1,
    )
    blob = sent(frame, keep := [])
    back = loads(blob)[0][0]
    pandas.testing.assert_frame_equal(back, frame)
    assert len(blob) < STORED_BYTES_MIN
    assert max(store.put_sizes) >= 2 * 8 * rows, "a block of columns is one object"
    back.loc[1, "float"] = 5.0
    assert loads(blob)[0][0].loc[1, "float"] == 0
    del back, keep
    gc.collect()  # pandas' own objects refer to each other


def test_arrow_tables(store: DirectoryStore) -> None:
    arrow = pytest.importorskip("pyarrow")
    rows = 50_000
    table = arrow.table(
        {
            "number": numpy.arange(rows),
            "text": [f"text {number}" for number in range(rows)],
            "maybe": arrow.array([None, 2.5] * (rows // 2)),
        }
    )
    blob = sent(table, keep := [])
    back = loads(blob)[0][0]
    assert back.equals(table)
    assert back.slice(1_000, 7).equals(table.slice(1_000, 7))
    assert len(blob) < 10_000
    assert rows * 8 in [size // 64 * 64 for size in store.put_sizes]
    del keep
    assert store.viewed


# --------------------------------------------------------------------------- without, and when gone


def test_without_a_store_all_is_in_band(store: DirectoryStore) -> None:
    use(None)
    value = [BASE, "x" * BIG, bytearray(BIG), RECORDS]
    blob = sent(value, keep := [])
    assert ids_of(blob) == ()
    assert not keep
    back = loads(blob)[0][0]
    assert (back[0] == BASE).all()
    assert back[1:3] == value[1:3]
    assert (back[3] == RECORDS).all()


def test_without_keep_all_is_in_band(store: DirectoryStore) -> None:
    blob = Exporter().dumps(([BASE, "x" * BIG], {}))
    assert ids_of(blob) == ()
    assert not store.put_sizes
    assert (loads(blob)[0][0] == BASE).all()


def test_loading_without_a_store_says_so(store: DirectoryStore) -> None:
    blob = sent(BASE, keep := [])
    use(None)
    with pytest.raises(SerializationError, match="this process has no store"):
        loads(blob)
    use(store)
    assert loads(blob)
    assert keep


def test_a_forked_child_has_no_store() -> None:
    code = (
        "import os; from distpool.scheduler.serialize import current, use; use('a store'); assert current()\n"
        "if not (pid := os.fork()): os._exit(current() is not None)\n"
        "assert os.waitpid(pid, 0)[1] == 0 and current() == 'a store'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_loading_what_is_gone_says_so(store: DirectoryStore) -> None:
    blob = sent(BASE)
    with pytest.raises(
        SerializationError, match=r"not in the object store any more: object .* is gone"
    ) as caught:
        loads(blob)
    assert type(caught.value.__cause__) is Gone


def test_what_the_store_raises_comes_out_as_it_is(store: DirectoryStore) -> None:
    store.room = BASE.nbytes - 1
    exporter = Exporter()

    def reads_it() -> Any:
        return BASE, captured

    captured = BASE[:]
    for attempt in (
        lambda: exporter.dumps(((BASE,), {}), keep=[]),
        lambda: exporter.dumps((("x" * 2_000_000,), {}), keep=[]),
        lambda: exporter.function(reads_it),
    ):
        with pytest.raises(Full, match="the store is full") as caught:
            attempt()
        assert path_note(caught.value) is None
        del caught
        assert not store.held
    store.room = 1 << 62
    assert exporter.function(reads_it)[2]


def test_a_store_that_is_closed_while_something_is_pickled(store: DirectoryStore) -> None:
    class Closing:
        def __reduce__(self) -> Any:
            use(None)
            return int, ()

    with pytest.raises(SerializationError, match="was closed while"):
        sent([BASE, Closing()])
    assert (loads(sent([Closing(), BASE]))[0][0][1] == BASE).all()


class Fails:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __setstate__(self, state: Any) -> None:
        raise ValueError("no")


@pytest.mark.parametrize("text", ["", "x" * BIG])
def test_a_failure_is_explained_and_its_traceback_keeps_nothing_mapped(
    store: DirectoryStore, text: str
) -> None:
    blob = sent([1, Fails(0), BASE, text], keep := [])
    with pytest.raises(ValueError, match="no") as caught:
        loads(blob)
    assert path_note(caught.value) == "at args[0][0][1]: cannot be unpickled: ValueError: no"
    assert not store.viewed
    assert keep
    del caught  # it knows this frame


# ------------------------------------------------------------------------------------------ results


def test_results_are_put_for_their_owner(store: DirectoryStore) -> None:
    importer = Importer()
    value = {"array": BASE, "text": "x" * BIG}
    blob = importer.dumps_result(value, keep=(keep := []), holder=1 << 31)
    del keep
    assert not store.held, "they are not this process's"
    held = store.claim(ids_of(blob))
    back = loads_result(blob)
    assert (back["array"] == BASE).all()
    assert back["text"] == value["text"]
    del held
    assert store.viewed


def test_arguments_and_results_of_a_worker(store: DirectoryStore, worker: Any, main: Any) -> None:
    module = main("""
        class Box:
            def __init__(self, content):
                self.content = content
        def work(box, text):
            box.content += 1
            return Box(box.content), text + text
    """)
    worker.use_store(store.directory)
    exporter = Exporter()
    _, blob, kept = exporter.function(module.work)
    args = exporter.dumps((module.Box(BASE), "x" * BIG), keep=(keep := []))
    box, text = worker.call_blobs(blob, args)
    assert type(box) is module.Box
    assert (box.content == BASE + 1).all()
    assert text == "x" * BIG * 2
    assert len(store.put_sizes) == 2
    assert keep
    assert kept is None
    del keep
    assert len(store.viewed) == 1, "the array of the result"
    worker.use_store(None)


# -------------------------------------------------------------------------------------- what lives on


def test_an_exporter_goes_with_its_last_reference(store: DirectoryStore) -> None:
    exporter = Exporter()
    gone = weakref.ref(exporter)
    captured = BASE[:]

    def closure() -> Any:
        return captured

    exporter.function(closure)
    exporter.function(lambda: lambda: captured)
    exporter.dumps(({"a": [1]}, {}), keep=[])
    exporter.dumps(({"a": [Pair(1, closure)]}, {}))
    with pytest.raises(TypeError, match="pickle"):
        exporter.dumps(({"a": [iter]}, {}, (x for x in ())))
    assert store.held
    del exporter
    assert gone() is None
    assert not store.held
