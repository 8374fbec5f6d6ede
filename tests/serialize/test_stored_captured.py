"""What functions and classes bring along, when it is big: in the store once, however many calls need it."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy
import pytest

from distpool.scheduler.serialize import Exporter, Importer, SerializationError, ids_of, loads, use
from tests.serialize.directory_store import DirectoryStore

BIG = 100_000
BASE = numpy.arange(BIG, dtype="f8")


@pytest.fixture
def worker_with_store(worker: Any, store: DirectoryStore) -> Any:
    worker.use_store(store.directory)
    yield worker
    worker.use_store(None)


SOURCE = """
    import numpy
    table = numpy.arange(100_000, dtype="f8")
    names = [f"name {number}" for number in range(20_000)]
    def total():
        return float(table.sum())
    def first():
        return table[0], len(names)
    def change():
        table[0] = 7
"""


def test_a_captured_global_is_stored_once(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    module = main(SOURCE)
    exporter = Exporter()
    for _ in range(3):
        assert worker_with_store.call(exporter, module.total) == module.table.sum()
        assert worker_with_store.call(exporter, module.first) == (0, 20_000)
        assert worker_with_store.call(exporter, lambda: module.total) is module.total
    assert len(store.put_sizes) == 2
    assert module.table.nbytes in store.put_sizes
    for function in (module.total, module.first):
        number, blob, keep = exporter.function(function)
        assert number > 0
        assert len(blob) < 2_000
        assert keep is not None
        assert exporter.function(function)[1] is blob
    assert len(store.held) == 2


def test_it_is_stored_again_once_it_is_rebound(
    store: DirectoryStore, worker_with_store: Any, main: Any
) -> None:
    module = main(SOURCE)
    exporter = Exporter(snapshot=False)
    assert worker_with_store.call(exporter, module.total) == module.table.sum()
    pending = exporter.function(module.first)[2]
    before = set(store.held)
    assert len(before) == 2
    module.table = module.table + 1
    assert worker_with_store.call(exporter, module.total) == module.table.sum()
    assert len(store.put_sizes) == 3
    assert set(store.held) > before, "a call that was made before needs the old one"
    del pending
    assert len(store.held) == 2
    assert worker_with_store.call(exporter, module.first) == (1, 20_000)
    assert len(store.put_sizes) == 3


def test_a_worker_that_writes_to_it_changes_its_own(
    store: DirectoryStore, worker_with_store: Any, main: Any
) -> None:
    module = main(SOURCE)
    exporter = Exporter()
    worker_with_store.call(exporter, module.change)
    assert worker_with_store.call(exporter, module.first)[0] == 7
    assert module.table[0] == 0
    worker_with_store.start()  # an empty __main__: as a new worker would
    assert module.table[0] == 0
    assert len(store.put_sizes) == 2


def test_a_rebound_global_that_no_function_is_sent_for_any_more(store: DirectoryStore, main: Any) -> None:
    module = main(SOURCE)
    exporter = Exporter(snapshot=False)
    exporter.function(module.total)
    exporter.function(module.first)
    exporter.dumps(((lambda: module.table[0],), {}), keep=[])
    assert len(store.held) == 2
    module.table = numpy.zeros(BIG)
    exporter.function(module.total)
    assert len(store.held) == 2, "neither another function nor a header that was kept ready holds the old one"


def test_arguments_that_need_it_keep_it(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    module = main(SOURCE)
    exporter = Exporter(snapshot=False)
    blob = exporter.dumps((module.total,), keep=(keep := []))
    again = exporter.dumps(([1, module.total],), keep=(keep_again := []))
    assert len(store.put_sizes) == 1
    assert [held.ids for held in keep] == [held.ids for held in keep_again]
    assert ids_of(blob) == (), "it is no part of the arguments themselves"
    _, caller, _ = exporter.function(lambda f: f())
    module.table = None
    exporter.function(module.total)
    del keep_again
    assert len(store.held) == 1
    assert worker_with_store.call_blobs(caller, blob) == BASE.sum()
    del keep
    assert not store.held
    assert again


def test_big_class_attributes_and_defaults(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    module = main("""
        import numpy
        class Model:
            weights = numpy.arange(100_000, dtype="f8")
            words = "x" * 100_000
            def predict(self, x=numpy.ones(100_000)):
                return float((self.weights * x).sum()) + len(self.words)
    """)
    exporter = Exporter()
    expected = module.Model().predict()
    for _ in range(3):
        keep: list[Any] = []
        args = exporter.dumps((module.Model(),), keep=keep)
        assert len(args) < 3_000
        _, blob, _ = exporter.function(lambda model: model.predict())
        assert worker_with_store.call_blobs(blob, args) == expected
        assert keep
    assert sorted(store.put_sizes)[1:] == [800_000, 800_000]
    assert len(store.put_sizes) == 3


def test_a_closure_is_stored_once(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    array = BASE + 1

    def read(scale: int) -> float:
        return float(array[0] * scale)

    exporter = Exporter()
    for scale in range(3):
        assert worker_with_store.call(exporter, read, scale) == scale
    number, blob, keep = exporter.function(read)
    assert number < 0, "no worker keeps it, with its array"
    assert store.put_sizes == [array.nbytes]
    assert keep is not None
    assert ids_of(blob) == keep[0].ids
    array = BASE + 5
    assert worker_with_store.call(exporter, read, 1) == 5
    assert len(store.put_sizes) == 2
    del keep
    assert len(store.held) == 1


def test_a_closure_with_a_big_list(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    words = [f"word {number}" for number in range(20_000)]
    exporter = Exporter()
    assert worker_with_store.call(exporter, lambda: words[-1]) == words[-1]
    assert len(store.put_sizes) == 1


def add(array: Any, more: float) -> float:
    return float(array.sum() + more)


class Adder:
    def __init__(self, array: Any) -> None:
        self.array = array

    def add(self, more: float) -> float:
        return add(self.array, more)

    __call__ = add


CALLABLES = {
    "partial": lambda array: functools.partial(add, array),
    "nested partial": lambda array: functools.partial(functools.partial(add, array)),
    "bound method": lambda array: Adder(array).add,
    "callable object": Adder,
}


@pytest.mark.parametrize("kind", CALLABLES)
def test_partials_and_bound_methods(store: DirectoryStore, worker: Any, kind: str) -> None:
    worker.use_store(store.directory)
    exporter = Exporter()
    array = BASE.copy()
    function = CALLABLES[kind](array)
    for number in range(3):
        array += 1
        assert worker.call(exporter, function, number) == array.sum() + number
    assert len(store.put_sizes) == 3, "each call sees the array of its time"
    assert not store.held
    number, blob, keep = exporter.function(function)
    assert number < 0
    assert keep is not None
    assert ids_of(blob) == keep[0].ids
    worker.use_store(None)


def test_small_functions_know_nothing_of_the_store(store: DirectoryStore, main: Any) -> None:
    module = main("x = [1]\ndef f(): return x")
    exporter = Exporter()
    for function in (len, module.f, functools.partial(module.f, 1), [].append):
        assert exporter.function(function)[2] is None
    assert not store.put_sizes


# ------------------------------------------------------------ where it must be in the blob after all


def test_what_nobody_keeps_is_in_band(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    """Hooks and the like are pickled without ``keep``: their blobs must stand by themselves."""
    module = main(SOURCE)
    exporter = Exporter()
    before = exporter.dumps((module.total,))
    assert len(before) > module.table.nbytes
    stored = exporter.dumps((module.total,), keep=[])
    assert len(stored) < 2_000
    after = exporter.dumps((module.total,))
    assert len(after) > module.table.nbytes
    assert exporter.dumps((module.total,), keep=[]) == stored
    assert len(store.put_sizes) == 1
    del exporter
    assert not store.held
    _, caller, _ = Exporter().function(lambda f: f())
    assert worker_with_store.call_blobs(caller, after) == BASE.sum()


def test_results_bring_what_they_capture_in_their_own_stream(store: DirectoryStore, main: Any) -> None:
    module = main(SOURCE)
    importer = Importer()
    blob = importer.dumps_result(module.total, keep=(keep := []), holder=1 << 31)
    assert not store.held
    assert len(ids_of(blob)) == 1
    assert store.put_sizes[0] > module.table.nbytes
    held = store.claim(ids_of(blob))
    del importer, keep
    assert loads(blob) is module.total
    assert held.ids == ids_of(blob)


def test_another_store_later(store: DirectoryStore, main: Any) -> None:
    """A session may end and another begin while an exporter lives: what lay in the old store is put into the new."""
    module = main(SOURCE)
    exporter = Exporter()
    first = exporter.function(module.total)
    use(None)
    in_band = exporter.function(module.total)
    assert in_band[2] is None
    assert len(in_band[1]) > module.table.nbytes
    other = DirectoryStore(store.directory.with_name("other"))
    use(other)
    second = exporter.function(module.first)
    assert module.table.nbytes in other.put_sizes
    assert store.put_sizes == [module.table.nbytes]
    assert first[2] is not None
    assert second[2] is not None
    del exporter, first, second
    assert other.is_empty()


def test_a_definition_that_is_gone_says_so(store: DirectoryStore, worker_with_store: Any, main: Any) -> None:
    module = main(SOURCE)
    exporter = Exporter()
    blob = exporter.function(module.total)[1]
    del exporter
    args = pickle.dumps(())
    with pytest.raises(SerializationError, match="not in the object store any more"):
        worker_with_store.call_blobs(blob, args)
