"""PilotsCore: which pilots a program has on a cluster that is not ours, and which of its leases is on which of them.

A *pilot* is a job of somebody else's cluster (an actor of Ray's, a task of Dask's) that holds a node of ours for as
long as it runs. To the owner the cluster is one *home* agent without workers of its own: it is asked for leases as any
agent is, and points to its pilots. This is that agent's mind::

    owner ── WantLeases(3) ──► home ── StartPilot ──► cluster ── PilotUp ──► home
          ◄─ LeaseElsewhere(1, pilot) ──┘    (one at a time: the owner's next level answers it)
          ── WantLeases(2) ──► home
          ── WantLeases(1) ──────────────────────────────────────────────────► the pilot's own agent

A pilot has the resources of one lease, and by default serves one. A worker that asks for nothing is given a CPU of its
own for as long as the cluster has one; after that such workers share pilots, so that a pool has the size that was asked
for. A pilot without work is kept for a moment, for the next pool, and then ended.

Its messages are those of owner and agent, and the few below. Not here: how a pilot is started and reached
(``engines.bridge``), and what runs on it: what is said between owner and pilot passes by, and is only ``noted``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.head_keys import Keys
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    AgentWelcome,
    DropPool,
    FactsQuery,
    FactsReport,
    GroupQuery,
    GroupsReport,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeySwap,
    LeaseElsewhere,
    LeaseRefused,
    MakeGroup,
    NodeFacts,
    OwnerHello,
    PoolDropped,
    Record,
    RemoveGroup,
    StoreQuery,
    StoreReport,
    Survey,
    Surveyed,
    Tick,
    WantLeases,
    WorkerDied,
)

__all__ = ["ClusterFacts", "PilotLost", "PilotUp", "PilotsCore", "StartPilot", "StopPilot", "WorkerUpThere"]

#: A pilot that nobody needs is kept for this long.
IDLE_S = 2.0
#: Workers that need nothing share pilots when further ones have not come after this long.
PATIENCE_S = 3.0
#: What no node of the cluster has room for, even when it is empty, is refused after this long: it may be growing.
HOPELESS_S = 10.0
#: So many pilots in a row that do not start, and nobody waits for another.
START_FAILURES_MAX = 2
#: The owner's word to a pilot follows its word to us at once.
CONFIRM_S = 5.0

Amounts = tuple[tuple[str, float], ...]
Output = list[tuple[str, Any]]


class StartPilot(msgspec.Struct, frozen=True):
    """To "cluster": start one with these resources; ``spread``: on the node with fewest."""

    pilot: str
    resources: dict[str, float]
    spread: bool = False


class StopPilot(msgspec.Struct, frozen=True):
    """To "cluster": nobody needs it any more."""

    pilot: str


class PilotUp(msgspec.Struct, frozen=True):
    """From "pilot:NAME": its agent can be spoken to."""


class WorkerUpThere(msgspec.Struct, frozen=True):
    """From "pilot:NAME": the worker of this lease has spoken for the first time."""

    lease: str


class PilotLost(msgspec.Struct, frozen=True):
    """From "pilot:NAME": it could not be started, or has ended, and why; to "owner": it is a lost node."""

    pilot: str
    reason: str


class ClusterFacts(msgspec.Struct, frozen=True):
    """From "cluster": the nodes that it has now."""

    nodes: tuple[NodeFacts, ...]


@dataclass(slots=True)
class _Demand:
    """What a pool wants of home: leases that are on no pilot yet."""

    want: WantLeases
    shape: Amounts
    since_s: float  # when what it wants last changed: it got some, or began to want more
    offered: str = ""  # the pilot that the owner was pointed to, while its answer is awaited


@dataclass(slots=True)
class _Pilot:
    name: str
    shape: Amounts
    since_s: float
    up: bool = False
    levels: dict[int, int] = field(default_factory=dict)  # pool -> leases that the owner wants of it
    awaited: dict[int, float] = field(default_factory=dict)  # pool -> until when the owner's word is awaited
    living: set[str] = field(default_factory=set)  # leases whose workers are there
    idle_s: float = math.inf  # since when nobody needs it

    @property
    def free(self) -> bool:
        return self.up and not self.levels and not self.awaited

    @property
    def load(self) -> int:
        return sum(self.levels.values()) + len(self.awaited)


class PilotsCore:
    """The state machine of the home agent. ``title`` is what people are told the cluster is."""

    def __init__(self, home: str, title: str, pid: int, host: str, limits: Limits = DEFAULTS) -> None:
        self.home, self.title = home, title
        self.pid, self.host = pid, host
        self.nodes: tuple[NodeFacts, ...] = ()
        self.pilots: dict[str, _Pilot] = {}
        self.demands: dict[int, _Demand] = {}
        self.failures: dict[Amounts, int] = {}
        self.keys = Keys(limits, _forget)
        self._count = 0
        self._out: Output = []
        self._alarm = Alarm(self._out)

    def receive(self, sender: str, message: Any, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        kind, _, name = sender.partition(":")
        if kind == "toward":
            self._note(name, message)
        elif kind == "pilot":
            self._from_pilot(name, message, now)
        else:
            self._take(message, now)
        self._serve(now)
        self._look_for_idle(now)
        out = self._out[:]
        self._out.clear()
        return out

    # ------------------------------------------------------------------------------- what is heard

    def _take(self, message: Any, now: float) -> None:
        match message:
            case OwnerHello():
                total = self._total()
                self._say(AgentWelcome(self.home, self.pid, self.host, total.get("CPU", 0.0), total))
            case WantLeases():
                self._want(message, now)
            case DropPool(pool=pool):
                self.demands.pop(pool, None)
                for pilot in self.pilots.values():
                    pilot.awaited.pop(pool, None)
                self._say(PoolDropped(pool))  # no worker of it is here
            case ClusterFacts(nodes=nodes):
                self.nodes = nodes
            case FactsQuery(request=request):
                self._say(FactsReport(request, self.home, self.nodes, ()))
            case KeyPut() | KeyGet() | KeyDelete() | KeySwap() | KeyList():
                self._say(self.keys.answer(self.home, "", message, message.request))  # none comes twice
            case MakeGroup(request=request):
                self._say(GroupsReport(request, (), f"there are no placement groups on {self.title}"))
            case RemoveGroup(request=request) | GroupQuery(request=request):
                self._say(GroupsReport(request, ()))
            case Survey(request=request):
                self._say(Surveyed(request, (), tuple(self.pilots)))
            case StoreQuery(request=request):
                self._say(StoreReport(self.home, {}, (0, 0), (0, 0), "", (), request))
            case Tick():
                self._alarm.rang()
            case _:
                pass  # of workers and leases, and home has none

    def _want(self, want: WantLeases, now: float) -> None:
        demand = self.demands.get(want.pool)
        if demand is not None and demand.offered:
            if want.count != demand.want.count - 1 and (pilot := self.pilots.get(demand.offered)):
                pilot.awaited.pop(want.pool, None)  # it had changed its mind before it was pointed there
            demand.offered = ""
        if want.count <= 0:
            self.demands.pop(want.pool, None)
        elif reason := self._impossible(want):
            self.demands.pop(want.pool, None)
            self._say(LeaseRefused(want.pool, reason))
        elif demand is None:
            self.demands[want.pool] = _Demand(want, _shape(want.resources), now)
        else:
            if want.count != demand.want.count:
                demand.since_s = now
            demand.want = want

    def _impossible(self, want: WantLeases) -> str:
        strategy = want.strategy
        if strategy.kind in ("default", "spread") and not strategy.labels and not strategy.wishes:
            return ""
        what = {"node": "node affinity", "group": "placement groups"}.get(strategy.kind, "node labels")
        return f"there is no scheduling by {what} on {self.title}: leave it out, or ask by resources"

    def _note(self, name: str, message: Any) -> None:
        """The owner speaks to a pilot's agent."""
        pilot = self.pilots.get(name)
        if pilot is None:
            return
        match message:
            case WantLeases(pool=pool, count=count):
                pilot.awaited.pop(pool, None)
                pilot.levels[pool] = count
                if not count:
                    del pilot.levels[pool]
            case DropPool(pool=pool):
                pilot.awaited.pop(pool, None)
                pilot.levels.pop(pool, None)
            case _:
                pass

    def _from_pilot(self, name: str, message: Any, now: float) -> None:
        pilot = self.pilots.get(name)
        if pilot is None:
            return
        match message:
            case PilotUp():
                pilot.up = True
                self.failures.pop(pilot.shape, None)
            case WorkerUpThere(lease=lease):
                pilot.living.add(lease)
            case WorkerDied(lease=lease):
                pilot.living.discard(lease)
            case PilotLost(reason=reason):
                self._lose(pilot, reason)
            case _:
                pass

    def _lose(self, pilot: _Pilot, reason: str) -> None:
        del self.pilots[pilot.name]
        if pilot.up:
            self._say(PilotLost(pilot.name, reason))
            for demand in self.demands.values():
                if demand.offered == pilot.name:
                    demand.offered = (
                        ""  # the owner hears of the loss after it was pointed there, and wants again
                    )
            return
        failures = self.failures[pilot.shape] = self.failures.get(pilot.shape, 0) + 1
        if failures >= START_FAILURES_MAX:
            del self.failures[pilot.shape]
            for pool, demand in list(self.demands.items()):
                if demand.shape == pilot.shape:
                    self._refuse(pool, f"no worker can be started on {self.title}: {reason}")

    # ------------------------------------------------------------------------------- who gets what

    def _serve(self, now: float) -> None:
        """Point to pilots that are free, start those that are missing, and have workers share what there is."""
        missing: dict[Amounts, int] = {}
        for pool, demand in list(self.demands.items()):
            missing[demand.shape] = missing.get(demand.shape, 0) + demand.want.count
            if demand.offered:
                missing[demand.shape] -= 1
                continue
            free = next((one for one in self.pilots.values() if one.free and one.shape == demand.shape), None)
            if free is None and self._may_share(demand, now):
                serving = [one for one in self.pilots.values() if one.up and one.shape == demand.shape]
                free = min(serving, key=lambda one: one.load, default=None)
            if free is not None:
                self._offer(pool, demand, free, now)
                missing[demand.shape] -= 1
            elif demand.want.resources and not self._could_ever(demand.shape):
                if now >= demand.since_s + HOPELESS_S:
                    self._refuse(pool, self._hopeless(demand.shape))
                else:
                    self._alarm.ask(demand.since_s + HOPELESS_S)
            elif not demand.want.resources and now < demand.since_s + PATIENCE_S:
                self._alarm.ask(demand.since_s + PATIENCE_S)
        for shape, count in missing.items():
            coming = sum(
                (pilot.free or not pilot.up) and pilot.shape == shape for pilot in self.pilots.values()
            )
            spread = any(
                demand.want.strategy.kind == "spread"
                for demand in self.demands.values()
                if demand.shape == shape
            )
            for _ in range(count - coming):
                if not self._has_room(shape):
                    self._make_room(shape)
                    if not self._has_room(shape):
                        break
                self._start(shape, spread, now)

    def _offer(self, pool: int, demand: _Demand, pilot: _Pilot, now: float) -> None:
        demand.offered = pilot.name
        pilot.awaited[pool] = now + CONFIRM_S
        self._alarm.ask(now + CONFIRM_S)
        self._say(LeaseElsewhere(pool, 1, pilot.name, f"tcp://{pilot.name}", demand.want.count))

    def _start(self, shape: Amounts, spread: bool, now: float) -> None:
        self._count += 1
        name = f"{self.home}-{self._count}"
        self.pilots[name] = _Pilot(name, shape, now)
        self._out.append(("cluster", StartPilot(name, dict(shape), spread)))

    def _may_share(self, demand: _Demand, now: float) -> bool:
        """Whether a worker that needs nothing is to go where there is one already."""
        if demand.want.resources:
            return False
        coming = any(not pilot.up and pilot.shape == demand.shape for pilot in self.pilots.values())
        return now >= demand.since_s + PATIENCE_S or not (coming or self._has_room(demand.shape))

    def _has_room(self, shape: Amounts) -> bool:
        """Whether all pilots and one more fit into the cluster, were nobody else there. It waits for who is.

        A cluster without nodes may grow when it is asked for something.
        """
        if not self.nodes:
            return not self.pilots
        total = self._total()
        for name, amount in shape:
            taken = sum(dict(pilot.shape).get(name, 0.0) for pilot in self.pilots.values())
            if taken + amount > total.get(name, 0.0) + 1e-9:
                return False
        return True

    def _make_room(self, shape: Amounts) -> None:
        """End a pilot of another shape that nobody needs, if there is one."""
        for pilot in self.pilots.values():
            if pilot.free and not pilot.living and pilot.shape != shape:
                self._stop(pilot)
                return

    def _could_ever(self, shape: Amounts) -> bool:
        return not self.nodes or any(
            all(node.total.get(name, 0.0) + 1e-9 >= amount for name, amount in shape) for node in self.nodes
        )

    def _hopeless(self, shape: Amounts) -> str:
        most = {name: max(node.total.get(name, 0.0) for node in self.nodes) for name, _ in shape}
        return (
            f"no node of {self.title} can ever have {_listed(dict(shape))} for a worker; the most that one has is "
            f"{_listed(most)}"
        )

    def _refuse(self, pool: int, reason: str) -> None:
        self.demands.pop(pool, None)
        self._say(LeaseRefused(pool, reason))

    # ------------------------------------------------------------------------------- who is not needed

    def _look_for_idle(self, now: float) -> None:
        for pilot in list(self.pilots.values()):
            for pool in [pool for pool, until_s in pilot.awaited.items() if until_s <= now]:
                del pilot.awaited[pool]
            wanted = any(demand.shape == pilot.shape for demand in self.demands.values())
            busy = wanted if not pilot.up else bool(pilot.levels or pilot.awaited or pilot.living)
            if busy:
                pilot.idle_s = math.inf
            elif pilot.idle_s == math.inf:
                pilot.idle_s = now
                self._alarm.ask(now + IDLE_S)
            elif now >= pilot.idle_s + IDLE_S:
                self._stop(pilot)
            else:
                self._alarm.ask(pilot.idle_s + IDLE_S)

    def _stop(self, pilot: _Pilot) -> None:
        del self.pilots[pilot.name]
        if pilot.up:
            self._say(PilotLost(pilot.name, "it was not needed any more"))
        self._out.append(("cluster", StopPilot(pilot.name)))

    # ------------------------------------------------------------------------------- helpers

    def _say(self, message: Any) -> None:
        self._out.append(("owner", message))

    def _total(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for node in self.nodes:
            for name, amount in node.total.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def check(self) -> None:
        """Assert every invariant; for tests."""
        assert all(demand.want.count > 0 for demand in self.demands.values())
        for pilot in self.pilots.values():
            assert pilot.up or not (pilot.levels or pilot.awaited or pilot.living), (
                "a pilot works that is not up"
            )
            assert all(count > 0 for count in pilot.levels.values())
            strict = [
                pool for pool in pilot.awaited if pool in self.demands and self.demands[pool].want.resources
            ]
            assert len(strict) <= (not pilot.levels), "two on one pilot that asked for their own"


def _shape(resources: Mapping[str, float]) -> Amounts:
    """What a pilot needs for a lease; one that asks for nothing is still given a CPU."""
    amounts = tuple(sorted((name, float(amount)) for name, amount in resources.items() if amount))
    return amounts or (("CPU", 1.0),)


def _forget(_record: Record) -> None:
    """The keys of a program's own home go with it: there is no journal."""


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items())
