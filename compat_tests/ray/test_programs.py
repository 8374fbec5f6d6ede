"""Whole programs, run as `python program.py`: what lies in __main__, what is printed, how it ends."""

from compat_tests.ray.waiting import eventually, has_ended


def test_functions_and_classes_of_main(run_program):
    done = run_program(
        """
        import ray

        FACTOR = 3

        class Plain:
            def __init__(self, value):
                self.value = value

        @ray.remote
        def scale(plain):
            return Plain(plain.value * FACTOR)

        @ray.remote
        class Counter:
            def __init__(self):
                self.total = 0

            def add(self, plain):
                self.total += plain.value
                return self.total

        ray.init(num_cpus=2, include_dashboard=False)
        scaled = ray.get(scale.remote(Plain(2)))
        assert isinstance(scaled, Plain)
        counter = Counter.remote()
        print(scaled.value, ray.get([counter.add.remote(scaled) for _ in range(2)]))
        """
    )
    assert done.stdout == "6 [6, 12]\n", done.stderr
    assert done.returncode == 0


def test_exceptions_of_main(run_program):
    done = run_program(
        """
        import ray

        class Own(Exception):
            pass

        @ray.remote
        def fail():
            raise Own("mine")

        ray.init(num_cpus=1, include_dashboard=False)
        try:
            ray.get(fail.remote())
        except Own as error:
            print("caught", error.cause)
        """
    )
    assert done.stdout == "caught mine\n", done.stderr


def test_an_error_that_nobody_catches(run_program):
    done = run_program(
        """
        import ray

        @ray.remote
        def fail():
            raise ValueError("nobody catches me")

        ray.init(num_cpus=1, include_dashboard=False)
        ray.get(fail.remote())
        """
    )
    assert done.returncode == 1
    assert "nobody catches me" in done.stderr
    assert "ValueError" in done.stderr


def test_a_program_without_init_and_without_shutdown(run_program):
    done = run_program(
        """
        import ray

        @ray.remote
        def one():
            return 1

        print(ray.get(one.remote()))
        """
    )
    assert done.stdout == "1\n", done.stderr
    assert done.returncode == 0


def test_what_workers_print_reaches_the_driver(run_program):
    done = run_program(
        """
        import ray
        import sys
        import time

        @ray.remote
        def speak():
            print("a word of a task", flush=True)

        @ray.remote
        class Speaker:
            def speak(self):
                print("a word of an actor", file=sys.stderr, flush=True)

        ray.init(num_cpus=2, include_dashboard=False)
        speaker = Speaker.remote()
        ray.get([speak.remote(), speaker.speak.remote()])
        time.sleep(2)
        """
    )
    words = done.stdout + done.stderr
    assert "a word of a task" in words
    assert "a word of an actor" in words


def test_nothing_is_left_of_a_program_that_ends_at_work(run_program, tmp_path):
    """Its tasks end with it."""
    done = run_program(
        """
        import os
        import ray
        import time

        @ray.remote
        def work(path):
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            time.sleep(3600)

        ray.init(num_cpus=1, include_dashboard=False)
        work.remote("pid")
        while not (os.path.exists("pid") and open("pid").read()):
            time.sleep(0.05)
        """
    )
    assert done.returncode == 0, done.stderr
    process = int((tmp_path / "pid").read_text())
    eventually(lambda: has_ended(process))


def test_a_program_that_uses_asyncio(run_program):
    done = run_program(
        """
        import asyncio
        import ray

        @ray.remote
        def square(x):
            return x * x

        async def main():
            return await asyncio.gather(*[square.remote(i) for i in range(4)])

        ray.init(num_cpus=2, include_dashboard=False)
        print(asyncio.run(main()))
        """
    )
    assert done.stdout == "[0, 1, 4, 9]\n", done.stderr
