"""Pilots: which are started on somebody else's cluster, who is sent to which, and when they go."""

from __future__ import annotations

import random
from typing import Any

import pytest

from distpool.scheduler.cores.pilots import (
    HOPELESS_S,
    IDLE_S,
    PATIENCE_S,
    ClusterFacts,
    PilotLost,
    PilotsCore,
    PilotUp,
    StartPilot,
    StopPilot,
    WorkerUpThere,
)
from distpool.scheduler.messages import (
    Death,
    DropPool,
    FactsQuery,
    FactsReport,
    GroupFacts,
    GroupsReport,
    KeyAnswer,
    KeyGet,
    KeyPut,
    LeaseElsewhere,
    LeaseRefused,
    MakeGroup,
    NodeFacts,
    PoolDropped,
    Strategy,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
)


class Home:
    """A core, and the clock."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self.core = PilotsCore("home", "the Dask cluster at dask://h:1", 1, "host")
        self.now = 100.0
        facts = tuple(NodeFacts(f"n{i}", f"tcp://{i}", total, total) for i, total in enumerate(nodes))
        assert self.say("cluster", ClusterFacts(facts)) == []

    def say(self, sender: str, message: Any) -> list[Any]:
        out = [message for _, message in self.core.receive(sender, message, self.now)]
        self.core.check()
        return [message for message in out if not isinstance(message, WakeAt)]

    def want(self, pool: int, count: int, **resources: float) -> list[Any]:
        return self.say("owner", WantLeases(pool, count, not resources, resources))

    def go_to(self, pilot: str, pool: int, count: int) -> list[Any]:
        return self.say(f"toward:{pilot}", WantLeases(pool, count, True, {}, True))

    def up(self, pilot: str) -> list[Any]:
        return self.say(f"pilot:{pilot}", PilotUp())

    def after(self, seconds: float) -> list[Any]:
        self.now += seconds
        return self.say("timer", Tick())


def elsewhere(pool: int, pilot: str, wanted: int) -> LeaseElsewhere:
    return LeaseElsewhere(pool, 1, pilot, f"tcp://{pilot}", wanted)


ONE_CPU = {"CPU": 1.0}
SEEDS = 25


def test_a_pool_gets_a_pilot_for_each_worker() -> None:
    home = Home({"CPU": 2.0})
    assert home.want(7, 2) == [StartPilot("home-1", ONE_CPU), StartPilot("home-2", ONE_CPU)]
    assert home.up("home-2") == [elsewhere(7, "home-2", 2)]
    assert home.want(7, 1) == []  # it goes there ...
    assert home.go_to("home-2", 7, 1) == []
    assert home.up("home-1") == [elsewhere(7, "home-1", 1)]
    assert home.want(7, 0) == []
    assert home.go_to("home-1", 7, 1) == []
    assert home.after(10 * IDLE_S) == []


def test_an_offer_is_answered_before_the_next_is_made() -> None:
    home = Home({"CPU": 4.0})
    home.want(7, 2)
    assert home.up("home-1") == [elsewhere(7, "home-1", 2)]
    assert home.up("home-2") == []
    assert home.want(7, 1) == [elsewhere(7, "home-2", 1)]


def test_a_pilot_that_nobody_needs_serves_the_next_pool_or_ends() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    home.up("home-1")
    home.want(1, 0)
    home.go_to("home-1", 1, 1)
    home.say("pilot:home-1", WorkerUpThere("home-1.1.1"))
    assert home.say("owner", DropPool(1, False)) == [PoolDropped(1)]
    assert home.say("toward:home-1", DropPool(1, False)) == []
    assert home.say("pilot:home-1", WorkerDied("home-1.1.1", 1, Death(1, "h", 0, 0), 0)) == []
    assert home.want(2, 1) == [elsewhere(2, "home-1", 1)]
    home.want(2, 0)
    home.go_to("home-1", 2, 1)
    home.say("toward:home-1", DropPool(2, False))
    assert home.after(IDLE_S / 2) == []
    gone = PilotLost("home-1", "it was not needed any more")
    assert home.after(IDLE_S / 2) == [gone, StopPilot("home-1")]


def test_a_worker_that_is_still_there_keeps_its_pilot() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    home.up("home-1")
    home.want(1, 0)
    home.go_to("home-1", 1, 1)
    home.say("pilot:home-1", WorkerUpThere("home-1.1.1"))
    home.go_to("home-1", 1, 0)
    assert home.after(10 * IDLE_S) == []


def test_more_workers_than_cpus_share_pilots() -> None:
    home = Home({"CPU": 1.0}, {"CPU": 1.0})
    assert len(home.want(1, 5)) == 2
    home.up("home-1")
    home.want(1, 4)
    home.go_to("home-1", 1, 1)
    assert home.up("home-2") == [elsewhere(1, "home-2", 4)]
    home.go_to("home-2", 1, 1)
    assert home.want(1, 3) == [elsewhere(1, "home-1", 3)]
    home.go_to("home-1", 1, 2)
    assert home.want(1, 2) == [elsewhere(1, "home-2", 2)]
    home.go_to("home-2", 1, 2)
    assert home.want(1, 1) == [elsewhere(1, "home-1", 1)]


def test_on_a_busy_cluster_they_share_after_a_while() -> None:
    home = Home({"CPU": 2.0})
    home.want(1, 2)
    home.up("home-1")
    assert home.want(1, 1) == []  # the other may come
    home.go_to("home-1", 1, 1)
    assert home.after(PATIENCE_S) == [elsewhere(1, "home-1", 1)]


def test_workers_that_ask_for_something_have_it_for_themselves() -> None:
    home = Home({"CPU": 2.0, "GPU": 1.0})
    assert home.want(1, 2, GPU=1.0) == [StartPilot("home-1", {"GPU": 1.0})]
    home.up("home-1")
    home.want(1, 1, GPU=1.0)
    home.go_to("home-1", 1, 1)
    assert home.after(10 * PATIENCE_S) == []


def test_what_nobody_can_ever_have_is_refused_by_name() -> None:
    home = Home({"CPU": 2.0, "GPU": 1.0})
    assert home.want(1, 1, GPU=2.0) == []
    assert home.after(HOPELESS_S) == [
        LeaseRefused(
            1,
            "no node of the Dask cluster at dask://h:1 can ever have GPU 2 for a worker; the most that one has is "
            "GPU 1",
        )
    ]


def test_a_cluster_without_nodes_is_asked_for_one() -> None:
    home = Home()
    assert home.want(1, 3) == [StartPilot("home-1", ONE_CPU)]
    more = NodeFacts("n", "tcp://n", {"CPU": 8.0}, {})
    assert home.say("cluster", ClusterFacts((more,))) == [
        StartPilot("home-2", ONE_CPU),
        StartPilot("home-3", ONE_CPU),
    ]


def test_room_is_made_by_those_whom_nobody_needs() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    home.up("home-1")
    home.want(1, 0)
    home.go_to("home-1", 1, 1)
    home.go_to("home-1", 1, 0)
    assert home.want(2, 1, CPU=0.5) == [
        PilotLost("home-1", "it was not needed any more"),
        StopPilot("home-1"),
        StartPilot("home-2", {"CPU": 0.5}),
    ]


def test_a_lost_pilot_is_a_lost_node_and_another_is_started_when_the_owner_wants_again() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    home.up("home-1")
    home.want(1, 0)
    home.go_to("home-1", 1, 1)
    assert home.say("pilot:home-1", PilotLost("home-1", "killed")) == [PilotLost("home-1", "killed")]
    assert home.want(1, 1) == [StartPilot("home-2", ONE_CPU)]


def test_pilots_that_do_not_start_are_tried_twice() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    assert home.say("pilot:home-1", PilotLost("home-1", "no distpool")) == [StartPilot("home-2", ONE_CPU)]
    assert home.say("pilot:home-2", PilotLost("home-2", "no distpool")) == [
        LeaseRefused(1, "no worker can be started on the Dask cluster at dask://h:1: no distpool")
    ]


def test_one_that_is_not_needed_before_it_is_up_ends() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 1)
    home.say("owner", DropPool(1, True))
    assert home.after(IDLE_S) == [StopPilot("home-1")]


def test_an_offer_that_crosses_a_change_of_mind_is_void() -> None:
    home = Home({"CPU": 1.0})
    home.want(1, 3)
    assert home.up("home-1") == [elsewhere(1, "home-1", 3)]
    assert home.want(1, 5) == [elsewhere(1, "home-1", 5)]  # nobody has gone there


@pytest.mark.parametrize(
    ("strategy", "what"),
    [
        (Strategy("node", node="x"), "node affinity"),
        (Strategy("group", group="g"), "placement groups"),
    ],
)
def test_what_cannot_be_carried_over_is_said_by_name(strategy: Strategy, what: str) -> None:
    home = Home({"CPU": 1.0})
    (refused,) = home.say("owner", WantLeases(1, 1, False, {"CPU": 1.0}, strategy=strategy))
    assert isinstance(refused, LeaseRefused)
    assert refused.reason.startswith(f"there is no scheduling by {what} on the Dask cluster at dask://h:1")


def test_spread_is_passed_on() -> None:
    home = Home({"CPU": 1.0})
    wanted = WantLeases(1, 1, False, {"CPU": 1.0}, strategy=Strategy("spread"))
    assert home.say("owner", wanted) == [StartPilot("home-1", ONE_CPU, spread=True)]


def test_questions_are_answered() -> None:
    home = Home({"CPU": 1.0})
    (report,) = home.say("owner", FactsQuery(3))
    assert isinstance(report, FactsReport)
    assert [node.node for node in report.nodes] == ["n0"]
    assert home.say("owner", KeyPut(4, "k", b"v")) == [KeyAnswer(4, None, True)]
    assert home.say("owner", KeyGet(5, "k")) == [KeyAnswer(5, b"v")]
    (answer,) = home.say("owner", MakeGroup(6, GroupFacts("g", ({"CPU": 1.0},), "PACK")))
    assert answer == GroupsReport(6, (), "there are no placement groups on the Dask cluster at dask://h:1")


class Owner:
    """What an owner core does with levels, without the rest of it. Its words arrive late, in order."""

    def __init__(self, home: Home, chance: random.Random) -> None:
        self.home, self.chance = home, chance
        self.sizes: dict[int, int] = {}
        self.wanted: dict[int, dict[str, int]] = {}
        self.words: list[tuple[str, Any]] = []  # of ours, under way
        self.heard: list[Any] = []  # of theirs, under way

    def _say_level(self, pool: int, node: str, count: int) -> None:
        self.wanted[pool][node] = count
        sender = "owner" if node == "home" else f"toward:{node}"
        self.words.append((sender, WantLeases(pool, count, True, {}, node != "home")))

    def resize(self, pool: int, size: int) -> None:
        self.sizes[pool] = size
        self.wanted.setdefault(pool, {})
        self._ask(pool)

    def _ask(self, pool: int) -> None:
        away = sum(count for node, count in self.wanted[pool].items() if node != "home")
        level = max(0, self.sizes[pool] - away)
        if self.wanted[pool].get("home") != level:
            self._say_level(pool, "home", level)
        for node, count in self.wanted[pool].items():
            if away > self.sizes[pool] and node != "home" and count:
                self._say_level(pool, node, count - 1)
                return

    def hear(self, message: Any) -> None:
        match message:
            case LeaseElsewhere(pool=pool, node=node, wanted=wanted):
                if self.wanted.get(pool, {}).get("home") == wanted and wanted:
                    self._say_level(pool, "home", wanted - 1)
                    self._say_level(pool, node, self.wanted[pool].get(node, 0) + 1)
            case PilotLost(pilot=pilot):
                for pool, levels in self.wanted.items():
                    if levels.pop(pilot, 0):
                        self._ask(pool)


class Trial:
    """A home, an owner and a cluster under a seed."""

    def __init__(self, seed: int) -> None:
        chance = self.chance = random.Random(seed)
        self.home = Home(*[{"CPU": float(chance.randint(1, 3))} for _ in range(chance.randint(1, 3))])
        self.owner = Owner(self.home, chance)
        self.starting: list[str] = []
        self.running: set[str] = set()

    def take(self, out: list[Any]) -> None:
        for message in out:
            if isinstance(message, StartPilot):
                self.starting.append(message.pilot)
            elif isinstance(message, StopPilot):
                self.running.discard(message.pilot)
                if message.pilot in self.starting:
                    self.starting.remove(message.pilot)
            else:
                self.owner.heard.append(message)

    def step(self, *, faults: bool) -> None:
        chance, home, owner = self.chance, self.home, self.owner
        home.now += chance.random() * 0.3
        roll = chance.random()
        if roll < 0.3 and owner.words:
            self.take(home.say(*owner.words.pop(0)))
        elif roll < 0.6 and owner.heard:
            owner.hear(owner.heard.pop(0))
        elif roll < 0.75 and self.starting:
            pilot = self.starting.pop(chance.randrange(len(self.starting)))
            if faults and chance.random() < 0.1:
                self.take(home.say(f"pilot:{pilot}", PilotLost(pilot, "bad luck")))
            else:
                self.running.add(pilot)
                self.take(home.up(pilot))
        elif roll < 0.8 and self.running and faults:
            pilot = chance.choice(sorted(self.running))
            self.running.discard(pilot)
            self.take(home.say(f"pilot:{pilot}", PilotLost(pilot, "killed")))
        elif roll < 0.9 and faults:
            owner.resize(chance.randint(1, 3), chance.randint(0, 6))
        else:
            self.take(home.after(0.0))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_everybody_is_served_and_nothing_is_left(seed: int) -> None:
    trial = Trial(seed)
    owner, core = trial.owner, trial.home.core
    for _ in range(trial.chance.randint(20, 200)):
        trial.step(faults=True)
    for _ in range(400):
        trial.step(faults=False)
    for pool, size in owner.sizes.items():
        refused = pool not in core.demands and owner.wanted[pool].get("home")
        served = sum(count for node, count in owner.wanted[pool].items() if node != "home")
        assert served == size or refused, (pool, size, owner.wanted[pool], core.pilots)
    for pool in owner.sizes:
        owner.resize(pool, 0)
        for _ in range(8):
            owner._ask(pool)
    for _ in range(400):
        trial.step(faults=False)
    assert not core.pilots
    assert not trial.running | set(trial.starting)
