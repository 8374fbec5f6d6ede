"""`import distpool as multiprocessing`: every name is there, each from where it belongs, and nothing is paid early."""

import concurrent.futures
import importlib
import multiprocessing
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import distpool

ROOT = Path(__file__).resolve().parents[2]
IMPORT_MS_MAX = 30
ROUNDS = 15


def seconds_of(code: str) -> float:
    """Time one new interpreter running `code`, without `site`, whose cost depends on what is installed."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True, timeout=60)
    return time.perf_counter() - started


def test_import_takes_under_30_ms_over_bare_python() -> None:
    pairs = [(seconds_of("pass"), seconds_of("import distpool")) for _ in range(ROUNDS)]
    bare, more = (min(times) for times in zip(*pairs, strict=True))
    assert (more - bare) * 1000 < IMPORT_MS_MAX


def test_import_starts_nothing_and_loads_no_library() -> None:
    code = (
        "import sys, os; before = set(sys.modules); import distpool\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
        "import threading; print(threading.active_count(), len(os.listdir('/proc/self/fd')))\n"
        "print(open(f'/proc/self/task/{os.getpid()}/children').read())"
    )
    bare = code.replace("import distpool", "")
    ours, base = (
        subprocess.run(
            [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for text in (code, bare)
    )
    loaded, *rest = ours.split("\n")
    assert set(loaded.split()) <= {"distpool", "importlib", "__future__", "warnings", "types"}
    assert rest == base.split("\n")[1:]


@pytest.mark.parametrize("name", multiprocessing.__all__)
def test_every_name_of_multiprocessing_is_there(name: str) -> None:
    value = getattr(distpool, name)
    if name in distpool._OURS:
        assert value.__module__.startswith("distpool.")
    else:
        assert value == getattr(multiprocessing, name)
    assert getattr(distpool, name) is value
    assert name in dir(distpool)


def test_a_star_import_gives_all_of_multiprocessing() -> None:
    namespace: dict[str, object] = {}
    exec("from distpool import *", namespace)
    assert set(multiprocessing.__all__) <= set(namespace)


def test_the_tables_do_not_overlap_and_name_nothing_that_is_not_there() -> None:
    tables = (distpool._OURS, distpool._STANDARD, distpool._MODULES, distpool._STANDARD_MODULES)
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(distpool, name)] == []


@pytest.mark.parametrize("name", distpool._STANDARD_MODULES)
def test_standard_modules_are_the_standard_ones_not_copies(name: str) -> None:
    standard = importlib.import_module(f"multiprocessing.{name}")
    assert importlib.import_module(f"distpool.{name}") is standard
    assert getattr(distpool, name) is standard
    assert standard.__name__ == f"multiprocessing.{name}"
    assert standard.__spec__ is not None
    assert standard.__spec__.name == f"multiprocessing.{name}"


def test_imports_that_programs_write() -> None:
    code = (
        "import distpool as multiprocessing\n"
        "import distpool.connection\n"
        "from distpool.connection import Client, wait\n"
        "from distpool.shared_memory import SharedMemory\n"
        "from distpool.dummy import Pool as Threads\n"
        "from distpool.pool import Pool, ThreadPool, AsyncResult\n"
        "from distpool.futures import ProcessPoolExecutor, as_completed, wait, Future\n"
        "from distpool import Pool as same, TimeoutError, Process, Queue, cpu_count, get_context\n"
        "import importlib; standard = importlib.import_module('multiprocessing')\n"
        "importlib.import_module('multiprocessing.dummy'), importlib.import_module('multiprocessing.pool')\n"
        "assert same is Pool is multiprocessing.pool.Pool, same\n"
        "assert Threads == multiprocessing.dummy.Pool == standard.dummy.Pool\n"
        "assert ThreadPool is standard.pool.ThreadPool\n"
        "assert Process is standard.Process\n"
        "assert cpu_count() >= 1\n"
        "assert callable(multiprocessing.get_context('spawn').Pool)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_unknown_names_fail_as_they_do_everywhere() -> None:
    with pytest.raises(AttributeError, match="module 'distpool' has no attribute 'Pol'"):
        distpool.Pol
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'distpool\.nothing'"):
        importlib.import_module("distpool.nothing")


def test_a_timeout_is_one_in_both_libraries() -> None:
    assert issubclass(distpool.TimeoutError, multiprocessing.TimeoutError)
    assert issubclass(distpool.TimeoutError, concurrent.futures.TimeoutError)


def test_no_module_bears_the_name_of_a_public_function_or_class() -> None:
    modules = {module.name for module in pkgutil.iter_modules(distpool.__path__)}
    assert {"pool", "futures", "run", "cli"} <= modules
    assert modules & {*distpool._OURS, *distpool._STANDARD} == set()
