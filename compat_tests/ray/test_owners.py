"""What outlives whom: objects and their makers, on a cluster whose workers die."""

import os
import signal

import numpy as np
import pytest

from compat_tests.ray.waiting import call_until_it_raises, eventually, has_ended


@pytest.fixture
def maker(ray):
    """An actor that starts tasks, and can be killed."""

    @ray.remote
    class Maker:
        def finish(self, value):
            ref = ray.remote(lambda: value).remote()
            ray.get(ref)
            return [ref]

        def start(self, gate):
            @ray.remote
            def stand(gate):
                gate.wait()
                return "made"

            return [stand.remote(gate)]

        def result(self, size):
            return np.ones(size)

        def process(self):
            return os.getpid()

    handle = Maker.remote()
    ray.get(handle.process.remote())
    return handle


def kill(ray, handle):
    os.kill(ray.get(handle.process.remote()), signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        call_until_it_raises(lambda: ray.get(handle.process.remote()))


def test_what_a_dead_worker_had_finished(ray, maker):
    """A small value comes with the reference to it."""
    (ref,) = ray.get(maker.finish.remote("of a worker"))
    kill(ray, maker)
    assert ray.get(ref) == "of a worker"


def test_what_a_dead_worker_had_not_finished(ray, maker, gate):
    (ref,) = ray.get(maker.start.remote(gate))
    gate.arrived.wait_count(1)
    kill(ray, maker)
    with pytest.raises(ray.exceptions.OwnerDiedError):
        ray.get(ref, timeout=20)


def test_results_outlive_the_worker_that_made_them(ray, maker):
    ref = maker.result.remote(1_000_000)
    ray.wait([ref])
    kill(ray, maker)
    assert ray.get(ref).sum() == 1_000_000


def test_small_results_outlive_it_too(ray, maker):
    ref = maker.result.remote(2)
    ray.wait([ref])
    kill(ray, maker)
    assert ray.get(ref).tolist() == [1, 1]


def test_a_result_of_a_task_outlives_its_worker(ray):
    @ray.remote(max_calls=1)
    def make():
        return np.ones(1_000_000), os.getpid()

    array, process = ray.get(make.remote())
    eventually(lambda: has_ended(process))
    assert array.sum() == 1_000_000
