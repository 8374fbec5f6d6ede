"""A forked child of the driver: its signals are its own, and its parent's pools say that they are not."""

from __future__ import annotations

from tests.shells.programs import outcome


def test_a_fork_beside_a_waiting_main_thread_gives_the_child_its_signal_handlers() -> None:
    printed = outcome("""
        import os, signal, threading, time
        import distpool
        statuses = []
        def fork():
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    os._exit(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
                statuses.append(os.waitpid(pid, 0)[1])
        with distpool.Pool(1) as pool:
            pool.apply(abs, (1,))
            forks = threading.Thread(target=fork)
            forks.start()
            while forks.is_alive():
                pool.apply(time.sleep, (0.0005,))
        print(len(statuses), sum(statuses))
    """)
    assert printed.split() == ["20", "0"]


def test_a_child_that_uses_its_parents_pool_is_told_so() -> None:
    printed = outcome("""
        import os, time
        import distpool
        with distpool.Pool(1) as pool:
            pool.apply(abs, (1,))
            under_way = pool.apply_async(time.sleep, (0.5,))
            pid = os.fork()
            if pid == 0:
                for use in (under_way.get, lambda: pool.apply(abs, (2,))):
                    try:
                        use()
                        print("used", flush=True)
                    except Exception as error:
                        print("parent" in str(error), flush=True)
                os._exit(0)
            under_way.get()
            print(os.waitpid(pid, 0)[1], flush=True)
    """)
    assert printed.split() == ["True", "True", "0"]
