"""``as_completed`` and ``map_unordered``: every value once, as it comes, and no more under way than allowed."""

import itertools
import os

import pytest

import distpool
from distpool.util import as_completed, map_unordered
from tests.processes.scene import wait_until
from tests.ray_util.bodies import after, double, fails_at, note

pytestmark = pytest.mark.usefixtures("session")


def test_all_values_come_once():
    assert sorted(as_completed([double.remote(x) for x in range(50)])) == list(range(0, 100, 2))
    assert list(as_completed([])) == []
    assert sorted(map_unordered(double, range(50))) == list(range(0, 100, 2))
    assert list(map_unordered(double, [])) == []


def test_what_is_ready_first_comes_first(tmp_path):
    slow, quick = after.remote(str(tmp_path / "go"), "slow"), double.remote(1)
    values = as_completed([slow, quick])
    assert next(values) == 2
    (tmp_path / "go").touch()
    assert list(values) == ["slow"]


def test_references_are_given_when_asked_for():
    refs = [double.remote(x) for x in range(5)]
    given = list(as_completed(refs, yield_obj_refs=True))
    assert set(given) == set(refs)
    assert sorted(distpool.get(list(map_unordered(double, range(3), yield_obj_refs=True)))) == [0, 2, 4]


def test_an_error_comes_in_its_turn():
    values = as_completed([fails_at.remote(x, 1) for x in range(2)])
    with pytest.raises(ValueError, match="1 is bad"):
        list(values)
    assert list(values) == []
    with pytest.raises(ValueError, match="9 is bad"):
        list(map_unordered(_Partly(fails_at, 9), range(20)))


class _Partly:
    """A remote function of one argument."""

    def __init__(self, function, *rest):
        self.function, self.rest = function, rest

    def remote(self, x):
        return self.function.remote(x, *self.rest)


@pytest.mark.parametrize("size", [1, 3])
def test_no_more_than_the_bound_is_under_way(size, tmp_path):
    folder = str(tmp_path)
    asked = []

    def items():
        for number in itertools.count():
            asked.append(number)
            yield number

    class Noted:
        remote = staticmethod(lambda number: note.remote(folder, number))

    values = map_unordered(Noted, items(), backpressure_size=size)
    assert asked == []
    for taken in range(1, 8):
        next(values)
        assert len(asked) == size + taken
        wait_until(lambda: len(os.listdir(folder)) == len(asked), "all that were asked for ran", 20)
    values.close()
    assert len(asked) == size + 7


def test_without_a_bound_all_items_are_read_at_once():
    items = iter(range(200))
    values = map_unordered(double, items, backpressure_size=None)
    next(values)
    assert list(items) == []
    assert len(list(values)) == 199


def test_methods_of_actors_do_as_well():
    from tests.ray_util.bodies import Worker

    worker = Worker.remote()
    assert sorted(map_unordered(worker.double, range(5), backpressure_size=2)) == [0, 2, 4, 6, 8]


def test_a_task_may_iterate_too():
    @distpool.remote
    def outer(count):
        return sorted(as_completed([double.remote(x) for x in range(count)]))

    assert distpool.get(outer.remote(10), timeout=60) == list(range(0, 20, 2))


def test_an_iterator_that_nobody_finishes_lets_go(tmp_path):
    refs = [after.remote(str(tmp_path / "go"), x) for x in range(3)]
    values = as_completed([*refs, distpool.put(7)])
    assert next(values) == 7
    values.close()
    assert all(not ref.watchers for ref in refs)
    (tmp_path / "go").touch()
    assert distpool.get(refs, timeout=60) == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: as_completed([distpool.put(1)], chunk_size=0), ValueError, "chunk_size must be at least 1, not 0"),
        (lambda: as_completed([1]), TypeError, "one of these is a int"),
        (lambda: as_completed([distpool.put(1)] * 2), ValueError, "there twice"),
        (lambda: as_completed([], chunk=3), TypeError, "no option 'chunk'"),
        (lambda: map_unordered(len, [1]), TypeError, "put @distpool.remote before len"),
        (lambda: map_unordered(double, [1], backpressure_size=0), ValueError, "at least 1, or None"),
        (lambda: map_unordered(double, 3), TypeError, "not iterable"),
    ],
)  # fmt: skip
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call()
