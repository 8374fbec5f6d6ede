"""Remote functions, objects and actors beside Ray: the rows of `ray microbenchmark`, the same text for both.

What is called lies in `remote_bodies.py`, the callers of the driver here; `ray` is the library that is measured. A
row's `count` is the length of a bout in milliseconds (`bouts.py`), except where it is a number of actors or tasks.
Figures that go together are measured in one process, because starting Ray takes longer than a bout.

Batches are smaller than there, so that one of Ray's fits a bout: 1,000 calls of a caller, 500 tasks of each of
several. On both sides the batch's own cost is in the figure.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from benchmarks import bouts, proc, remote_bodies
from benchmarks.adapters import NamesAdapter
from benchmarks.model import Metric, Row, Session, Target
from benchmarks.remote_bodies import OK, POLL_S

TITLE = "Remote functions, objects and actors"

_RAY = ("ray-remote",)
_BATCH = 1_000
_CALLERS = 4
_TASKS_OF_EACH = 500
_SERVERS = 2
_THREADS = 16
# Of what takes microseconds, so many are done between two looks at the clock.
_QUICK = 100
_REFERENCES_IN_ONE = 10_000
# References that are held in the memory row come in runs of this many.
_RUN = 1_000


def opened(session: Session) -> tuple[Any, SimpleNamespace]:
    """The library, started, and what it made of the bodies."""
    adapter = session.open()
    assert isinstance(adapter, NamesAdapter)
    return adapter.names, remote_bodies.define(adapter.names)


class Timer:
    """Takes the rates of one row, each under the key of its metric."""

    def __init__(self, session: Session, ray: Any) -> None:
        self._bout_s = session.count / 1_000
        self._ray = ray
        self.rates: dict[str, float] = {}

    def one(self, key: str, call: Callable[[], Any]) -> None:
        """Call, wait for the answer, repeat."""
        get = self._ray.get

        def work() -> None:
            if get(call()) != OK:
                raise AssertionError(f"{key}: wrong answer")

        self.rates[key] = bouts.rate(work, 1, self._bout_s)

    def batch(self, key: str, call: Callable[[], Any]) -> None:
        """Call a thousand times, then wait for all answers."""
        get = self._ray.get

        def work() -> None:
            if get([call() for _ in range(_BATCH)]).count(OK) != _BATCH:
                raise AssertionError(f"{key}: wrong answers")

        self.rates[key] = bouts.rate(work, _BATCH, self._bout_s)

    def callers(self, key: str, call_all: Callable[[], list[Any]], expected: list[int]) -> None:
        """Have several callers make a batch each; they answer how many calls went right."""
        get = self._ray.get

        def work() -> None:
            if get(call_all()) != expected:
                raise AssertionError(f"{key}: wrong answers")

        self.rates[key] = bouts.rate(work, sum(expected), self._bout_s)

    def quick(self, key: str, call: Callable[[], object]) -> None:
        """Do a hundred without a look at the clock."""

        def work() -> None:
            for _ in range(_QUICK):
                call()

        self.rates[key] = bouts.rate(work, _QUICK, self._bout_s)


# ---------------------------------------------------------------- tasks


def measure_tasks(session: Session) -> Mapping[str, float]:
    """Empty tasks: one by one, a thousand at once, from inside a task, from several actors."""
    ray, remote = opened(session)
    timer = Timer(session, ray)
    timer.one("sync", remote.small_value.remote)
    timer.batch("async", remote.small_value.remote)
    timer.callers("nested", lambda: [remote.small_value_batch.remote(_BATCH)], [_BATCH])
    clients = [remote.Client.remote([]) for _ in range(_CALLERS)]
    timer.callers(
        "clients",
        lambda: [client.task_batch.remote(_TASKS_OF_EACH) for client in clients],
        [_TASKS_OF_EACH] * _CALLERS,
    )
    return timer.rates


# ---------------------------------------------------------------- actors


def measure_actor(session: Session) -> Mapping[str, float]:
    """One caller and one actor: plain, with an argument, with threads."""
    ray, remote = opened(session)
    timer = Timer(session, ray)
    actor = remote.Actor.remote()
    timer.one("sync", actor.small_value.remote)
    timer.batch("async", actor.small_value.remote)
    timer.batch("argument", lambda: actor.small_value_arg.remote(7))
    threaded = remote.Actor.options(max_concurrency=_THREADS).remote()
    timer.batch("threaded", threaded.small_value.remote)
    return timer.rates


def measure_many_actors(session: Session) -> Mapping[str, float]:
    """Callers that are actors and tasks themselves: one to several, several to several, a reference as argument."""
    ray, remote = opened(session)
    timer = Timer(session, ray)
    servers = [remote.Actor.remote() for _ in range(_SERVERS)]
    client = remote.Client.remote(servers)
    timer.callers("one-to-n", lambda: [client.batch.remote(_BATCH)], [_BATCH * _SERVERS])
    timer.callers(
        "n-to-n",
        lambda: [remote.call_actors.remote(servers, _BATCH) for _ in range(_CALLERS)],
        [_BATCH] * _CALLERS,
    )
    clients = [remote.Client.remote([server]) for server in servers]
    timer.callers(
        "argument",
        lambda: [each.batch_arg.remote(_BATCH) for each in clients],
        [_BATCH] * _SERVERS,
    )
    return timer.rates


def measure_async_actor(session: Session) -> Mapping[str, float]:
    """Actors whose methods are coroutines."""
    ray, remote = opened(session)
    timer = Timer(session, ray)
    actors = [remote.AsyncActor.remote() for _ in range(_SERVERS)]
    timer.one("sync", actors[0].small_value.remote)
    timer.batch("async", actors[0].small_value.remote)
    timer.batch("argument", lambda: actors[0].small_value_arg.remote(7))
    timer.callers(
        "n-to-n",
        lambda: [remote.call_actors.remote(actors, _BATCH) for _ in range(_CALLERS)],
        [_BATCH] * _CALLERS,
    )
    return timer.rates


def measure_actors_created(session: Session) -> Mapping[str, float]:
    """Make `count` actors, call each once, kill them. One was made before: what is loaded lazily is there."""
    ray, remote = opened(session)
    first = remote.Actor.remote()
    assert ray.get(first.small_value.remote()) == OK, "wrong answer"
    start = time.perf_counter()
    actors = [remote.Actor.remote() for _ in range(session.count)]
    answers = ray.get([actor.small_value.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)
    elapsed_s = time.perf_counter() - start
    assert answers == [OK] * session.count, "wrong answers"
    return {"created": session.count / elapsed_s}


# ---------------------------------------------------------------- objects


def measure_objects(session: Session) -> Mapping[str, float]:
    """Small values: put, get, wait for a thousand one by one, get one that holds ten thousand references."""
    ray, remote = opened(session)
    timer = Timer(session, ray)
    timer.quick("put", lambda: ray.put(0))
    value = ray.put(0)
    timer.quick("get", lambda: ray.get(value))

    def wait_one_by_one() -> list[int]:
        waiting = [remote.small_value.remote() for _ in range(_BATCH)]
        for place in range(_BATCH):
            # Values need to be fetched once only: the first call asks for all of them. Ray's own row does the same.
            ready, waiting = ray.wait(waiting, fetch_local=place == 0)
            if len(ready) != 1:
                raise AssertionError("wait: one was to be ready")
        return [_BATCH - len(waiting)]

    timer.rates["wait"] = bouts.rate(wait_one_by_one, _BATCH, session.count / 1_000)
    holder = remote.many_references.remote(_REFERENCES_IN_ONE)
    inner = ray.get(holder)
    assert ray.get(inner[-1]) == _REFERENCES_IN_ONE - 1, "wrong value"
    timer.rates["references"] = bouts.rate(lambda: ray.get(holder), 1, session.count / 1_000)
    return timer.rates


def measure_memory(session: Session) -> Mapping[str, float]:
    """What the driver keeps for a reference whose task is done, for one that was put, for a task that waits.

    All are kept, since memory that was given back would be taken again unseen. The tasks wait behind others that
    keep every worker until the end.
    """
    ray, remote = opened(session)
    count = session.count
    ray.get([remote.small_value.remote() for _ in range(_RUN)])
    done: list[Any] = [None] * count
    put: list[Any] = [None] * count
    pending: list[Any] = [None] * count

    def finish() -> None:
        for start in range(0, count, _RUN):
            stop = min(start + _RUN, count)
            done[start:stop] = [remote.small_value.remote() for _ in range(start, stop)]
            ray.get(done[start:stop])

    def put_all() -> None:
        for place in range(count):
            put[place] = ray.put(place)

    def queue_up() -> None:
        for place in range(count):
            pending[place] = remote.small_value.remote()

    values = {"done": _growth_bytes(finish) / count, "put": _growth_bytes(put_all) / count}
    with tempfile.TemporaryDirectory() as folder:
        keepers = [remote.keep_worker.remote(folder, place) for place in range(session.workers)]
        while len(os.listdir(folder)) < session.workers:
            time.sleep(POLL_S)
        values["pending"] = _growth_bytes(queue_up) / count
        ran = ray.wait([*pending[:_RUN], *keepers], timeout=0)[0]
        assert not ran, f"nothing was to run: {ran} of {pending[:2]}, {keepers}"
    assert ray.get([*keepers, pending[-1]]) == [OK] * (session.workers + 1), "wrong answers"
    return values


def _growth_bytes(work: Callable[[], object]) -> int:
    """How much more of this process is resident after the work."""
    gc.collect()
    base_bytes = proc.rss_bytes(os.getpid())
    work()
    gc.collect()
    return proc.rss_bytes(os.getpid()) - base_bytes


# ---------------------------------------------------------------- the rows


def _rate(key: str, title: str, at_least: float | None = None, unit: str = "calls/s") -> Metric:
    targets = () if at_least is None else (Target(f"{at_least:g}x Ray", _RAY, at_least=at_least),)
    return Metric(key, title, unit, "higher", targets)


def _size(key: str, title: str, at_most: float) -> Metric:
    return Metric(key, title, "bytes", "lower", (Target(f"≤ {at_most:,.0f} bytes", at_most=at_most),))


def _row(
    key: str,
    measure: Callable[[Session], Mapping[str, float]],
    *metrics: Metric,
    count: int = 500,
    ray_share: float = 1.0,
    rounds_max: int | None = None,
) -> Row:
    return Row(
        key=f"remote-{key}",
        metrics=metrics,
        ours="distpool-remote",
        peers=_RAY,
        count=count,
        measure=measure,
        rounds_max=rounds_max,
        shares={_RAY[0]: ray_share},
    )


ROWS = (
    _row(
        "tasks",
        measure_tasks,
        _rate("sync", "tasks, one at a time", 8.0, "tasks/s"),
        _rate("async", "tasks, 1,000 at once", 40.0, "tasks/s"),
        _rate("nested", "tasks, 1,000 at once by a task", 20.0, "tasks/s"),
        _rate("clients", "tasks, 500 at once by each of four actors", unit="tasks/s"),
    ),
    _row(
        "actor",
        measure_actor,
        _rate("sync", "calls of an actor, one at a time", 4.0),
        _rate("async", "calls of an actor, 1,000 at once", 8.0),
        _rate("argument", "calls of an actor, 1,000 at once with an argument"),
        _rate("threaded", "calls of an actor of 16 threads, 1,000 at once"),
    ),
    _row(
        "many-actors",
        measure_many_actors,
        _rate("one-to-n", "calls of two actors by one actor"),
        _rate("n-to-n", "calls of two actors by four tasks", 8.0),
        _rate("argument", "calls of two actors by two actors, a reference as argument"),
    ),
    _row(
        "async-actor",
        measure_async_actor,
        _rate("sync", "calls of an async actor, one at a time", 4.0),
        _rate("async", "calls of an async actor, 1,000 at once", 8.0),
        _rate("argument", "calls of an async actor, 1,000 at once with an argument"),
        _rate("n-to-n", "calls of two async actors by four tasks"),
    ),
    _row(
        "objects",
        measure_objects,
        _rate("put", "put, small", 10.0, "values/s"),
        _rate("get", "get, small", 5.0, "values/s"),
        _rate("wait", "1,000 tasks, waited for one by one", 20.0, "tasks/s"),
        _rate("references", "get of a value that holds 10,000 references", 10.0, "values/s"),
    ),
    _row(
        "actors-created",
        measure_actors_created,
        _rate("created", "actors made, called once, killed", 20.0, "actors/s"),
        count=60,
        ray_share=0.2,
    ),
    _row(
        "memory",
        measure_memory,
        _size("pending", "a task that waits, of 100,000: memory of the driver", 1_000.0),
        _size("done", "a live reference, its task done: memory of the driver", 300.0),
        _size("put", "a live reference to a small value that was put: memory of the driver", 300.0),
        count=100_000,
        ray_share=0.1,
        rounds_max=1,
    ),
)
