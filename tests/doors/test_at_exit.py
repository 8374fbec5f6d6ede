"""What happens to work that is pending when the interpreter ends; in processes of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

USE_LOCAL = """
from distpool import engines
from distpool.engines.local import LocalEngine
stack = engines.use(LocalEngine())
stack.__enter__()
"""


def run(program, backend, **names_of_program):
    names = "concurrent.futures" if backend == "stdlib" else "distpool.futures"
    pools = "multiprocessing.pool" if backend == "stdlib" else "distpool.pool"
    text = (USE_LOCAL if backend == "local" else "") + program.format(
        futures=names, pools=pools, **names_of_program
    )
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=["stdlib", "local", "native"])
def backend(request):
    return request.param


def test_pending_futures_are_finished(backend):
    done = run(
        """
import os, time
from {futures} import ProcessPoolExecutor
def work(i):
    time.sleep(0.02)
    os.write(1, b"did %d\\n" % i)
executor = ProcessPoolExecutor(2)
for i in range(10):
    executor.submit(work, i)
""",
        backend,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split("\n")[:-1]) == [f"did {i}" for i in range(10)]


@pytest.mark.parametrize("opened", [False, True])
def test_no_new_work_in_exit_handlers(backend, opened):
    done = run(
        """
import atexit
from {futures} import ProcessPoolExecutor
executor = ProcessPoolExecutor(2)
if {opened}:
    executor.submit(abs, -1).result()
@atexit.register
def late():
    try:
        executor.submit(abs, -1)
    except RuntimeError as error:
        print(error)
""",
        backend,
        opened=opened,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cannot schedule new futures after ")


def test_pool_that_was_not_closed_hinders_nothing(backend):
    done = run(
        """
from {pools} import Pool
pool = Pool(2)
print(pool.map(abs, [-1, -2]))
""",
        backend,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2]\n", "")


@pytest.mark.parametrize(
    "backend", ["local", "native"]
)  # others are interrupted by the terminal, not by their library
def test_after_ctrl_c_nothing_is_waited_for(backend):
    done = run(
        """
import time
from {futures} import ProcessPoolExecutor
executor = ProcessPoolExecutor(1)
futures = [executor.submit(time.sleep, 600) for _ in range(10)]
raise KeyboardInterrupt
""",
        backend,
    )
    assert done.returncode != 0
    assert done.stderr.count("Traceback") == 1
