"""Seeds of ``world``, and bugs that are planted in the cores: each must be found by some seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distpool.scheduler.cores import autoscaling
from distpool.scheduler.cores.autoscaling import Autoscaling
from distpool.scheduler.cores.scaling_fleet import ScalingFleet
from distpool.scheduler.messages import ProviderDown
from tests.autoscaling.world import World

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("seed", range(20))
def test_all_is_done_and_all_nodes_go(seed: int) -> None:
    World(seed).run()


@pytest.mark.parametrize("seed", range(3))
def test_without_faults_no_more_is_started_than_is_needed(seed: int) -> None:
    world = World(seed, faults=False)
    world.run()
    assert world.provider.starts <= world.wanted


def names_are_not_journaled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScalingFleet, "_keep", lambda self, node: None)


def idle_ones_are_stopped_at_once(patch: pytest.MonkeyPatch) -> None:
    def stop(self: Autoscaling, now: float) -> None:
        for node in list(self.fleet):
            if node.state == "up" and now >= node.idle_s + self.settings.idle_s:
                self.fleet._stop(node, now)

    patch.setattr(Autoscaling, "_stop_what_is_idle", stop)


def who_never_joins_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    real = ScalingFleet.due

    def due(self: ScalingFleet, kind: str, name: str, now: float) -> None:
        if kind != "scale-join":
            real(self, kind, name, now)

    patch.setattr(ScalingFleet, "due", due)
    patch.setattr(ScalingFleet, "check", lambda self: None)


def calls_are_waited_for_that_died_with_the_provider(patch: pytest.MonkeyPatch) -> None:
    real = ScalingFleet.heard

    def heard(self: ScalingFleet, message: Any, now: float) -> None:
        calling = {name for name, node in self.nodes.items() if node.calling}
        real(self, message, now)
        if isinstance(message, ProviderDown):
            for name in calling & self.nodes.keys():
                self.nodes[name].calling = True

    patch.setattr(ScalingFleet, "heard", heard)
    patch.setattr(ScalingFleet, "check", lambda self: None)


def what_is_starting_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(autoscaling, "room_of", lambda node_type: autoscaling.Room({}, {}))


def lost_ones_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScalingFleet, "_stop", lambda self, node, now: self._forget(node))


PLANTED: list[Plant] = [
    names_are_not_journaled,
    idle_ones_are_stopped_at_once,
    who_never_joins_is_waited_for,
    calls_are_waited_for_that_died_with_the_provider,
    what_is_starting_is_not_counted,
    lost_ones_are_forgotten,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(40):
        try:
            World(seed).run()
            world = World(seed, faults=False)
            world.run()
            assert world.provider.starts <= world.wanted
        except Exception:
            return
    pytest.fail("no seed has found it")
