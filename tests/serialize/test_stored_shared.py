"""``Shared``: within one ``map`` call the same array is stored once, in however many of its items it occurs."""

from __future__ import annotations

import functools
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from distpool.scheduler.serialize import Exporter, Shared, ids_of, loads
from tests.serialize.directory_store import DirectoryStore

BIG = 100_000
BASE = numpy.arange(BIG, dtype="f8")


class Map:
    """The submitting side of a map call: ``pending`` are the calls, each with what is kept for it."""

    def __init__(self) -> None:
        self.exporter = Exporter()
        self.shared = Shared()
        self.pending: list[tuple[bytes, list[Any]]] = []

    def submit(self, item: Any) -> bytes:
        keep: list[Any] = []
        blob = self.exporter.dumps(((item,), {}), keep=keep, shared=self.shared)
        self.pending.append((blob, keep))
        return blob

    def run(self, items: list[Any]) -> list[Any]:
        for item in items:
            self.submit(item)
        return [loads(blob)[0][0] for blob, _ in self.pending]


def equal(one: Any, other: Any) -> bool:
    return bool((one == other).all())


SAME: dict[str, Callable[[Any], Any]] = {
    "the array itself": lambda array: array,
    "a view made anew": lambda array: array[:],
    "another type": lambda array: array.view("i8"),
    "another shape": lambda array: array.reshape(100, -1),
    "Fortran's order": lambda array: array.reshape(100, -1).T,
}


@pytest.mark.parametrize("kind", SAME)
def test_one_array_in_a_thousand_items(store: DirectoryStore, kind: str) -> None:
    a_map = Map()
    for number in range(1_000):
        blob = a_map.submit({"number": number, "array": SAME[kind](BASE)})
    assert store.put_sizes == [BASE.nbytes]
    back = loads(blob)[0][0]
    assert back["number"] == 999
    assert equal(back["array"], SAME[kind](BASE))
    assert len(store.held) == 1
    assert sum(len(keep) for _, keep in a_map.pending) == 1_000


def test_every_reader_has_his_own(store: DirectoryStore) -> None:
    first, second = Map().run([BASE, BASE])
    first[:] = 0
    assert equal(second, BASE)


def test_two_views_in_one_item_are_two_arrays(store: DirectoryStore) -> None:
    a_map = Map()
    [(first, second)] = a_map.run([(BASE[:], BASE[:])])
    first[:] = 0
    assert equal(second, BASE)
    assert store.put_sizes == [BASE.nbytes]
    assert len(set(ids_of(a_map.pending[0][0]))) == 1
    assert len(ids_of(a_map.pending[0][0])) == 2


def test_different_arrays_are_different(store: DirectoryStore) -> None:
    arrays = [BASE + number for number in range(20)]
    parts = [BASE[start : start + 50_000] for start in (0, 1, 50_000)]
    back = Map().run([*arrays, *parts, BASE])
    assert all(map(equal, back, [*arrays, *parts, BASE]))
    assert len(store.put_sizes) == 24


def test_a_place_in_memory_that_is_used_again_is_another_array(store: DirectoryStore) -> None:
    """The allocator hands out the memory of an array that has gone; here that happens nearly every time."""
    a_map = Map()
    blobs = [a_map.submit(numpy.full(BIG, float(number))) for number in range(50)]
    assert [loads(blob)[0][0][0] for blob in blobs] == list(range(50))
    assert len(store.put_sizes) == 50


def test_what_occurs_once_goes_when_its_call_is_over(store: DirectoryStore) -> None:
    """A map over more data than the store holds: only what is pending is in it."""
    a_map = Map()
    for number in range(20):
        array = numpy.full(BIG, number)
        gone = weakref.ref(array)
        a_map.submit(array)
        del array
        a_map.pending.clear()
        assert not store.held
        assert gone() is None


def test_what_occurs_again_stays_to_the_end_of_the_map(store: DirectoryStore) -> None:
    a_map = Map()
    a_map.submit(BASE)
    a_map.submit(BASE)
    a_map.pending.clear()
    for _ in range(10):
        a_map.submit(BASE)
        a_map.pending.clear()
        assert len(store.held) == 1
    assert len(store.put_sizes) == 1
    a_map.shared = Shared()
    assert not store.held


def test_calls_keep_what_they_need_after_the_map(store: DirectoryStore) -> None:
    a_map = Map()
    a_map.submit(BASE)
    a_map.submit(BASE)
    a_map.shared = Shared()
    del a_map.pending[0]
    assert equal(loads(a_map.pending[0][0])[0][0], BASE)


def test_a_big_rest_is_each_items_own(store: DirectoryStore) -> None:
    back = Map().run([(BASE, str(number) * BIG) for number in range(3)])
    assert [text[0] for _, text in back] == ["0", "1", "2"]
    assert all(equal(array, BASE) for array, _ in back)
    assert store.put_sizes.count(BASE.nbytes) == 1
    assert len(store.put_sizes) == 4


def test_a_partial_is_pickled_anew_but_its_array_stored_once(store: DirectoryStore) -> None:
    exporter, shared = Exporter(), Shared()
    array = BASE.copy()
    made = [exporter.function(functools.partial(numpy.dot, array), shared) for _ in range(10)]
    made += [exporter.function(array.dot, shared) for _ in range(10)]
    assert len({number for number, _, _ in made}) == 20
    assert store.put_sizes == [array.nbytes]
    assert all(keep is not None for _, _, keep in made)
    assert loads(made[-1][1])(numpy.ones(BIG)) == array.sum()
    blob = exporter.dumps(((array,), {}), keep=[], shared=shared)
    assert ids_of(blob) == ids_of(made[0][1])
    shared = Shared()
    array += 1
    changed = exporter.function(functools.partial(numpy.dot, array), shared)
    assert loads(changed[1])(numpy.ones(BIG)) == array.sum()


def test_buffers_of_other_objects(store: DirectoryStore) -> None:
    a_map = Map()
    data = [bytearray(b"x" * BIG), bytearray(b"y" * BIG)]
    for _ in range(5):
        assert loads(a_map.submit(Buffered(data[0])))[0][0] == data[0]
        assert loads(a_map.submit(Buffered(data[1])))[0][0] == data[1]
        assert loads(a_map.submit(Buffered(memoryview(data[1])[:70_000])))[0][0] == data[1][:70_000]
    assert store.put_sizes.count(BIG) == 2
    data[0] += b"x"  # nothing forbids it to grow


class Buffered:
    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return bytes, (pickle.PickleBuffer(self.data),)


def test_a_frame_in_many_items(store: DirectoryStore) -> None:
    pandas = pytest.importorskip("pandas")
    rows = 20_000
    frame = pandas.DataFrame(
        {
            "number": numpy.arange(rows),
            "float": numpy.linspace(0, 1, rows),
            "category": pandas.Categorical(["red", "green", "blue", "green"] * (rows // 4)),
        }
    )
    a_map = Map()
    a_map.submit((0, frame))
    once = len(store.put_sizes)
    for number in range(1, 20):
        blob = a_map.submit((number, frame))
    assert len(store.put_sizes) == once
    number, back = loads(blob)[0][0]
    pandas.testing.assert_frame_equal(back, frame)
    assert number == 19


def test_a_table_in_many_items(store: DirectoryStore) -> None:
    arrow = pytest.importorskip("pyarrow")
    rows = 50_000
    table = arrow.table({"number": numpy.arange(rows), "text": [f"text {number}" for number in range(rows)]})
    a_map = Map()
    a_map.submit((0, table))
    once = len(store.put_sizes)
    assert once >= 2
    for number in range(1, 20):
        blob = a_map.submit((number, table))
    assert len(store.put_sizes) == once
    assert loads(blob)[0][0][1].equals(table)
