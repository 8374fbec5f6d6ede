"""Contexts, and how many CPUs there are for us."""

import multiprocessing
import os

import pytest

import distpool
from distpool import context, cpus
from distpool.engines import current, use
from distpool.engines.local import LocalEngine
from distpool.pool import Pool


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_context_is_a_standard_one_with_our_pool(method):
    ours, standard = context.get_context(method), multiprocessing.get_context(method)
    assert isinstance(ours, type(standard))
    assert ours is context.get_context(method)
    assert ours.get_start_method() == method
    assert ours.get_context() is ours
    assert ours.get_context("spawn") is context.get_context("spawn")
    assert ours.Process is standard.Process
    assert ours.cpu_count() == cpus.cpu_count()
    lock = ours.Lock()
    assert type(lock) is type(standard.Lock())
    with use(LocalEngine()), ours.Pool(1) as pool:
        assert type(pool) is Pool
        assert pool._ctx is ours


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
