"""Tasks that start tasks and wait for them: as deep and as wide as it comes, on fewer CPUs than there are levels."""

import pytest

INIT = {"num_cpus": 2}


@pytest.fixture
def fib(ray):
    @ray.remote
    def fib(n):
        if n < 2:
            return n
        return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    return fib


def test_naive_recursion(ray, fib):
    assert ray.get(fib.remote(7)) == 13


def test_a_chain_is_longer_than_there_are_cpus(ray):
    @ray.remote
    def chain(length):
        return 0 if length == 0 else 1 + ray.get(chain.remote(length - 1))

    assert ray.get(chain.remote(24)) == 24


def test_a_tree(ray):
    @ray.remote
    def tree(levels, fan_out):
        if levels == 0:
            return 1
        return 1 + sum(ray.get([tree.remote(levels - 1, fan_out) for _ in range(fan_out)]))

    assert ray.get(tree.remote(3, 3)) == 1 + 3 + 9 + 27


def test_an_error_comes_up_through_all_levels(ray):
    @ray.remote
    def fall(levels):
        if levels == 0:
            raise KeyError("at the bottom")
        ray.get(fall.remote(levels - 1))

    with pytest.raises(KeyError):
        ray.get(fall.remote(8))


def test_each_level_catches_what_the_one_below_raises(ray):
    @ray.remote
    def catch(levels):
        if levels == 0:
            raise KeyError("at the bottom")
        try:
            return ray.get(catch.remote(levels - 1))
        except KeyError:
            return levels

    assert ray.get(catch.remote(6)) == 1


def test_tasks_of_a_task_go_on_while_it_waits_for_one(ray):
    @ray.remote
    def one(x):
        return x

    @ray.remote
    def outer():
        refs = [one.remote(x) for x in range(20)]
        first, rest = ray.wait(refs, num_returns=1)
        return sum(ray.get(first + rest))

    assert ray.get([outer.remote() for _ in range(4)]) == [190] * 4


def test_an_actor_waits_for_a_task_that_waits_for_tasks(ray, fib):
    @ray.remote
    class Asker:
        def ask(self, n):
            return ray.get(fib.remote(n))

    asker = Asker.remote()
    assert ray.get(asker.ask.remote(5)) == 5


def test_tasks_call_an_actor_that_calls_tasks(ray):
    @ray.remote
    def leaf(x):
        return x + 1

    @ray.remote
    class Middle:
        def add(self, x):
            return ray.get(leaf.remote(x))

    @ray.remote
    def top(middle, x):
        return ray.get(middle.add.remote(x))

    middle = Middle.remote()
    assert ray.get([top.remote(middle, x) for x in range(6)]) == [1, 2, 3, 4, 5, 6]
