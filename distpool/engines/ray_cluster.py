"""A Ray cluster as a place for pilots: each is an actor, so Ray's own accounting, dashboard and autoscaler see it.

::

    ray:auto            the cluster that this machine is part of (or that RAY_ADDRESS names)
    ray://HOST:10001    one elsewhere, by its client port

    StartPilot({"CPU": 1, "GPU": 1, "tpu": 2}) ──► Actor.options(num_cpus=1, num_gpus=1, resources={"tpu": 2})

An actor ends with the job that has made it: when the bridge is gone, for whatever reason, Ray ends all of them. Not
here: what the pilots do (``pilot``), and why there are so many (``cores.pilots``). Ray is only imported by the bridge.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from distpool.engines.pilot import Frames, Pilot
from distpool.errors import ClusterError
from distpool.scheduler.messages import NodeFacts

__all__ = ["RayProvider", "connect"]

#: Is anybody there at all? Ray itself would try for minutes.
KNOCK_S = 5.0
#: How long a pilot may take to end by itself, when it is asked to.
LEAVE_S = 2.0


def connect(address: str, title: str) -> RayProvider:
    """Join the cluster as a driver. Raises ClusterError with what stands against it."""
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1"
    )  # as it is; said, so that nobody is told of it
    _silence_core()
    warnings.showwarning = lambda *_, **__: None  # advice to users of Ray: this process is all ours
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f"{title} needs Ray here: pip install 'distpool[ray]' ({error})") from None
    by_client = address.startswith("ray://")
    place = address.removeprefix("ray://") if by_client else _found_here(title)
    _knock(place, title)
    try:
        ray.init(
            address=address if by_client else place,
            logging_level=logging.ERROR,
            log_to_driver=True,
            namespace="distpool",
        )
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ClusterError(f"{title} cannot be used: {lines[0]}") from None
    return RayProvider(ray, title)


def _silence_core() -> None:
    """What Ray's core says on the standard error by itself goes nowhere; what Python says there still arrives."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _found_here(title: str) -> str:
    """Where the cluster is that "auto" means, as Ray itself finds it. Raises ClusterError if there is none."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named and named not in ("auto", "local"):
        return named
    for folder in filter(None, [os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), "/tmp"]):
        try:
            return Path(folder, "ray", "ray_current_cluster").read_text().strip()
        except OSError:
            continue
    raise ClusterError(
        f"{title} cannot be found: no node of one is on this machine; start one, or say where it is (RAY_ADDRESS)"
    )


def _knock(place: str, title: str) -> None:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {title}: {error}; is it started there, with that port?"
        ) from None


class PilotActor:
    """A pilot, as an actor of Ray's: ``put`` and ``take`` have a thread each."""

    def __init__(self, node: str, owner: str, resources: Mapping[str, float], knock: bytes) -> None:
        self._pilot = Pilot(node, owner, resources, knock)

    def is_up(self) -> bool:
        """Its first call is done when it has been made."""
        return True

    def put(self, frames: Frames) -> None:
        """See ``Pilot.put``."""
        self._pilot.put(frames)

    def take(self) -> Frames:
        """See ``Pilot.take``."""
        return self._pilot.take()

    def leave(self) -> None:
        """See ``Pilot.leave``."""
        self._pilot.leave()


class RayProvider:
    """See ``bridge.Provider``."""

    def __init__(self, ray: Any, title: str) -> None:
        self._ray, self._title = ray, title
        self._actor_class = ray.remote(PilotActor)
        self._actors: dict[str, Any] = {}
        self._asking = ThreadPoolExecutor(1, "distpool-facts")
        self._ending = ThreadPoolExecutor(8, "distpool-ending")

    def start(
        self, pilot: str, owner: str, resources: Mapping[str, float], spread: bool, knock: bytes
    ) -> Future[Any]:
        """See ``bridge.Provider.start``."""
        options = _options(resources)
        if spread:
            options["scheduling_strategy"] = "SPREAD"
        try:
            actor = self._actor_class.options(
                max_concurrency=4, max_restarts=0, max_task_retries=0, **options
            ).remote(pilot, owner, dict(resources), knock)
        except Exception as error:  # amounts that Ray does not take
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        self._actors[pilot] = actor
        return self._future(actor.is_up.remote())

    def call(self, pilot: str, method: str, *args: Any) -> Future[Any]:
        """See ``bridge.Provider.call``."""
        return self._future(getattr(self._actors[pilot], method).remote(*args))

    def _future(self, reference: Any) -> Future[Any]:
        future: Future[Any] = reference.future()
        return future

    def stop(self, pilot: str) -> None:
        """See ``bridge.Provider.stop``."""
        actor = self._actors.pop(pilot, None)
        if actor is not None:
            self._ending.submit(self._end, actor)

    def _end(self, actor: Any) -> None:
        """Ask it first: what it has started is gone then, and not only soon."""
        try:
            self._ray.get(actor.leave.remote(), timeout=LEAVE_S)
        except Exception:
            pass  # it has not come up, or has ended already
        try:
            self._ray.kill(actor)
        except Exception:
            pass

    def nodes(self) -> Future[list[NodeFacts]]:
        """See ``bridge.Provider.nodes``."""
        return self._asking.submit(self._nodes)

    def _nodes(self) -> list[NodeFacts]:
        found = []
        for node in self._ray.nodes():
            if node["Alive"]:
                total = {name: float(amount) for name, amount in node["Resources"].items()}
                place = node["NodeManagerAddress"]
                name = node.get("NodeName") or place
                found.append(
                    NodeFacts(name, f"tcp://{place}:0", total, total, {}, node["NodeManagerHostname"])
                )
        return found

    def close(self) -> None:
        """See ``bridge.Provider.close``."""
        enders = [threading.Thread(target=self._end, args=(actor,)) for actor in self._actors.values()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join(LEAVE_S)
        self._ending.shutdown(wait=True)
        self._ray.shutdown()


def _options(resources: Mapping[str, float]) -> dict[str, Any]:
    """What a lease asks for, in Ray's words."""
    rest = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU", "memory")}
    options: dict[str, Any] = {"num_cpus": resources.get("CPU", 0.0), "num_gpus": resources.get("GPU", 0.0)}
    if memory := resources.get("memory"):
        options["memory"] = int(memory)
    if rest:
        options["resources"] = rest
    return options
