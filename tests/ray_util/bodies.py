"""Tasks and actors of the tests. Whoever waits in one waits for a file, and not for longer than a bound."""

import asyncio
import os
import time
from pathlib import Path

import distpool
from tests.ray_util import raised

BOUND_S = 30.0


def wait_for_file(path):
    ends_s = time.monotonic() + BOUND_S
    while not Path(path).exists():
        assert time.monotonic() < ends_s, f"{path} never came"
        time.sleep(0.002)


@distpool.remote
def double(x):
    return x * 2


@distpool.remote
def fails_at(x, bad):
    if x == bad:
        raise ValueError(f"{x} is bad")
    return x


@distpool.remote
def after(path, value):
    wait_for_file(path)
    return value


@distpool.remote(num_cpus=0)
def note(folder, number):
    Path(folder, str(number)).touch()
    return number


@distpool.remote
class Worker:
    def double(self, x):
        return x * 2

    def pid(self, _=None):
        return os.getpid()

    def fails_at(self, x, bad):
        if x == bad:
            raise ValueError(f"{x} is bad")
        return x

    def after(self, path, value):
        wait_for_file(path)
        return value

    @distpool.method(num_returns=2)
    def two(self, x):
        return x, -x

    def die(self, _=None):
        os._exit(3)


@distpool.remote
def put_into(queue, items):
    for item in items:
        queue.put(item)
    return len(items)


@distpool.remote
def take_from(queue, count):
    return [queue.get() for _ in range(count)]


@distpool.remote
class AsyncUser:
    async def meet(self, queue, item):
        await queue.put_async(item)
        return await asyncio.wait_for(queue.get_async(), BOUND_S)


@distpool.remote
def record(counts, lengths):
    from distpool.util.metrics import Counter, Gauge, Histogram

    for count in counts:
        Counter("rows", tag_keys=("kind",)).inc(count, {"kind": "a"})
    for length in lengths:
        Gauge("length").set(length)
        Histogram("lengths", boundaries=[1, 10]).observe(length)
    return os.getpid()


@distpool.remote
class Recorder:
    def record(self):
        from distpool.util.metrics import Counter

        Counter("last words").inc()


@distpool.remote
def fail(kind):
    raise raised.MAKERS[kind]()


@distpool.remote
def use(value):
    return value


@distpool.remote
def fail_inside(kind):
    return distpool.get(fail.remote(kind))
