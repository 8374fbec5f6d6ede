"""Contexts, and how many CPUs there are for us."""

import multiprocessing
import os

import pytest

import distpool
from distpool import context, cpus
from distpool.engines import current, use
from distpool.engines.local import LocalEngine
from distpool.pool import Pool

METHODS = ["fork", "spawn", "forkserver"]


@pytest.mark.parametrize("method", METHODS)
def test_context_is_a_standard_one_whose_things_are_ours(method):
    ours, standard = context.get_context(method), multiprocessing.get_context(method)
    assert isinstance(ours, type(standard))
    assert ours is context.get_context(method)
    assert ours.get_start_method() == method
    assert ours.get_context() is ours
    assert ours.get_context("spawn") is context.get_context("spawn")
    assert ours.Process is standard.Process
    assert ours.cpu_count() == cpus.cpu_count()
    with use(LocalEngine()), ours.Pool(1) as pool:
        assert type(pool) is Pool
        assert pool._ctx is ours


MADE = {
    "Lock": ("synchronize", ()),
    "RLock": ("synchronize", ()),
    "Semaphore": ("synchronize", (2,)),
    "BoundedSemaphore": ("synchronize", (2,)),
    "Condition": ("synchronize", ()),
    "Event": ("synchronize", ()),
    "Barrier": ("synchronize", (2,)),
    "Queue": ("queues", (2,)),
    "JoinableQueue": ("queues", (2,)),
    "SimpleQueue": ("queues", ()),
    "Value": ("sharedctypes", ("i", 1)),
    "Array": ("sharedctypes", ("i", [1, 2])),
}


@pytest.mark.parametrize("name", MADE)
def test_what_contexts_and_the_package_make_is_ours(name):
    module, arguments = MADE[name]
    for maker in (distpool, *(context.get_context(method) for method in METHODS)):
        assert type(getattr(maker, name)(*arguments)).__module__ == f"distpool.{module}"


def test_raw_memory_has_the_shape_that_was_asked_for():
    for maker in (distpool, context.get_context("spawn")):
        assert maker.RawValue("i", 3).value == 3
        assert list(maker.RawArray("d", [1.5, 2.5])) == [1.5, 2.5]


def test_a_manager_belongs_to_the_start_method_that_is_current_when_it_is_made():
    before = distpool.get_start_method()
    try:
        distpool.set_start_method("forkserver", force=True)
        with distpool.Manager() as manager:
            assert type(manager).__module__ == "distpool.managers"
            assert manager._ctx is context.get_context("forkserver")
        assert multiprocessing.get_start_method() == "forkserver"
    finally:
        distpool.set_start_method(before, force=True)


def test_default_context():
    assert context.get_context().get_start_method() == multiprocessing.get_context().get_start_method()
    assert distpool.get_context is context.get_context


def test_unknown_context():
    with pytest.raises(ValueError, match="cannot find context for 'threads'"):
        context.get_context("threads")


def test_innermost_engine_counts():
    first, second = LocalEngine(), LocalEngine()
    with use(first):
        with use(second):
            assert current() is second
        assert current() is first


def test_cpu_count_is_within_affinity():
    assert 1 <= cpus.cpu_count() <= len(os.sched_getaffinity(0))
    assert distpool.cpu_count is cpus.cpu_count


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("", {}, None),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, 2.0),
        ("0::/../host\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "3:cpu,cpuacct:/docker/1\n2:memory:/x\n",
            {
                "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            "3:cpu:/gone\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
    ],
)
def test_quota(tmp_path, monkeypatch, cgroup, files, quota):
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(cgroup)
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text + "\n")
    assert cpus._quota(proc, mount) == quota
    monkeypatch.setattr(cpus, "_PROC", proc)
    monkeypatch.setattr(cpus, "_CGROUP", mount)
    monkeypatch.setattr(cpus, "_affinity", lambda: 8)
    assert cpus.cpu_count() == {None: 8, 0.5: 1, 1.5: 2, 2.0: 2, 2.5: 3, 3.0: 3}[quota]
