"""The backend "distpool": what joblib's own tests do not ask, because its own backends do not have it."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from pickle import PicklingError
from typing import Any

import joblib
import numpy
import pytest
from joblib import Parallel, delayed, parallel_config

import distpool.joblib
from distpool import engines
from distpool.engines.local import LocalEngine
from distpool.errors import ClusterError, WorkerDied
from distpool.futures import ProcessPoolExecutor
from distpool.joblib_workers import _hired
from distpool.scheduler.client import session
from distpool.util.joblib import register_ray
from tests.joblib import bodies
from tests.processes.scene import wait_until

ROUND = 24


def parallel(**options: Any) -> Parallel:
    return Parallel(**{"n_jobs": 2, "backend": "distpool", **options})


def test_register_makes_the_name_known_and_may_make_it_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joblib.parallel.BACKENDS["distpool"] is distpool.joblib.DistpoolBackend
    monkeypatch.setattr(joblib.parallel, "DEFAULT_BACKEND", "loky")
    distpool.joblib.register(make_default=True)
    assert type(Parallel(n_jobs=2)._backend) is distpool.joblib.DistpoolBackend


def test_all_cpus_are_used_where_nobody_says_how_many() -> None:
    with parallel_config(backend="distpool"):
        assert Parallel()._effective_n_jobs() == engines.worker_count()
        assert joblib.effective_n_jobs(None) == engines.worker_count()
        assert joblib.effective_n_jobs(-2) == max(1, engines.worker_count() - 1)


def test_an_unknown_option_is_named_with_those_that_there_are() -> None:
    for make in (
        lambda: parallel_config(backend="distpool", resource={"GPU": 1}),
        lambda: parallel(resource={"GPU": 1})([delayed(abs)(-1)]),
    ):
        with pytest.raises(TypeError, match=r"no option 'resource'; there are .*resources, retries"):
            make()


def test_options_are_what_the_workers_are_asked_for_with(no_workers: None) -> None:
    asked = []

    class Asked(LocalEngine):
        def open_pool(self, spec: Any) -> Any:
            asked.append(spec)
            return super().open_pool(spec)

    engine = Asked()
    with (
        engines.use(engine),
        parallel_config("distpool", resources={"GPU": 1}, inner_max_num_threads=3, max_worker_memory="1G"),
    ):
        assert Parallel(n_jobs=3, retries=0)(delayed(abs)(-i) for i in range(9)) == list(range(9))
    (spec,) = asked
    assert (spec.size, spec.resources, spec.retries, spec.memory_bytes_max) == (3, {"GPU": 1}, 0, 10**9)
    assert spec.environment["OMP_NUM_THREADS"] == spec.environment["LOKY_MAX_CPU_COUNT"] == "3"
    for workers in list(_hired):
        distpool.joblib_workers._close(workers)
    engine.shutdown()


# ------------------------------------------------------------------------------------------ data


def stored_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the big things that this process puts into its store, from now on."""
    sizes: list[int] = []
    store = session().store
    put = store.put

    def counting(objects: Any, **options: Any) -> Any:
        sizes.extend(sum(memoryview(part).nbytes for part in parts) for parts in objects)
        return put(objects, **options)

    monkeypatch.setattr(store, "put", counting)
    return sizes


@pytest.mark.parametrize("wrapped", ["plain", "in a dict", "as a view"])
def test_an_array_of_many_tasks_is_moved_once(
    wrapped: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If what has occurred once occurs again before its task is over, with which it would be forgotten."""
    array = numpy.zeros(400_000)
    sizes = stored_bytes(monkeypatch)
    all_handed_over = tmp_path / "all"

    def first(what: Any) -> float:
        wait_until(all_handed_over.exists, "no task is over before")
        return float((what["array"] if isinstance(what, dict) else what)[0])

    def tasks() -> Iterator[Any]:
        for _ in range(ROUND):
            yield delayed(first)(make())
        all_handed_over.touch()

    make = {"plain": lambda: array, "in a dict": lambda: {"array": array}, "as a view": lambda: array[:]}[
        wrapped
    ]
    assert parallel(batch_size=1, pre_dispatch="all")(tasks()) == [0.0] * ROUND
    assert [size for size in sizes if size >= array.nbytes] == [array.nbytes]


def test_tasks_write_to_what_they_get_and_nobody_else_sees_it() -> None:
    array = numpy.zeros(400_000)
    firsts = parallel(batch_size=1)(delayed(bodies.first_and_add)(array, i) for i in range(ROUND))
    assert firsts == [0.0] * ROUND
    assert array[0] == 0.0


def test_what_changes_between_two_calls_is_seen_by_the_second() -> None:
    array = numpy.zeros(400_000)
    with parallel(batch_size=1) as calls:
        for value in (0.0, 7.0):
            array[0] = value
            assert set(calls(delayed(bodies.first_and_add)(array, i) for i in range(4))) == {value}


# --------------------------------------------------------------------------------------- threads


def test_workers_have_their_share_of_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    share = str(max(joblib.cpu_count() // 2, 1))
    assert parallel()([delayed(bodies.environment)(names)]) == [[share] * 3]
    with parallel_config("distpool", n_jobs=2, inner_max_num_threads=5):
        assert Parallel()([delayed(bodies.environment)(names)]) == [["5"] * 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's own word
    assert parallel()([delayed(bodies.environment)(names)]) == [["7", share, share]]


def test_a_nested_call_for_all_cpus_starts_no_more_threads_than_there_are_cpus_for_it() -> None:
    n_jobs = joblib.cpu_count() + 1
    for cpus, threads, processes in parallel(n_jobs=n_jobs)(
        delayed(bodies.cpus_and_nested_pids)() for _ in range(2)
    ):
        assert (cpus, threads, processes) == (1, 1, 1)


def nested_pids() -> list[int]:
    return parallel(n_jobs=2)(delayed(bodies.pid)() for _ in range(4))


def test_workers_may_have_workers_of_their_own() -> None:
    pids = parallel(n_jobs=2)(delayed(nested_pids)() for _ in range(2))
    assert [len(some) for some in pids] == [4, 4]


# --------------------------------------------------------------------------------------- workers


def test_calls_that_follow_each_other_have_the_same_workers(tmp_path: Path, no_workers: None) -> None:
    pids = []
    for turn in range(3):
        (tmp_path / str(turn)).mkdir()
        pids.append(set(parallel()(delayed(bodies.meet)(str(tmp_path / str(turn)), 2) for _ in range(2))))
    assert pids[0] == pids[1] == pids[2]
    assert len(pids[0]) == 2
    assert len(_hired) == 1


def test_calls_that_run_at_one_time_share_their_workers(tmp_path: Path, no_workers: None) -> None:
    first, second = parallel(return_as="generator"), parallel(return_as="generator")
    one = first(delayed(bodies.meet)(str(tmp_path), 2) for _ in range(8))
    other = second(delayed(bodies.meet)(str(tmp_path), 2) for _ in range(8))
    assert len({*one, *other}) == 2
    assert len(_hired) == 1


def test_a_call_between_two_results_of_another() -> None:
    """With joblib's own backend both wait for ever: it has one place for the workers of all calls."""
    with parallel_config("distpool", n_jobs=2):
        outer = Parallel(return_as="generator", batch_size=1)
        sums = [
            sum([number, *Parallel()(delayed(bodies.square)(i) for i in range(4))])
            for number in outer(delayed(bodies.square)(i) for i in range(12))
        ]
        assert sums == [14 + i * i for i in range(12)]
        assert sum(outer(delayed(bodies.square)(i) for i in range(4))) == 14


def test_another_number_is_had_of_the_same_workers_if_nobody_else_has_them(
    tmp_path: Path, no_workers: None
) -> None:
    two = set(parallel()(delayed(bodies.meet)(str(tmp_path), 2) for _ in range(2)))
    three = set(parallel(n_jobs=3)(delayed(bodies.meet)(str(tmp_path), 3) for _ in range(3)))
    assert len(three) == 3
    assert two <= three


def test_workers_with_another_initializer_are_others(no_workers: None) -> None:
    words = [
        parallel(initializer=bodies.set_word, initargs=(word,))([delayed(bodies.word)()]) for word in "abb"
    ]
    assert words == [["a"], ["b"], ["b"]]
    assert len(_hired) == 1, "the idle ones of another kind have gone"


def test_workers_without_work_go_after_their_time(no_workers: None) -> None:
    assert parallel(idle_worker_timeout=0.05)([delayed(abs)(-1)]) == [1]
    (workers,) = _hired
    assert workers.pool.wait_gone(10.0)
    assert _hired == []


# ---------------------------------------------------------------------------------------- errors


def test_an_error_ends_the_others_and_the_workers_stay(tmp_path: Path, no_workers: None) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    before = set(parallel()(delayed(bodies.meet)(str(tmp_path / "before"), 2) for _ in range(2)))
    waits = str(tmp_path / "waits")
    began_s = time.monotonic()
    with pytest.raises(ValueError, match="as it was told") as raised:
        parallel()([delayed(bodies.note_and_wait_for_ever)(waits), delayed(bodies.raise_when)(waits)])
    assert time.monotonic() - began_s < 10
    assert "in raise_when" in str(raised.value.__cause__), "where it was raised"
    after = set(parallel()(delayed(bodies.meet)(str(tmp_path / "after"), 2) for _ in range(2)))
    assert (tmp_path / "waits.interrupted").exists()
    assert after == before


def test_what_cannot_be_sent_is_a_pickling_error_that_names_it() -> None:
    lock = threading.Lock()
    for tasks in ([delayed(abs)(lock)] * 2, (delayed(abs)(lock if i == 12 else i) for i in range(20))):
        with pytest.raises(
            PicklingError, match=r"could not pickle the task to send .*cannot pickle '_thread.lock'"
        ):
            parallel(batch_size=1)(tasks)


def test_a_worker_that_is_killed_costs_nothing_or_says_how_it_died(tmp_path: Path) -> None:
    assert len(parallel()(delayed(bodies.die_once)(str(tmp_path / "1")) for _ in range(4))) == 4
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        parallel(retries=0)(delayed(bodies.die_once)(str(tmp_path / "2")) for _ in range(4))


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_what_the_iterable_raises_ends_the_call(error: type[BaseException]) -> None:
    def tasks() -> Iterator[Any]:
        for i in range(40):
            if i == 30:
                raise error
            yield delayed(bodies.square)(i)

    with pytest.raises(error):
        parallel(batch_size=1)(tasks())


def test_the_iterable_may_itself_wait_for_distpool() -> None:
    """It is read on a thread that no other work needs."""
    with ProcessPoolExecutor(1) as executor:
        numbers = (executor.submit(abs, -i).result() for i in range(ROUND))
        assert parallel(batch_size=1)(delayed(bodies.square)(i) for i in numbers) == [
            i * i for i in range(ROUND)
        ]


def test_a_timeout_interrupts_what_runs(tmp_path: Path) -> None:
    waits = tmp_path / "waits"
    with pytest.raises(multiprocessing.TimeoutError):
        parallel(timeout=0.3)(delayed(bodies.note_and_wait_for_ever)(str(waits)) for _ in range(2))
    assert parallel()([delayed(bodies.wait_for)(str(waits) + ".interrupted")])


def test_a_forked_child_has_workers_of_its_own() -> None:
    assert parallel()([delayed(abs)(-1)]) == [1]
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_call_in_child)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_a_forked_child_that_uses_its_parents_call_is_told_so() -> None:
    with parallel() as calls:
        assert calls([delayed(abs)(-1)]) == [1]
        child = multiprocessing.get_context("fork").Process(target=_use_parents, args=(calls,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert calls([delayed(abs)(-2)]) == [2]


def _use_parents(calls: Parallel) -> None:
    with pytest.raises(ClusterError, match="parent process"):
        calls([delayed(abs)(-1)])


def test_workers_that_cannot_be_set_up_say_why_and_are_not_kept(no_workers: None) -> None:
    for _ in range(2):
        with pytest.raises(Exception, match="no such word") as raised:
            parallel(initializer=bodies.fail_to_set_up)([delayed(abs)(-1)] * 4)
        assert isinstance(raised.value, BrokenProcessPool | LookupError)
    assert _hired == []


def _call_in_child() -> None:
    assert parallel()(delayed(abs)(-i) for i in range(9)) == list(range(9))


def test_rays_name_for_it_takes_rays_word_for_what_workers_need() -> None:
    register_ray()
    with parallel_config(backend="ray", n_jobs=2, ray_remote_args={"num_cpus": 0.5}):
        assert Parallel()(delayed(abs)(-number) for number in range(4)) == [0, 1, 2, 3]
    asked = {"num_cpus": 0.5, "resources": {"no such": 1}}
    with (
        parallel_config(backend="ray", n_jobs=2, ray_remote_args=asked),
        pytest.raises(WorkerDied, match=r"asks for CPU 0\.5, no such 1, and no node has that"),
    ):
        Parallel()(delayed(abs)(-number) for number in range(4))
    with (
        pytest.raises(ValueError, match="num_cpu"),
        parallel_config(backend="ray", ray_remote_args={"num_cpu": 1}),
    ):
        pass
