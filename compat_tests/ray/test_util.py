"""ray.util: the pool of actors, iterators over results, serialization."""

import os
import threading

import pytest


@pytest.fixture
def pool(ray):
    from ray.util import ActorPool

    @ray.remote
    class Doubler:
        def double(self, x):
            return 2 * x

        def stand(self, gate):
            gate.wait()
            return "through"

        def fail(self, x):
            raise ValueError(f"value {x}")

    return ActorPool([Doubler.remote() for _ in range(2)])


def test_a_pools_map_keeps_the_order(pool):
    assert list(pool.map(lambda actor, x: actor.double.remote(x), range(10))) == list(range(0, 20, 2))


def test_a_pools_unordered_map(pool):
    found = pool.map_unordered(lambda actor, x: actor.double.remote(x), range(10))
    assert sorted(found) == list(range(0, 20, 2))


def test_a_pool_takes_single_values(pool):
    assert pool.has_next() is False
    for x in range(4):
        pool.submit(lambda actor, x: actor.double.remote(x), x)
    assert [pool.get_next() for _ in range(4)] == [0, 2, 4, 6]
    assert pool.has_next() is False


def test_a_pool_gives_what_is_ready(pool, gate):
    pool.submit(lambda actor, gate: actor.stand.remote(gate), gate)
    pool.submit(lambda actor, x: actor.double.remote(x), 4)
    assert pool.get_next_unordered() == 8
    gate.open()
    assert pool.get_next_unordered() == "through"


def test_a_pool_that_is_not_ready(pool, gate):
    pool.submit(lambda actor, gate: actor.stand.remote(gate), gate)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.1)
    gate.open()
    assert pool.get_next(timeout=20) == "through"


def test_nothing_next(pool):
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_free_actors_of_a_pool(ray, pool):
    assert pool.has_free() is True
    first, second = pool.pop_idle(), pool.pop_idle()
    assert pool.pop_idle() is None
    assert pool.has_free() is False
    assert ray.get(first.double.remote(1)) == 2
    pool.push(first)
    assert pool.has_free() is True
    with pytest.raises(ValueError, match="ActorPool"):
        pool.push(first)
    pool.push(second)


def test_more_values_than_actors_wait(pool, gate):
    for _ in range(2):
        pool.submit(lambda actor, gate: actor.stand.remote(gate), gate)
    assert pool.has_free() is False
    pool.submit(lambda actor, x: actor.double.remote(x), 5)
    gate.open()
    assert [pool.get_next() for _ in range(3)] == ["through", "through", 10]


def test_an_exception_in_a_pool(pool):
    pool.submit(lambda actor, x: actor.fail.remote(x), 1)
    with pytest.raises(ValueError, match="value 1"):
        pool.get_next()


def test_results_as_they_complete(ray, gate):
    from ray.util import as_completed

    @ray.remote
    def stand(gate):
        gate.wait()
        return "late"

    refs = [stand.remote(gate), ray.put("early")]
    found = as_completed(refs, chunk_size=1)
    assert next(found) == "early"
    gate.open()
    assert list(found) == ["late"]


def test_references_as_they_complete(ray):
    from ray.util import as_completed

    refs = [ray.put(i) for i in range(5)]
    found = list(as_completed(refs, yield_obj_refs=True))
    assert set(found) == set(refs)


def test_a_map_over_items(ray):
    from ray.util import map_unordered

    @ray.remote
    def square(x):
        return x * x

    assert sorted(map_unordered(square, range(30))) == [x * x for x in range(30)]
    assert sorted(map_unordered(square, iter(range(30)), backpressure_size=4, chunk_size=2)) == [
        x * x for x in range(30)
    ]
    assert list(map_unordered(square, [])) == []


def test_a_map_holds_back(ray, gate):
    from ray.util import map_unordered

    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    @ray.remote
    def square(x):
        return x * x

    found = map_unordered(square, items(), backpressure_size=5, chunk_size=1)
    next(found)
    assert len(taken) <= 10
    assert len(list(found)) == 99


def test_a_serializer_of_ones_own(ray):
    from ray.util import deregister_serializer, register_serializer

    class Holder:
        def __init__(self, value):
            self.value = value
            self.lock = threading.Lock()

    with pytest.raises(TypeError):
        ray.put(Holder(1))
    register_serializer(Holder, serializer=lambda holder: holder.value, deserializer=Holder)
    try:
        assert ray.get(ray.put(Holder(3))).value == 3
        assert ray.get(ray.remote(lambda holder: holder.value + 1).remote(Holder(4))) == 5
    finally:
        deregister_serializer(Holder)
    with pytest.raises(TypeError):
        ray.put(Holder(1))


def test_what_makes_a_value_unserializable(ray):
    from ray.util import inspect_serializability

    class Holder:
        def __init__(self):
            self.culprit = threading.Lock()

    lines = []

    class Out:
        def write(self, text):
            lines.append(text)

    assert inspect_serializability([1, "a"], name="fine", print_file=Out())[0] is True
    found, failures = inspect_serializability(Holder(), name="holder", print_file=Out())
    assert found is False
    assert [failure.path[-1] for failure in failures] == ["culprit"]
    assert "culprit" in "".join(lines)


def test_a_log_line_once(library):
    from ray.util import log_once

    assert [log_once("a key of this test") for _ in range(3)] == [True, False, False]


def test_its_pool_of_processes(ray):
    from ray.util.multiprocessing import Pool

    def taken(_):
        return os.environ.get("SET_BY_INITIALIZER")

    def prepare(value):
        os.environ["SET_BY_INITIALIZER"] = value

    with Pool(2, prepare, ("prepared",), ray_remote_args={"num_cpus": 1}) as pool:
        assert pool.map(taken, range(4)) == ["prepared"] * 4
        assert pool.apply(pow, (2, 5)) == 32
        assert list(pool.imap(str, range(3))) == ["0", "1", "2"]
        in_chunks = pool.imap(str, range(4), chunksize=2)
        assert [in_chunks.next(timeout=20) for _ in range(4)] == ["0", "1", "2", "3"]
        unordered = pool.imap_unordered(str, range(4), chunksize=2)
        assert sorted(unordered.next(timeout=20) for _ in range(4)) == ["0", "1", "2", "3"]
        for no_iterable in (pool.imap, pool.imap_unordered):
            with pytest.raises(TypeError, match="not iterable"):
                no_iterable(str, 3)


def test_its_backend_for_joblib(ray):
    joblib = pytest.importorskip("joblib")
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(pow)(i, 2) for i in range(5)) == [0, 1, 4, 9, 16]
