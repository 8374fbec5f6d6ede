"""A Dask cluster as a place for pilots: each is a task that occupies a thread of a worker for as long as it runs.

::

    dask://HOST:8786     its scheduler

    StartPilot({"CPU": 1, "GPU": 1}) ──► client.submit(fly, resources={"GPU": 1}) ──► a worker: fly() ── Pilot
    call(pilot, "take") ── comm, direct or by way of the scheduler ──► a handler that fly() has given the worker

So Dask's scheduler counts pilots as the long tasks that they are, and sends its other work elsewhere. A task that was
cancelled, or whose client is gone, goes on in Dask until it looks: ``fly`` does. A CPU is a thread of a worker; other
resources are those that workers were started with. Not here: what pilots do (``pilot``), and why there are so many
(``cores.pilots``). Dask is only imported by the bridge, and by pilots.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from distpool.engines.pilot import Pilot
from distpool.errors import ClusterError
from distpool.scheduler.messages import NodeFacts

__all__ = ["DaskProvider", "connect"]

#: How long the scheduler may take to answer.
CONNECT_S = 10.0
#: How often a pilot looks whether its task is still wanted.
LOOK_S = 0.25
#: How long a pilot may take to end by itself, when it is asked to.
LEAVE_S = 2.0
#: A worker that cannot be reached directly within this time is spoken to by way of the scheduler.
DIRECT_S = 2.0
#: What our handler on a worker is called.
OPERATION = "distpool_pilot"


def connect(address: str, title: str) -> DaskProvider:
    """Be a client of this scheduler. Raises ClusterError with what stands against it."""
    try:
        import distributed
    except ImportError as error:
        message = f"{title} needs Dask here: pip install 'distpool[dask-cluster]' ({error})"
        raise ClusterError(message) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong, the program is told by us
    place = address.removeprefix("dask://")
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
        client = distributed.Client(f"tcp://{place}", timeout=CONNECT_S, set_as_default=False)
    except OSError as error:
        raise ClusterError(f"nothing answers at {title}: {error}; is that its scheduler's address?") from None
    return DaskProvider(client, title)


# ----------------------------------------------------------------------------------- on a worker of Dask's

_pilots: dict[str, tuple[Pilot, ThreadPoolExecutor]] = {}


def fly(node: str, owner: str, resources: dict[str, float], knock: bytes, topic: str) -> None:
    """Have a pilot on this worker, and be there until it has ended, or the task is not wanted any more."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    pilot = Pilot(node, owner, resources, knock)
    threads = ThreadPoolExecutor(3, f"distpool-{node}")  # one put, one take, and leave
    _pilots[node] = pilot, threads
    try:
        worker.handlers[OPERATION] = _called
        worker.log_event(topic, {"pilot": node, "at": worker.address})
        while not pilot.ended.wait(LOOK_S):
            state = worker.state.tasks.get(key)
            if state is None or state.state != "executing":
                break
    finally:
        del _pilots[node]
        pilot.leave()
        threads.shutdown(wait=False)


async def _called(pilot: str, method: str, args: Any = ()) -> Any:
    """On the worker's loop: what the bridge says to a pilot here."""
    known = _pilots.get(pilot)
    if known is None:
        return {"error": "it has ended"}
    loop = asyncio.get_running_loop()
    try:
        return {"value": await loop.run_in_executor(known[1], getattr(known[0], method), *args)}
    except ClusterError as error:
        return {"error": str(error)}


# ----------------------------------------------------------------------------------- in the bridge


class DaskProvider:
    """See ``bridge.Provider``."""

    def __init__(self, client: Any, title: str) -> None:
        self._client, self._title = client, title
        self._topic = f"distpool-{uuid.uuid4().hex}"
        self._tasks: dict[str, Any] = {}
        self._starting: dict[str, Future[Any]] = {}
        self._at: dict[str, tuple[str, bool]] = {}  # pilot -> its worker's address, whether reached directly
        client.subscribe_topic(self._topic, self._on_up)

    def start(
        self, pilot: str, owner: str, resources: Mapping[str, float], spread: bool, knock: bytes
    ) -> Future[Any]:
        """See ``bridge.Provider.start``. Dask spreads tasks in any case."""
        rest = {name: amount for name, amount in resources.items() if name != "CPU"}
        started: Future[Any] = Future()
        if resources.get("CPU", 0.0) > 1.0:
            started.set_exception(
                ClusterError(
                    "a task of Dask's has one thread, so a worker can have one CPU there; start Dask's workers with "
                    "--resources, and ask for that"
                )
            )
            return started
        self._starting[pilot] = started
        task = self._tasks[pilot] = self._client.submit(
            fly,
            pilot,
            owner,
            dict(resources),
            knock,
            self._topic,
            key=f"{pilot}-{uuid.uuid4().hex}",
            pure=False,
            retries=0,
            resources=rest or None,
        )
        task.add_done_callback(lambda task: self._over(pilot, task))
        return started

    async def _on_up(self, event: Any) -> None:
        """On the client's loop: a pilot has said where it is."""
        _time, said = event
        pilot, at = said["pilot"], said["at"]
        direct = True
        try:
            async with asyncio.timeout(DIRECT_S):
                await self._client.rpc(at).identity()
        except Exception:
            direct = False
        self._at[pilot] = at, direct
        started = self._starting.pop(pilot, None)
        if started is not None:
            started.set_result(None)

    def _over(self, pilot: str, task: Any) -> None:
        """A pilot's task has ended; that of one that is up is seen by its calls too."""
        started = self._starting.pop(pilot, None)
        if started is None:
            return
        error = ClusterError("its task was cancelled")
        if task.status == "error":
            error = task.exception()
        started.set_exception(error)

    def call(self, pilot: str, method: str, *args: Any) -> Future[Any]:
        """See ``bridge.Provider.call``."""
        return asyncio.run_coroutine_threadsafe(
            self._call(pilot, method, args), self._client.loop.asyncio_loop
        )

    async def _call(self, pilot: str, method: str, args: tuple[Any, ...]) -> Any:
        at, direct = self._at[pilot]
        said = {"pilot": pilot, "method": method, "args": args}
        if direct:
            answer = await getattr(self._client.rpc(at), OPERATION)(**said)
        else:
            answer = await self._client.scheduler.proxy(worker=at, msg={"op": OPERATION, **said})
        if "error" in answer:
            raise ClusterError(answer["error"])
        return answer["value"]

    def stop(self, pilot: str) -> None:
        """See ``bridge.Provider.stop``."""
        task = self._tasks.pop(pilot, None)
        if task is not None:
            threading.Thread(target=self._end, args=(pilot, task), daemon=True).start()

    def _end(self, pilot: str, task: Any) -> None:
        """Ask it first: what it has started is gone then, and not only soon."""
        if pilot in self._at:
            with contextlib.suppress(Exception):
                self.call(pilot, "leave").result(LEAVE_S)
            self._at.pop(pilot, None)
        with contextlib.suppress(Exception):
            task.cancel()

    def nodes(self) -> Future[list[NodeFacts]]:
        """See ``bridge.Provider.nodes``."""
        return asyncio.run_coroutine_threadsafe(self._nodes(), self._client.loop.asyncio_loop)

    async def _nodes(self) -> list[NodeFacts]:
        async with asyncio.timeout(CONNECT_S):
            identity = await self._client.scheduler.identity(n_workers=-1)
        found = []
        for address, worker in identity["workers"].items():
            total = {**worker["resources"], "CPU": float(worker["nthreads"])}
            found.append(NodeFacts(str(worker["name"]), address, total, total, {}, worker["host"]))
        return found

    def close(self) -> None:
        """See ``bridge.Provider.close``."""
        enders = [
            threading.Thread(target=self._end, args=(pilot, task), daemon=True)
            for pilot, task in self._tasks.items()
        ]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join(LEAVE_S + 1.0)
        self._client.close(timeout=LEAVE_S)
