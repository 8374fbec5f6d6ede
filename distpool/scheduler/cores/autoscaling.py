"""Nodes by demand: which to start, and which to let go. A part of the head's decisions.

::

    NodeReport(wants) ─┐
    groups that wait ──┼─► ``ScalingDemand`` ─► demand - free - coming ──► start ─┐                 ┌─► provider
    RequestResources ──┘                                                          ├─► ``ScalingFleet``
    NodeReport(idle), nobody wants it ───────────────────────────────────► leave ─┘                 └─► the node

**Demand** is level, never counted by task. It must have lasted ``patience_s``, and what is being started is counted as
free.

**Nobody is stopped who is needed.** A node is told to leave only while it says that it is idle (no lease, bundle,
program, or object that anybody refers to), and decides itself at the instant when it hears that: it may stay. From
that word on the head places nothing there.

**Failures** of a type make it rest, twice as long each time, and show in ``distpool status``; another type may serve
meanwhile.

The clock comes in as deadlines of the head's, of kinds that begin with "scale". Whatever has changed is looked at
together, a moment later (``soon``). Not here: what fits where (``packing``), what becomes of a node that was asked for
(``scaling_fleet``), who wants what (``scaling_demand``), and calling a provider (``shells.provider_link``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from distpool.scheduler.cores.backoff import Backoff
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.packing import Demand, Room, left_over, nodes_for, room_of
from distpool.scheduler.cores.resources import fits, to_floats, to_units
from distpool.scheduler.cores.scaling_demand import REQUESTS, ScalingDemand
from distpool.scheduler.cores.scaling_fleet import COUNT, SCALED, ScalingFleet
from distpool.scheduler.messages import (
    Message,
    NodeFacts,
    NodeReport,
    NodeType,
    Record,
    ScaledNode,
    ScalingFacts,
    ScalingFailure,
    ScalingSettings,
    Want,
)

#: Tables of the journal.
TABLES = (SCALED, COUNT, REQUESTS)
#: What has changed is looked at together.
PLAN_S = 0.1
#: After a failure a type, or a call, rests; doubling, up to the second.
REST_S, REST_S_MAX = 1.0, 300.0
#: So many may be starting at one time, however few there are.
STARTING_MIN = 5


class Autoscaling:
    """A part of ``HeadCore``.

    ``nodes`` gives the facts of those that are there (awaited or not), ``groups`` what placement groups miss.
    """

    def __init__(
        self,
        settings: ScalingSettings,
        deadlines: Deadlines[tuple[str, str]],
        nodes: Callable[[], Mapping[str, NodeFacts]],
        groups: Callable[[], Iterable[Demand]],
        send: Callable[[str, Message], None],
        record: Callable[[Record], None],
    ) -> None:
        self.settings = settings
        self.types = {node_type.name: node_type for node_type in settings.types}
        self.backoff = Backoff(REST_S, REST_S_MAX)  # of types, and of the provider
        self.demand = ScalingDemand(groups, record)
        self.fleet = ScalingFleet(settings, deadlines, nodes, self.backoff, send, record)
        self._unmet: list[Demand] = []
        self._unmet_s = math.inf  # since when there is some
        self._waits = ""  # why nothing is started for it
        self._deadlines, self._nodes = deadlines, nodes

    def restore(self, record: Record) -> None:
        """Take in what a former head has left."""
        (self.demand if record.table == REQUESTS else self.fleet).restore(record)

    # ------------------------------------------------------------------------------ what the head hears

    def joined(self, name: str, incarnation: int, now: float) -> None:
        """A node has said hello."""
        self.fleet.has_joined(name, incarnation, now)
        self.soon(now)

    def reported(self, name: str, report: NodeReport, now: float) -> None:
        """A node has said what it cannot grant, and whether it is idle."""
        if self.demand.reported(name, report.wants):
            self.soon(now)
        self.fleet.reported(name, report, now)

    def gone(self, name: str, now: float) -> None:
        """A node has left, or was lost."""
        self.fleet.gone(name, now)
        self.demand.node_gone(name)
        self.soon(now)

    def is_leaving(self, name: str) -> bool:
        """Whether nothing is to be placed there any more."""
        node = self.fleet.nodes.get(name)
        return node is not None and node.is_going

    def request(self, node: str, owner: str, bundles: tuple[dict[str, float], ...], now: float) -> None:
        """A program's latest request counts, until it ends."""
        self.demand.request(node, owner, bundles)
        self.soon(now)

    def owner_gone(self, node: str, owner: str, now: float) -> None:
        """It requests nothing any more, so what was kept for it may go."""
        self.demand.owner_gone(node, owner)
        self.soon(now)

    def owners_gone(self, node: str, but: frozenset[str], now: float) -> None:
        """All owners of a node are gone, but for these."""
        self.demand.owners_gone(node, but)
        self.soon(now)

    def heard(self, message: Message, now: float) -> None:
        """A word of the provider, or about it."""
        self.fleet.heard(message, now)
        self.soon(now)

    def due(self, kind: str, name: str, now: float) -> None:
        """A deadline of ours."""
        if kind in ("scale-plan", "scale-idle"):
            self._plan(now)
        else:
            self.fleet.due(kind, name, now)
            self.soon(now)

    def soon(self, now: float) -> None:
        """Something has changed."""
        if ("scale-plan", "") not in self._deadlines.at_s:
            self._deadlines.set(("scale-plan", ""), now + PLAN_S)

    # --------------------------------------------------------------------------------------- the plan

    def _plan(self, now: float) -> None:
        if not self.fleet.listed:
            self._waits = "the provider has yet to tell what nodes there are"
            return
        self._start_what_is_missing(now)
        self._stop_what_is_idle(now)
        self._deadlines.set(("scale-plan", "rested"), self.backoff.next_s(now))

    def _start_what_is_missing(self, now: float) -> None:
        """The least that there is to be of each type, and what else has room for what has been wanted long enough."""
        resting = self.backoff.resting(now)
        types = [node_type for node_type in self.settings.types if node_type.name not in resting]
        most = self._most()
        counts = Counter(node.node_type for node in self.fleet)
        may = {node_type.name: node_type.max_nodes - counts[node_type.name] for node_type in types}
        start = self._fewer_than_the_least(types, may)[:most]
        self._unmet = left_over(self.demand.waiting(), self._free_rooms() + self._fresh(start))
        requested = left_over(self.demand.requested(), self._whole_rooms() + self._fresh(start))
        wanted = [*self._unmet, *requested]
        self._waits = ""
        if self._has_lasted(bool(wanted), now):
            left = {name: count - start.count(name) for name, count in may.items()}
            start += self._for_both(requested, types, left, most - len(start))
            if not start:
                self._waits = self._why_nothing(wanted, most)
        for name in start:
            self.fleet.start(name, now)

    def _most(self) -> int:
        """How many may be started now."""
        coming = sum(node.is_coming for node in self.fleet)
        up = sum(node.state == "up" for node in self.fleet)
        most = max(STARTING_MIN, math.ceil(self.settings.upscaling_speed * up)) - coming
        return max(0, min(most, self.settings.max_nodes - len(self.fleet)))

    def _fewer_than_the_least(self, types: Iterable[NodeType], may: Mapping[str, int]) -> list[str]:
        staying = Counter(node.node_type for node in self.fleet if not node.is_going)
        return [t.name for t in types for _ in range(min(t.min_nodes - staying[t.name], may[t.name]))]

    def _has_lasted(self, is_wanted: bool, now: float) -> bool:
        """Whether more has been wanted for ``patience_s``; if not yet, there is another look then."""
        self._unmet_s = min(self._unmet_s, now) if is_wanted else math.inf
        patient_s = self._unmet_s + self.settings.patience_s
        if is_wanted and now < patient_s:
            self._deadlines.set(("scale-plan", "patience"), patient_s)
        return now >= patient_s

    def _for_both(
        self, requested: list[Demand], types: list[NodeType], may: dict[str, int], most: int
    ) -> list[str]:
        """For what waits, and then for requests: those may have the same nodes."""
        start = nodes_for(self._unmet, types, may, most)
        rest = left_over(requested, self._fresh(start))
        left = {name: count - start.count(name) for name, count in may.items()}
        return start + nodes_for(rest, types, left, most - len(start))

    def _why_nothing(self, wanted: list[Demand], most: int) -> str:
        if not any(
            nodes_for([demand], self.settings.types, _once(self.settings.types), 1) for demand in wanted
        ):
            return "no type of node has that"
        if most <= 0:
            full = len(self.fleet) >= self.settings.max_nodes
            return f"there may be {self.settings.max_nodes} nodes" if full else "others are starting"
        return "there are as many nodes of that type as there may be, or their starts have failed"

    def _stop_what_is_idle(self, now: float) -> None:
        counts = Counter(node.node_type for node in self.fleet if node.state == "up")
        idle = [n for n in self.fleet if n.state == "up" and now >= n.idle_s + self.settings.idle_s]
        for node in sorted(idle, key=lambda node: node.idle_s):
            node_type = self.types.get(node.node_type)
            if node_type is not None and counts[node.node_type] <= node_type.min_nodes:
                continue
            facts = self._nodes().get(node.name)
            if facts is None or self._is_wanted(node.name, facts):
                continue
            counts[node.node_type] -= 1
            self.fleet.leave(node, now)

    def _is_wanted(self, name: str, facts: NodeFacts) -> bool:
        """Whether something waits that could be there, or what was requested needs it."""
        total = to_units(facts.total)
        if any(fits(demand.need, total) for demand in self.demand.waiting()):
            return True
        requested = self.demand.requested()
        return bool(requested) and _amount(left_over(requested, self._whole_rooms(but=name))) > _amount(
            left_over(requested, self._whole_rooms())
        )

    # ------------------------------------------------------------------------------------- what there is

    def _free_rooms(self) -> list[Room]:
        """What is free on the nodes that stay, and all of those that are coming."""
        return [Room(to_units(facts.available), facts.labels) for facts in self._staying()] + self._coming()

    def _whole_rooms(self, but: str = "") -> list[Room]:
        """All that nodes have that stay or come, whatever runs there."""
        return [Room(to_units(facts.total), facts.labels) for facts in self._staying(but)] + self._coming()

    def _staying(self, but: str = "") -> list[NodeFacts]:
        return [
            facts
            for name, facts in self._nodes().items()
            if not (facts.draining or self.is_leaving(name) or name == but)
        ]

    def _coming(self) -> list[Room]:
        return self._fresh(n.node_type for n in self.fleet if n.is_coming and n.node_type in self.types)

    def _fresh(self, names: Iterable[str]) -> list[Room]:
        return [room_of(self.types[name]) for name in names]

    # ------------------------------------------------------------------------------------- for people

    def facts(self, now: float) -> ScalingFacts:
        """What ``distpool status`` shows."""
        return ScalingFacts(
            tuple(Want(to_floats(demand.need), demand.count, demand.labels) for demand in self._unmet),
            tuple(
                ScaledNode(node.name, node.node_type, node.state, max(0.0, now - max(node.since_s, 0.0)))
                for node in self.fleet
            ),
            tuple(
                ScalingFailure(what, failure.reason, failure.count, max(0.0, failure.until_s - now))
                for what, failure in self.backoff.failures.items()
            ),
            self._waits,
        )

    # -------------------------------------------------------------------------------------- oracle

    def check(self) -> None:
        """Assert every invariant."""
        self.demand.check(self._nodes())
        self.fleet.check()


def _once(types: Iterable[NodeType]) -> dict[str, int]:
    return {node_type.name: 1 for node_type in types if node_type.max_nodes > 0}


def _amount(demands: Iterable[Demand]) -> int:
    return sum(demand.count for demand in demands)
