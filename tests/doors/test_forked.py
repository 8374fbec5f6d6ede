"""A fork of the program, made while another of its threads holds a lock of the futures: the child has its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, signal, threading
from distpool import future_states
from distpool.engines.local import LocalEngine
from distpool import engines
from distpool.futures import Future, ProcessPoolExecutor

held, fork_is_made = threading.Event(), threading.Event()

def hold():
    with future_states._births, executor._work.entering:
        held.set()
        fork_is_made.wait()

with engines.use(LocalEngine()):
    executor = ProcessPoolExecutor(1)
    assert executor.submit(abs, -1).result() == 1
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        future = Future()
        future.set_result(3)
        assert future.result() == 3
        with executor._work.entering:
            os._exit(7)
    fork_is_made.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    executor.shutdown()
"""


def test_locks_that_another_thread_held_are_free_in_the_child():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("7\n", "", 0)
