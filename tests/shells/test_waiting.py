"""Waiting for results: in small bits for long, in callbacks, and with retries=0 under a steady load."""

from __future__ import annotations

from tests.shells.programs import outcome


def test_waiting_in_small_bits_keeps_nothing() -> None:
    printed = outcome("""
        import time
        import distpool
        with distpool.Pool(1) as pool:
            pool.apply(abs, (1,))
            result = pool.apply_async(time.sleep, (1,))
            most = 0
            while not result.ready():
                result.wait(0.001)
                most = max(most, len(result.wakeups or ()))
        print(most)
    """)
    assert int(printed) <= 1


def test_a_callback_may_wait_for_another_call() -> None:
    printed = outcome("""
        import threading
        import distpool
        there = threading.Event()
        with distpool.Pool(2) as pool:
            def callback(value):
                print(value, pool.apply(abs, (-7,)))
                there.set()
            pool.apply_async(abs, (-1,), callback=callback)
            there.wait()
    """)
    assert printed.split() == ["1", "7"]


def test_the_mailbox_is_bounded_under_a_steady_load() -> None:
    printed = outcome("""
        import glob, os
        from distpool.futures import ProcessPoolExecutor
        from distpool.scheduler import client
        def make(_):
            return b"x" * 20_000
        most = 0
        with ProcessPoolExecutor(1, retries=0) as executor:
            executor.submit(make, 0).result()
            pattern = client.session().cluster._directory + "/*.answers"
            for number, _ in enumerate(executor.map(make, range(5_000))):
                if number % 100 == 0:
                    most = max([most, *(os.stat(name).st_size for name in glob.glob(pattern))])
        print(most)
    """)
    assert int(printed) < 50 << 20
