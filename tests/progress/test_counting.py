"""Every item counts as soon as it is done, whatever its chunk; and in the end all do."""

import gc
import os
import threading
from functools import partial

import pytest

from distpool import progress
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.progress_cells import Cells, Counted, _take_cell
from tests.progress import bodies


def open_gate(path):
    with open(path, "w"):
        pass


@pytest.mark.parametrize("chunksize", [1, 3, 10, 30, None])
def test_items_count_while_their_chunk_runs(pool, recorder, tmp_path, chunksize):
    """Thirty items, of which the sixth waits: whoever runs the others, those before it in its chunk are counted."""
    gate = str(tmp_path / "gate")
    items = [None] * 30
    items[5] = gate
    result = pool.map_async(bodies.pass_gate, items, chunksize=chunksize, progress=True)
    behind = {1: 0, 3: 0, 10: 4, 30: 24, None: 2}[chunksize]  # in the same chunk, so not done either
    recorder.wait_until(lambda reading: reading.done == 29 - behind)
    assert not result.ready()
    open_gate(gate)
    assert result.get(20) == [None] * 30
    last = recorder.wait_last()
    assert (last.done, last.total, last.errors, last.ended) == (30, 30, 0, "done")
    assert recorder.done == sorted(recorder.done)


def test_calls_that_never_come_back_to_the_interpreter_count_too(pool, recorder):
    """``sum`` is C code that holds the GIL: no other thread of the worker can look while it runs."""
    numbers = [range(6_000_000)] * 8
    assert pool.map(sum, numbers, chunksize=8, progress=True) == [sum(numbers[0])] * 8
    recorder.wait_last()
    assert {0 < done < 8 for done in recorder.done} >= {True}


@pytest.mark.parametrize("function", [partial(bodies.two, 1), lambda number: number + 1])
def test_callables_of_all_kinds_give_the_same_results(pool, recorder, function):
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(function, range(50), chunksize=7, progress=True)) == list(range(1, 51))
    assert recorder.wait_last().done == 50


def test_starmap(pool, recorder):
    pairs = [(number, number) for number in range(40)]
    assert pool.starmap(bodies.two, pairs, chunksize=6, progress="pairs") == [2 * n for n in range(40)]
    assert recorder.wait_last().done == 40
    result = pool.starmap_async(bodies.two, pairs, progress=True)
    assert result.get(20) == [2 * n for n in range(40)]


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_a_generator_has_no_total_but_a_count(pool, recorder, method, chunksize):
    results = getattr(pool, method)(bodies.slow, (n for n in range(30)), chunksize, progress=True)
    assert sorted(results) == list(range(30))
    last = recorder.wait_last()
    assert (last.done, last.total, last.ended) == (30, None, "done")
    assert recorder.done == sorted(recorder.done)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_an_executor_counts_what_it_is_told_how_many_there_are(recorder, chunksize):
    with ProcessPoolExecutor(2, progress={"total": 30}) as executor:
        results = executor.map(bodies.slow, (n for n in range(30)), chunksize=chunksize)
        assert list(results) == list(range(30))
    last = recorder.wait_last()
    assert (last.done, last.total, last.ended) == (30, 30, "done")


def test_an_item_that_raises_is_an_error_and_all_others_are_still_done(pool, recorder):
    with pytest.raises(ValueError, match="three"):
        pool.map(bodies.fail_at_three, range(20), chunksize=1, progress=True)
    last = recorder.wait_last()
    assert (last.done, last.errors, last.ended) == (20, 1, "done")


def test_an_executor_that_stops_at_an_error_says_so(recorder):
    with ProcessPoolExecutor(1) as executor, pytest.raises(ValueError, match="three"):
        list(executor.map(bodies.fail_at_three_then_nap, range(50), progress=True))
    last = recorder.wait_last()
    assert (last.errors, last.ended) == (1, "stopped")


def test_results_that_nobody_wants_end_it(recorder):
    with ProcessPoolExecutor(1) as executor:
        results = executor.map(bodies.slow, range(100), progress=True)
        assert next(results) == 0
        results.close()
        last = recorder.wait_last()
    assert last.ended == "stopped"
    assert last.done < 100


def test_a_terminated_pool_ends_it(recorder):
    pool = Pool(1)
    result = pool.map_async(bodies.nap, range(100), chunksize=1, progress=True)
    recorder.wait_until(lambda reading: reading.done > 0)
    pool.terminate()
    pool.join()
    assert recorder.wait_last().ended == "stopped"
    assert result.ready()


def test_an_iterable_that_raises_ends_it(pool, recorder):
    def numbers():
        yield from range(5)
        raise KeyError("no more")

    with pytest.raises(KeyError):
        list(pool.imap(bodies.slow, numbers(), progress=True))
    last = recorder.wait_last()
    assert (last.done, last.ended) == (5, "stopped")


def test_items_of_a_worker_that_died_are_done_once(recorder, tmp_path):
    marker = str(tmp_path / "died")
    items = [(number, marker if number == 25 else "") for number in range(40)]
    with Pool(2) as pool:
        assert pool.map(bodies.die_once, items, chunksize=20, progress=True) == list(range(40))
    last = recorder.wait_last()
    assert (last.done, last.errors) == (40, 0)
    assert recorder.done == sorted(recorder.done)


def test_without_shared_memory_counts_come_with_the_results(pool, recorder, monkeypatch):
    monkeypatch.setattr(progress, "_cells", lambda: None)
    assert pool.map(bodies.slow, range(40), chunksize=10, progress=True) == list(range(40))
    assert recorder.wait_last().done == 40
    assert {done % 10 for done in recorder.done} == {0}


def test_two_maps_at_once_count_each_its_own(shared_pool, monkeypatch):
    bars = {}

    def bar_for(options):
        from tests.progress.recorder import Recorder

        return bars.setdefault(options.description, Recorder())

    monkeypatch.setattr("distpool.progress.bar_for", bar_for)
    results = [
        shared_pool.map_async(bodies.slow, range(size), chunksize=7, progress=f"{size}") for size in (50, 80)
    ]
    assert [len(result.get(20)) for result in results] == [50, 80]
    assert [bars[name].wait_last().done for name in ("50", "80")] == [50, 80]


def test_the_pools_word_holds_unless_a_call_has_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr("distpool.progress.bar_for", lambda options: seen.append(options.description))
    with Pool(1, progress="all") as pool:
        pool.map(bodies.slow, range(3))
        pool.map(bodies.slow, range(3), progress=False)
        pool.map(bodies.slow, range(3), progress="mine")
        assert list(pool.imap(bodies.slow, range(3))) == [0, 1, 2]
    assert seen == ["all", "mine", "all"]


@pytest.mark.parametrize("wrong", [3, {"colour": "red"}, ["a"]])
def test_what_is_no_progress_is_refused_by_name(shared_pool, wrong):
    with pytest.raises(TypeError, match="description"):
        shared_pool.map(abs, [1], progress=wrong)
    with pytest.raises(TypeError, match="description"):
        Pool(1, progress=wrong)
    with pytest.raises(TypeError, match="description"):
        ProcessPoolExecutor(1, progress=wrong)


def test_nothing_to_do_is_done_at_once(shared_pool, capfd):
    assert shared_pool.map(abs, [], progress=True) == []
    assert capfd.readouterr().err == ""
    assert list(shared_pool.imap(abs, [], progress=True)) == []
    assert capfd.readouterr().err.startswith("progress: 100% 0/0 items")


def test_descriptors_and_threads_are_given_back(pool, recorder):
    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), sum(
            t.name == "distpool-progress" for t in threading.enumerate()
        )

    pool.map(bodies.slow, range(20), chunksize=5, progress=True)
    recorder.wait_last()
    recorder.finished.clear()
    before = count()
    for _ in range(5):
        pool.map(bodies.slow, range(20), chunksize=5, progress=True)
    for thread in threading.enumerate():
        if thread.name == "distpool-progress":
            thread.join(20)
    assert count() <= before


def test_a_cell_is_found_by_the_right_word_only():
    cells = Cells()
    pid, fd, token = cells.place
    first, second = _take_cell(cells.place), _take_cell(cells.place)
    first[0] = 7 << 32 | 3
    second[0] = 9 << 32 | 1
    assert cells.read() == {7: 3, 9: 1}
    assert _take_cell((pid, fd, token + 1)) is None
    with open(os.devnull) as other:
        assert _take_cell((pid, other.fileno(), token)) is None
    cells.close()
    assert _take_cell(cells.place) is None
    assert cells.read() == {7: 3, 9: 1}
    assert Counted(list, cells.place)(0, [1, 2]) == [1, 2]


def test_errors_that_are_returned_are_counted(pool, recorder):
    results = pool.map(bodies.fail_at_three, range(20), chunksize=5, errors="return", progress=True)
    assert [type(result) for result in results].count(ValueError) == 1
    last = recorder.wait_last()
    assert (last.done, last.errors, last.ended) == (20, 1, "done")


def test_an_item_that_took_too_long_is_an_error(recorder):
    with Pool(2) as pool:
        results = pool.map(bodies.nap_at_three, range(8), task_timeout=0.3, errors="return", progress=True)
        assert isinstance(results[3], TimeoutError)
        assert recorder.wait_last().errors == 1


def test_a_map_that_ends_at_its_first_failure_is_stopped(recorder):
    with Pool(1) as pool, pytest.raises(ValueError, match="three"):
        pool.map(bodies.fail_at_three, range(2000), task_timeout=30, progress=True)
    last = recorder.wait_last()
    assert (last.errors, last.ended) == (1, "stopped")
