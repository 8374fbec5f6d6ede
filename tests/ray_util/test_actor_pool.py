"""``ActorPool``: values go to actors that are free, results come in order or as they are ready."""

import pytest

import distpool
from distpool.exceptions import ActorDiedError
from distpool.util import ActorPool
from tests.processes.scene import wait_until
from tests.ray_util.bodies import Worker

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def actors():
    made = [Worker.remote(), Worker.remote()]
    distpool.get([actor.pid.remote() for actor in made], timeout=60)
    return made


@pytest.fixture
def pool(actors):
    return ActorPool(actors)


def double(actor, value):
    return actor.double.remote(value)


def test_map_gives_results_in_order(pool):
    assert list(pool.map(double, range(20))) == list(range(0, 40, 2))
    assert list(pool.map(double, [])) == []


def test_map_unordered_gives_each_once(pool):
    assert sorted(pool.map_unordered(double, range(20))) == list(range(0, 40, 2))


def test_all_actors_work(pool, actors):
    pids = set(pool.map(lambda actor, _: actor.pid.remote(), range(20)))
    assert pids == set(distpool.get([actor.pid.remote() for actor in actors]))


def test_in_order_the_slow_one_is_waited_for(pool, tmp_path):
    go = str(tmp_path / "go")
    pool.submit(lambda actor, value: actor.after.remote(go, value), "slow")
    pool.submit(double, 1)
    with pytest.raises(TimeoutError, match=r"result 0 was not there within 0\.01 s"):
        pool.get_next(timeout=0.01)
    (tmp_path / "go").touch()
    assert [pool.get_next(timeout=60), pool.get_next(timeout=60)] == ["slow", 2]


def test_unordered_the_quick_one_comes_first(pool, tmp_path):
    go = str(tmp_path / "go")
    pool.submit(lambda actor, value: actor.after.remote(go, value), "slow")
    pool.submit(double, 1)
    assert pool.get_next_unordered(timeout=60) == 2
    with pytest.raises(TimeoutError, match="no result was there"):
        pool.get_next_unordered(timeout=0)
    with pytest.raises(ValueError, match="in order"):
        pool.get_next()
    (tmp_path / "go").touch()
    assert pool.get_next_unordered(timeout=60) == "slow"
    pool.submit(double, 2)
    assert pool.get_next() == 4


def test_what_is_free_and_what_is_left(pool):
    assert (pool.has_next(), pool.has_free()) == (False, True)
    for value in range(3):
        pool.submit(double, value)
    assert (pool.has_next(), pool.has_free()) == (True, False)
    assert pool.pop_idle() is None
    assert [pool.get_next() for _ in range(3)] == [0, 2, 4]
    assert (pool.has_next(), pool.has_free()) == (False, True)
    for take in (pool.get_next, pool.get_next_unordered):
        with pytest.raises(StopIteration, match="no more results"):
            take()


def test_a_result_that_is_late_may_be_given_up(pool, tmp_path):
    go = str(tmp_path / "go")
    for value in range(3):
        pool.submit(lambda actor, value: actor.after.remote(go, value), value)
    for take in (pool.get_next, pool.get_next_unordered):
        with pytest.raises(TimeoutError, match="given up"):
            take(timeout=0, ignore_if_timedout=True)
    (tmp_path / "go").touch()
    assert pool.get_next_unordered(timeout=60) == 2
    assert not pool.has_next()


def test_an_error_is_raised_in_its_turn_and_costs_nobody(pool):
    for value in range(4):
        pool.submit(lambda actor, value: actor.fails_at.remote(value, 1), value)
    assert pool.get_next() == 0
    with pytest.raises(ValueError, match="1 is bad"):
        pool.get_next()
    assert [pool.get_next(), pool.get_next()] == [2, 3]
    assert pool.has_free()


def test_calls_with_several_results(pool):
    assert list(pool.map(lambda actor, value: actor.two.remote(value), [1, 2])) == [[1, -1], [2, -2]]
    assert sorted(pool.map_unordered(lambda actor, value: actor.two.remote(value), [1, 2])) == [
        [1, -1],
        [2, -2],
    ]


def test_a_call_that_cannot_be_made_leaves_the_pool_whole(pool):
    with pytest.raises(AttributeError):
        pool.submit(lambda actor, value: actor.nothing.remote(value), 1)
    assert pool.has_free()
    assert not pool.has_next()
    assert list(pool.map(double, [1])) == [2]


def test_map_throws_earlier_results_away(pool):
    for value in (100, 200, 300):
        pool.submit(double, value)
    assert list(pool.map(double, range(3))) == [0, 2, 4]
    pool.submit(double, 100)
    assert sorted(pool.map_unordered(double, range(3))) == [0, 2, 4]


def test_actors_come_and_go(pool, actors):
    taken = [pool.pop_idle(), pool.pop_idle()]
    assert set(taken) == set(actors)
    assert pool.pop_idle() is None
    pool.submit(double, 1)
    assert not pool.has_free()
    pool.push(taken[0])
    with pytest.raises(ValueError, match="in the ActorPool already"):
        pool.push(taken[0])
    assert pool.get_next() == 2
    with pytest.raises(ValueError, match="in the ActorPool already"):
        pool.push(taken[0])


def test_a_dead_actor_does_not_come_back(pool):
    pool.submit(lambda actor, _: actor.die.remote(), 0)
    for value in range(3):
        pool.submit(double, value)
    with pytest.raises(ActorDiedError):
        pool.get_next(timeout=60)
    assert [pool.get_next(timeout=60) for _ in range(3)] == [0, 2, 4]


def test_when_all_are_dead_what_waits_is_told():
    pool = ActorPool([Worker.remote()])
    pool.submit(lambda actor, _: actor.die.remote(), 0)
    pool.submit(double, 1)
    pool.submit(double, 2)
    with pytest.raises(ActorDiedError):
        pool.get_next(timeout=60)
    assert pool.has_next()
    with pytest.raises(ActorDiedError, match="2 values wait for one"):
        pool.get_next(timeout=60)
    assert not pool.has_next()
    pool.push(Worker.remote())
    assert list(pool.map(double, [3])) == [6]


def test_a_call_that_met_another_actors_death_keeps_its_own(pool):
    @distpool.remote
    class Asker:
        def ask(self, other):
            return distpool.get(other.double.remote(1))

    dead = Worker.remote()
    with pytest.raises(ActorDiedError):
        distpool.get(dead.die.remote(), timeout=60)
    asked = ActorPool([Asker.remote()])
    for _ in range(2):
        asked.submit(lambda actor, other: actor.ask.remote(other), dead)
        with pytest.raises(ActorDiedError):
            asked.get_next(timeout=60)
    wait_until(asked.has_free, "its actor is back", 10)
