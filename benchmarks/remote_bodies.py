"""The remote functions and actors that `rows/remote.py` measures: one text for real Ray and for distpool.

`define(ray)` makes them with the library that it is given, as a program that imports it would. What they do
follows `ray microbenchmark` (Ray's `python/ray/_private/ray_perf.py`); the code is our own.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

#: What each of them answers.
OK = b"ok"
#: How often those look that wait for files.
POLL_S = 0.02


def define(ray: Any) -> SimpleNamespace:
    """All of them, made remote by `ray`, which is a module."""

    @ray.remote
    def small_value() -> bytes:
        return OK

    @ray.remote
    def small_value_batch(count: int) -> int:
        """A task that hands in many tasks, and waits for them."""
        return _answered(ray, [small_value.remote() for _ in range(count)])

    @ray.remote
    def call_actors(actors: list[Any], count: int) -> int:
        """A task that calls actors by turns, and waits for all answers."""
        return _answered(ray, [actors[place % len(actors)].small_value.remote() for place in range(count)])

    @ray.remote
    def many_references(count: int) -> list[Any]:
        """One value that holds many references."""
        return [ray.put(place) for place in range(count)]

    @ray.remote
    def keep_worker(folder: str, number: int) -> bytes:
        """Tell by a file that it has begun, then keep its worker until the folder has gone."""
        Path(folder, str(number)).touch()
        while Path(folder).exists():
            time.sleep(POLL_S)
        return OK

    @ray.remote(num_cpus=0)
    class Actor:
        def small_value(self) -> bytes:
            return OK

        def small_value_arg(self, argument: Any) -> bytes:
            return OK

    @ray.remote(num_cpus=0)
    class AsyncActor:
        async def small_value(self) -> bytes:
            return OK

        async def small_value_arg(self, argument: Any) -> bytes:
            return OK

    @ray.remote(num_cpus=0)
    class Client:
        """An actor that calls others: a driver of its own."""

        def __init__(self, servers: list[Any]) -> None:
            self._servers = servers

        def task_batch(self, count: int) -> int:
            return _answered(ray, [small_value.remote() for _ in range(count)])

        def batch(self, count: int) -> int:
            """`count` calls of each server."""
            return _answered(
                ray, [server.small_value.remote() for server in self._servers for _ in range(count)]
            )

        def batch_arg(self, count: int) -> int:
            """The same, each call with a reference as its argument."""
            argument = ray.put(0)
            return _answered(
                ray,
                [server.small_value_arg.remote(argument) for server in self._servers for _ in range(count)],
            )

    return SimpleNamespace(**{name: value for name, value in locals().items() if name != "ray"})


def _answered(ray: Any, refs: list[Any]) -> int:
    """Wait for them all; how many gave the right answer."""
    return int(ray.get(refs).count(OK))
