"""From options to where calls run: resources, strategy and environment make the shape of the workers.

::

    options ─┬─ num_cpus, resources, ...       ─► resources ─┐
             ├─ scheduling_strategy, labels     ─► Strategy ──┼─► Shape, and what its workers do first (``enter``)
             ├─ runtime_env, merged over the job's ─► its key ┤
             └─ the driver's own modules, as loaded ─► version┘

A plan is made by the first call after the session has begun, and anew when the session is another one, or a module of
the driver's own was edited and loaded again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distpool import remote_options, runtime_envs
from distpool.runtime_env_modules import driver_modules_version
from distpool.runtime_envs import Payload, Prepared, adopted, prepare
from distpool.scheduler import client
from distpool.scheduler.messages import Contact, Strategy
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.plans import Shape
from distpool.scheduler.shells import worker_start

__all__ = ["Workers", "job", "version", "workers_of"]

version = driver_modules_version


@dataclass(frozen=True)
class Here:
    """What a worker is for. All of it empty in a driver."""

    resources: Mapping[str, float] = field(default_factory=dict)
    group: str = ""  # the placement group that it runs in
    captures: bool = False  # whether the calls made here run there too
    actor_id: str = ""
    actor_name: str = ""
    actor: Any = None  # (number of its reference, base of that, ``actors.ClassFacts``)

    def was_reconstructed(self) -> bool:
        """Whether the actor was constructed before, in another worker."""
        return os.path.exists(self._mark) and not self._is_first

    @property
    def _mark(self) -> str:
        start = worker_start.this_worker
        return os.path.join(start.directory if start else "", f"actor-{self.actor_id}")

    @property
    def _is_first(self) -> bool:
        start = worker_start.this_worker
        with open(self._mark) as file:
            return start is not None and file.read() == str(start.worker)

    def leave_mark(self) -> None:
        """So that a later worker of the same actor sees that it is not the first."""
        start = worker_start.this_worker
        if self.actor_id and start is not None and not os.path.exists(self._mark):
            with open(self._mark, "w") as file:
                file.write(str(start.worker))


class Job:
    """What the calls of a program have in common; in a worker, what its driver's have."""

    def __init__(self) -> None:
        self.here = Here()
        self.namespace = ""
        self.driver: Contact | None = None  # in a worker: of the program itself
        self.job_id = ""
        self.runtime_env: Mapping[str, Any] | None = None
        self.detaches = False  # actors that do not say how long they live do so without handles

    def forget(self) -> None:
        """The session has ended."""
        self.__init__()  # type: ignore[misc]

    @property
    def facts(self) -> tuple[str, str, bool]:
        """Namespace and name of the job, and whether its actors are detached if they do not say."""
        if not self.namespace:
            self.namespace = str(uuid.uuid4())
        if not self.job_id:
            self.job_id = os.urandom(4).hex()
        return self.namespace, self.job_id, self.detaches


job = Job()
refs.this_job.append(lambda: job.facts[1])

#: A function, and what makes its arguments, given what pickles.
Setup = tuple[Callable[..., Any], Callable[[Callable[[Any], bytes]], tuple[Any, ...]]]


def for_actor(setup: Setup, **facts: Any) -> Setup:
    """The same set-up, for the worker of an actor."""
    function, arguments = setup

    def with_facts(dumps: Callable[[Any], bytes]) -> tuple[Any, ...]:
        of_job, driver, here, *rest = arguments(dumps)
        return of_job, driver, replace(here, **facts), *rest

    return function, with_facts


class Workers:
    """What some calls need: the shape of their workers, and what these do before anything else."""

    __slots__ = ("kept", "setup", "shape")

    def __init__(self, shape: Shape, setup: Setup, kept: Any) -> None:
        self.shape = shape
        self.setup = setup
        self.kept = kept  # what must live as long as workers may start


def workers_of(options: Mapping[str, Any], default_cpus: float) -> Workers:
    """The workers for calls with these options.

    Raises:
        TypeError, ValueError: what they ask for cannot be.
    """
    resources = remote_options.resources_of(options, default_cpus)
    base_dir = ""
    own, parent = options.get("runtime_env"), adopted() or job.runtime_env
    if own or parent:
        session = client.session()
        _ = session.contact  # its cluster is up then, and has a directory
        base_dir = session.cluster.directory
    prepared = prepare(own, base_dir, parent)
    key = f"{version()}:{prepared.key}"
    shape = Shape(
        tuple(sorted(resources.items())), options.get("max_calls") or 0, key, strategy_of(options, resources)
    )
    here = Here(resources, shape.strategy.group, shape.strategy.capture)
    return Workers(shape, _set_up(here, prepared), prepared)


def _set_up(here: Here, prepared: Prepared) -> Setup:
    """``enter`` and its arguments, which are made when the workers' pool is opened."""

    def arguments(dumps: Callable[[Any], bytes]) -> tuple[Any, ...]:
        session = client.session()
        driver = job.driver or session.contact
        payload = prepared.payload(dumps) if prepared.key else None
        if payload is not None and session.spans_machines:
            payload = payload.contained()
        return job.facts, driver, here, payload

    return enter, arguments


def enter(facts: tuple[str, str, bool], driver: Contact, here: Here, payload: Payload | None) -> None:
    """In a worker, before any of the user's code."""
    job.namespace, job.job_id, job.detaches = facts
    limit_threads(here.resources)
    job.driver = driver
    job.here = here
    here.leave_mark()
    if payload is not None:
        worker = worker_start.this_worker
        assert worker is not None
        runtime_envs.apply(payload, worker.directory)


def limit_threads(resources: Mapping[str, float]) -> None:
    """As many threads of BLAS and OpenMP as CPUs were asked for, one at least, unless it was said how many.

    Or each of a machine's workers would start as many as the machine has CPUs. It holds for what is imported from now
    on; a ``runtime_env`` may say otherwise.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(resources.get("CPU", 0)))))


def strategy_of(options: Mapping[str, Any], resources: Mapping[str, float]) -> Strategy:
    """Where the workers may be, that are to have these resources.

    Raises:
        TypeError, ValueError: a strategy that there is not; two that contradict each other.
    """
    given = options.get("scheduling_strategy")
    group = options.get("placement_group")
    if group is not None and group != "default":
        if given is not None:
            raise ValueError(
                "placement_group and scheduling_strategy cannot both be given: use scheduling_strategy"
            )
        from distpool.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = options.get("placement_group_bundle_index")
        given = PlacementGroupSchedulingStrategy(group, -1 if bundle is None else bundle)
    labels = options.get("label_selector")
    if given is None and not labels:
        if job.here.captures:
            return Strategy("group", group=job.here.group, capture=True)
        return _DEFAULT
    from distpool.util import scheduling_strategies

    strategy: Strategy = scheduling_strategies.strategy_of(given, labels, resources)
    return strategy


_DEFAULT = Strategy()
