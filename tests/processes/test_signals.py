"""Signals that raise, at whatever instant: one Ctrl-C is one traceback, and no state is left half-way.

The drivers here are processes of their own, on a terminal of their own where a key is pressed.
"""

from __future__ import annotations

import select
import signal
import time

import pytest

from distpool.scheduler.shells import links
from tests.processes.scene import count, driver, run

SCRIPT = """
import time
import distpool
from distpool.futures import ProcessPoolExecutor
from tests.processes import bodies

{body}
"""

POOL = """
with distpool.Pool(2) as pool:
    pool.apply(abs, (1,))
    {before}
    print("ready", flush=True)
    {wait}
"""
EXECUTOR = """
with ProcessPoolExecutor(2) as executor:
    executor.submit(abs, 1).result()
    print("ready", flush=True)
    {wait}
"""
WAITS = {
    "map": POOL.format(before="pass", wait="pool.map(time.sleep, [100] * 4)"),
    "get": POOL.format(before="pass", wait="pool.apply_async(time.sleep, (100,)).get()"),
    "imap": POOL.format(before="pass", wait="list(pool.imap(time.sleep, [100] * 4))"),
    "spinning": POOL.format(before="pass", wait="pool.map(bodies.spin_for_ever, ['/dev/null'] * 4)"),
    "outside": POOL.format(before="pool.map_async(time.sleep, [100] * 4)", wait="time.sleep(100)"),
    "short tasks": POOL.format(before="pass", wait="while True: pool.map(bodies.square, range(100))"),
    "executor": EXECUTOR.format(wait="executor.submit(time.sleep, 100).result()"),
    "executor.map": EXECUTOR.format(wait="list(executor.map(time.sleep, [100] * 4))"),
}


@pytest.mark.parametrize("where", WAITS)
def test_one_ctrl_c_in_a_script_is_one_traceback(where: str) -> None:
    with driver(SCRIPT.format(body=WAITS[where]), tty=True) as it:
        it.read_until("ready\n")
        began_s = time.monotonic()
        it.type("\x03")
        text = it.finish(within_s=2.5)
        assert time.monotonic() - began_s < 2.5
        assert text.count("Traceback (most recent call last)") == 1, text
        assert text.rstrip().endswith("KeyboardInterrupt"), text
        assert "distpool-" not in text.partition("Traceback")[0], text
        assert it.process.returncode == -signal.SIGINT
        it.expect_nothing_left(within_s=2.0)


def test_one_ctrl_c_in_the_repl_gives_the_prompt_back_and_the_pool_stays_usable() -> None:
    with driver(tty=True, interactive=True) as it:
        it.read_until(">>> ")
        it.type("import distpool, time; pool = distpool.Pool(2); print(pool.apply(abs, (-5,)) + 100)\n")
        it.read_until("\n105\n>>> ")
        for _ in range(2):
            it.type("print('wait' + 'ing'); pool.map(time.sleep, [60, 60])\n")
            it.read_until("\nwaiting\n")
            it.type("\x03")
            text = it.read_until(">>> ", within_s=2.0)
            assert text.count("Traceback (most recent call last)") == 1, text
            assert "KeyboardInterrupt\n>>> " in text
        it.type("pool.terminate(); pool = distpool.Pool(2); print(pool.map(abs, [-1, -2]))\n")
        it.read_until("\n[1, 2]\n>>> ", within_s=5.0)
        it.type("exit()\n")
        it.finish(within_s=5.0)
        it.expect_nothing_left(within_s=2.0)


def test_two_ctrl_c_in_a_row_are_no_worse() -> None:
    with driver(SCRIPT.format(body=WAITS["map"]), tty=True) as it:
        it.read_until("ready\n")
        it.type("\x03\x03")
        it.finish(within_s=3.0)
        it.expect_nothing_left(within_s=5.0)


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGHUP"])
def test_a_driver_that_is_ended_by_a_signal_leaves_nothing(ending: str) -> None:
    with driver(SCRIPT.format(body=WAITS["map"])) as it:
        it.read_until("ready\n")
        it.process.send_signal(signal.Signals[ending])
        it.finish(within_s=5.0)
        it.expect_nothing_left(within_s=5.0)


STOPPED = """
import os, signal, sys, time
import distpool

warm = distpool.Pool(1)
warm.apply(abs, (1,))
pool = distpool.Pool(12)
until_s = time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < until_s:
    pass
print("stopping", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
assert pool.map(abs, range(24)) == list(range(24))
print("done", flush=True)
"""


@pytest.mark.soak
@pytest.mark.parametrize("after_s", ["0.002", "0.004", "0.006"])
def test_a_driver_that_is_stopped_while_its_workers_dial(after_s: str) -> None:
    """By Ctrl-Z, or by a debugger, for longer than a handshake may take."""
    with driver(STOPPED, after_s) as it:
        it.read_until("stopping\n")
        select.select([], [], [], links.HANDSHAKE_MS / 1000 + 1.5)  # the point is that time passes
        it.process.send_signal(signal.SIGCONT)
        assert it.finish().endswith("done\n")
        it.expect_nothing_left()


STORM = """
import os, random, signal, sys, time
import distpool
from distpool.futures import ProcessPoolExecutor
from tests.processes import bodies
from tests.processes.scene import check_core, count

class Alarm(Exception):
    pass

def ring(number, frame):
    raise Alarm

number = getattr(signal, sys.argv[1])
chance = random.Random(int(sys.argv[2]))
signal.signal(signal.SIGALRM, ring)
if number == signal.SIGINT:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))

def storm(works, rounds):
    hits = 0
    while hits < rounds:
        work = chance.choice(works)
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00005, 0.004))
            while True:
                work()
        except (Alarm, KeyboardInterrupt):
            hits += 1
        check_core()

def bursts():
    results = [pool.apply_async(bodies.square, (n,)) for n in range(50)]
    assert [result.get() for result in results] == [n * n for n in range(50)]

def one():
    assert pool.apply(bodies.square, (7,)) == 49

def many():
    assert pool.map(bodies.square, range(200)) == [n * n for n in range(200)]

def lazily():
    assert list(pool.imap(bodies.square, range(50))) == [n * n for n in range(50)]

def futures():
    waiting = [executor.submit(bodies.square, n) for n in range(30)]
    assert [future.result() for future in waiting] == [n * n for n in range(30)]

def cancelled():
    future = executor.submit(bodies.slow_square, 3)
    if not future.cancel():
        assert future.result() == 9

with distpool.Pool(2) as pool, ProcessPoolExecutor(2) as executor:
    one()
    futures()
    storm([bursts, one, many, lazily, futures, cancelled], count(150, 2500))
    signal.setitimer(signal.ITIMER_REAL, 0)
    bursts(); one(); many(); lazily(); futures()
    check_core()
print("done")
"""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["SIGALRM", "SIGINT"])
@pytest.mark.parametrize("seed", ["1", "2"])
def test_signals_that_raise_at_random_instants(kind: str, seed: str) -> None:
    text = run(STORM, kind, seed, within_s=count(15, 3000))
    assert text == "done\n"


GARBAGE = """
import gc, threading
import distpool
from distpool.futures import ProcessPoolExecutor
from tests.processes import bodies
from tests.processes.scene import check_core

class Cycle:
    def __init__(self, pool):
        self.me, self.pool = self, pool

with distpool.Pool(2) as pool, ProcessPoolExecutor(2) as executor:
    pool.apply(abs, (1,)), executor.submit(abs, 1).result()
    gc.set_threshold(1)
    for turn in range(5):
        Cycle(distpool.Pool(1))  # collected without having been closed, at whatever instant
        assert pool.map(bodies.square, range(50), chunksize=1) == [n * n for n in range(50)]
        futures = [executor.submit(bodies.square, n) for n in range(30)]
        assert [future.result() for future in futures] == [n * n for n in range(30)]
        assert [pool.apply(bodies.square, (n,)) for n in range(30)] == [n * n for n in range(30)]
        check_core()
    gc.set_threshold(700)
print("done")
"""


def test_garbage_is_collected_at_every_allocation() -> None:
    text = run(GARBAGE, env={"PYTHONWARNINGS": "ignore::ResourceWarning"}, within_s=60.0)
    assert text == "done\n"


EIGHT = """
import threading
import distpool
from tests.processes import bodies
from tests.processes.scene import check_core

wrong = []

def work(number):
    for turn in range(60):
        value = turn * 8 + number
        if pool.apply(bodies.square, (value,)) != value * value:
            wrong.append(value)
        results = [pool.apply_async(bodies.square, (n,)) for n in range(10)]
        if [result.get(30) for result in results] != [n * n for n in range(10)]:
            wrong.append(turn)

with distpool.Pool(2) as pool:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert pool.map(bodies.square, range(20)) == [n * n for n in range(20)]
    check_core()
assert not wrong, wrong
print("done")
"""


def test_eight_threads_wait_at_once_while_the_main_one_does_too() -> None:
    assert run(EIGHT, within_s=60.0) == "done\n"


CLEAN = """
with distpool.Pool(2) as pool:
    pool.map(abs, range(1000))
with ProcessPoolExecutor(2) as executor:
    list(executor.map(abs, range(10)))
pool = distpool.Pool(2)
assert list(pool.imap(abs, iter(range(10)))) == list(range(10))
pool.close()
pool.join()
left_open = ProcessPoolExecutor(1)
left_open.submit(abs, 1)
"""


def test_a_clean_run_prints_nothing() -> None:
    assert run(SCRIPT.format(body=CLEAN), env={"PYTHONWARNINGS": "error"}) == ""
