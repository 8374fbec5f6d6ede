"""What the front door tests have run: importable functions, so that the standard library's workers can run them too."""

import logging
import os
import threading
import time


def square(x):
    return x * x


def add(x, y=0, *, z=0):
    return x + y + z


def echo(*args, **kwargs):
    return args, kwargs


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)
        self.first, self.second = first, second


def fail(x):
    raise ValueError(x)  # the line that shows


def fail_odd(first, second):
    raise Odd(first, second)


def fail_at(x, bad=3):
    if x == bad:
        raise ValueError(x)
    return x


def a_lock():
    return threading.Lock()


def nothing(*_):
    return None


def large(size):
    return bytes(size)


class Thing:
    pass


def make_object(_):
    return Thing()


def name_of_worker():
    import multiprocessing

    return threading.current_thread().name, multiprocessing.current_process().name


# Set-up of workers.

state = {}


def remember(key, value):
    state[key] = value


def recall(key):
    return state.get(key)


def fail_set_up(*_):
    raise ValueError("error in initializer")


# Meeting: the engine's calls run elsewhere, so they meet through the file system.


def wait_for_file(path, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.002)
    return path


def touch(path):
    with open(path, "a"):
        pass
    return path


def touch_and_wait(started, go):
    touch(started)
    return wait_for_file(go)


def add_line(path, text=""):
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return text


class Unhappy:
    """An iterable with a length that fails on the way."""

    def __init__(self, length, bad):
        self.length, self.bad = length, bad

    def __len__(self):
        return self.length

    def __iter__(self):
        return unhappy(self.length, self.bad)


def unhappy(length, bad):
    for i in range(length):
        if i == bad:
            raise Odd("say", "when")
        yield i


class CannotUnpickle:
    def __reduce__(self):
        return fail, ("no way back",)


class CannotPickle:
    def __reduce__(self):
        raise RuntimeError("no way out")


def make_cannot_pickle():
    return CannotPickle()


# What initializers are given.


def keep(queue, lock, value, writer):
    state["shared"] = queue, lock, value, writer


def use_kept(x):
    queue, lock, value, writer = state["shared"]
    with lock:
        value.value += 1
        writer.send(x)
    queue.put(x)
    return x


def fail_after_opening_log(path):
    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(logging.FileHandler(path))
    logger.propagate = False
    raise ValueError("error in initializer")
