"""GPUs as devices: which of them a lease gets, and that none has more users than it is whole."""

from __future__ import annotations

import random

import msgspec
import pytest

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.cores.resources import add, subtract, to_units
from distpool.scheduler.messages import (
    Blocked,
    Exited,
    Fork,
    Lingers,
    Message,
    Release,
    Reserve,
    Reserved,
    Strategy,
)

from .test_node import KILLED, LIMITS, Node


def free(**shares: float) -> dict[str, int]:
    return {name: round(share * 10_000) for name, share in shares.items()}


@pytest.mark.parametrize(
    ("need", "there", "picked"),
    [
        (0.0, free(a=1.0), {}),
        (1.0, free(a=0.5, b=1.0), free(b=1.0)),
        (2.0, free(a=1.0, b=1.0), free(a=1.0, b=1.0)),
        (0.5, free(a=1.0, b=0.5), free(b=0.5)),  # whole ones stay whole
        (0.3, free(a=0.5, b=0.3, c=0.2), free(b=0.3)),
        (1.5, free(a=0.5, b=1.0), free(a=0.5, b=1.0)),
        (1.0, free(a=0.5, b=0.5), None),  # enough in all, but not of one
        (0.6, free(a=0.5, b=0.5), None),
        (1.5, free(a=1.0, b=0.4), None),
        (2.0, free(a=1.0, b=0.9), None),
    ],
)
def test_which_devices(need: float, there: dict[str, int], picked: dict[str, int] | None) -> None:
    assert devices.pick(to_units({"GPU": need}), there) == picked


def test_devices_have_the_names_that_there_are_or_numbers() -> None:
    assert devices.all_of(to_units({"GPU": 2}), ["5", "7", "9"]) == free(**{"5": 1.0, "7": 1.0})
    assert devices.all_of(to_units({"GPU": 2}), ["5"]) == free(**{"0": 1.0, "1": 1.0})
    assert devices.all_of(to_units({"GPU": 1.5}), []) == free(**{"0": 1.0, "1": 0.5})
    assert devices.all_of({}, ["5"]) == {}


def test_whatever_is_picked_and_given_back_fits() -> None:
    chance = random.Random(1)
    whole = devices.all_of(to_units({"GPU": 4}), [])
    left, held = dict(whole), []
    for _ in range(2000):
        need = to_units({"GPU": chance.choice((0.1, 0.25, 0.5, 0.5, 1, 1.5, 2))})
        picked = devices.pick(need, left)
        if picked is None:
            if held:
                add(left, held.pop(chance.randrange(len(held))))
            continue
        assert sum(picked.values()) == sum(need.values())
        subtract(left, picked)  # asserts that it is there
        held.append(picked)
    for picked in held:
        add(left, picked)
    assert left == whole


class Gpus(Node):
    def __init__(self, count: float, names: tuple[str, ...] = (), cpus: float = 8.0) -> None:
        super().__init__()
        self.core = NodeCore("n", "host", 1, "ipc://n", {"CPU": cpus, "GPU": count}, LIMITS, gpus=names)
        self.hello()

    def visible(self, out: list[tuple[str, Message]]) -> list[tuple[str, ...] | None]:
        return [m.attach.gpus for _, m in out if isinstance(m, Fork) and m.attach is not None]

    def lease(
        self, gpus: float, count: int = 1, pool: int = 1, **more: object
    ) -> list[tuple[str, ...] | None]:
        resources = {"GPU": gpus} if gpus else {"CPU": 1.0}
        return self.visible(self.want(count, pool, resources=resources, **more))


def test_each_lease_has_devices_of_its_own() -> None:
    node = Gpus(4, ("a", "b", "c", "d"))
    assert node.lease(2) == [("a", "b")]
    assert node.lease(1, 3, pool=2) == [("c",), ("d",)]


def test_shares_of_one_device() -> None:
    node = Gpus(2)
    assert node.lease(0.5, 2) == [("0",), ("0",)]
    assert node.lease(1, pool=2) == [("1",)]
    assert node.lease(0.5, pool=3) == []


def test_a_lease_without_gpus_has_none_of_those_that_there_are() -> None:
    assert Gpus(1).lease(0) == [()]


def test_where_there_are_none_nothing_is_said_of_them() -> None:
    node = Node()
    node.hello()
    (fork,) = [m for _, m in node.want(1) if isinstance(m, Fork)]
    assert fork.attach is not None
    assert fork.attach.gpus is None


def test_a_device_is_given_back_when_its_worker_is_reaped() -> None:
    node = Gpus(1)
    node.lease(1, 1)
    assert node.lease(1, 1, pool=2) == []
    node.want(0, 1, resources={"GPU": 1})
    assert node.visible(node.tell("nursery", Exited(1, KILLED))) == [("0",)]


def test_parts_that_do_not_make_a_whole_wait_and_are_kept_for_who_waits() -> None:
    node = Gpus(2)
    node.lease(0.75, 2, dedicated=False)  # a part of each is left
    assert node.lease(0.5, pool=2) == []
    assert node.lease(0.25, pool=3) == []  # it would fit, but not for ever
    node.want(1, 1, resources={"GPU": 0.75}, dedicated=False)
    assert node.visible(node.tell("nursery", Exited(1, KILLED))) != []


def test_what_cannot_come_while_actors_live_is_not_kept_for_who_waits() -> None:
    node = Gpus(2)
    node.lease(0.75, 2)
    assert node.lease(0.5, pool=2) == []
    assert node.lease(0.25, pool=3) == [("0",)]
    node.want(1, 1, resources={"GPU": 0.75})
    assert node.visible(node.tell("nursery", Exited(1, KILLED))) == [("0",)], "it had not been forgotten"


def test_nor_is_a_cpu() -> None:
    node = Gpus(0, cpus=5.0)
    two = {"CPU": 2.0}
    for pool in (1, 2):
        assert node.visible(node.want(1, pool, resources=two)) != []
    assert node.visible(node.want(1, 3, resources=two)) == []
    assert node.lease(0, pool=4, dedicated=False) != [], "the fifth is a task's meanwhile"


def test_a_task_that_waits_keeps_its_gpu_and_lends_the_rest() -> None:
    node = Gpus(1, cpus=1.0)
    node.want(1, resources={"CPU": 1.0, "GPU": 1.0})
    node.start(1)
    node.tell("owner:o", Blocked("n.1.1", True))
    assert node.lease(1, pool=2) == []
    assert node.lease(0, pool=3) == [()]
    assert node.core.free == {"CPU": 0, "GPU": 0}


def test_a_worker_that_lingers_keeps_its_gpu() -> None:
    node = Gpus(1)
    node.want(1, resources={"CPU": 1.0, "GPU": 1.0})
    node.start(1)
    node.hello("w", node="n", worker=1)
    node.tell("owner:w", Lingers())
    assert node.core.free == {"CPU": 80_000, "GPU": 0}
    assert node.visible(node.tell("nursery", Exited(1, KILLED))) == [("0",)]  # the level stands


def group(index: int = -1) -> Strategy:
    return Strategy("group", group="g", bundle=index)


def test_a_bundle_has_devices_of_its_own() -> None:
    node = Gpus(3)
    node.tell("head", Reserve("g", 1, {0: {"GPU": 1.0}, 1: {"GPU": 0.5}}))
    assert node.lease(1, 2) == [("2",)]
    assert node.lease(0.5, 3, pool=2, strategy=group()) == [("0",), ("0",), ("1",)]
    node.tell("head", Release("g", (0, 1), "it was removed"))
    for worker in (1, 2, 3, 4):
        node.tell("nursery", Exited(worker, KILLED))


def test_a_bundle_with_a_device_is_left_to_who_asks_for_one() -> None:
    node = Gpus(1)
    node.tell("head", Reserve("g", 1, {0: {"CPU": 1.0, "GPU": 1.0}, 1: {"CPU": 1.0}}))
    assert node.lease(0, strategy=group()) == [()]
    both = {"CPU": 1.0, "GPU": 1.0}
    assert node.visible(node.want(1, 2, resources=both, strategy=group())) == [("0",)]


def test_a_bundle_that_would_need_parts_of_several_devices_is_not_reserved() -> None:
    node = Gpus(2)
    node.lease(0.75, 2)
    out = node.core.receive("head", Reserve("g", 1, {0: {"GPU": 0.5}}), 0.0)
    node.core.check()
    assert ("head", Reserved("g", 1, False, {"CPU": 8.0, "GPU": 0.0})) in out


@pytest.mark.parametrize("seed", range(20))
def test_by_chance_no_device_is_oversubscribed(seed: int) -> None:
    """``check`` runs after each step."""
    chance = random.Random(seed)
    node = Gpus(chance.choice((1, 2, 3)), cpus=4.0)
    node.core.limits = msgspec.structs.replace(LIMITS, workers_max=64)
    for step in range(300):
        number = chance.randint(1, 6)
        if chance.random() < 0.5:
            need = {"GPU": (0.25, 0.5, 1.0, 1.5, 2.0, 0.0)[number - 1], "CPU": 0.1}
            strategy = group() if number == 6 else Strategy()
            node.want(chance.randint(0, 3), number, resources=need, strategy=strategy)
        elif node.core.workers and chance.random() < 0.7:
            worker = chance.choice(list(node.core.workers))
            if chance.random() < 0.3:
                node.tell("owner:o", Blocked(f"n.1.{worker}", chance.random() < 0.5))
            else:
                node.tell("nursery", Exited(worker, KILLED))
        elif "g" in node.core.groups.pots:
            node.tell("head", Release("g", (0, 1), "removed"))
        else:
            node.tell("head", Reserve("g", step, {0: {"GPU": 0.5}, 1: {"GPU": 1.0}}))


def test_who_waits_for_a_device_keeps_nothing_else_from_others() -> None:
    """A task that has the device may be waiting for just those others."""
    node = Gpus(1, cpus=1.0)
    node.want(1, resources={"CPU": 0.5, "GPU": 1.0})
    node.start(1)
    node.tell("owner:o", Blocked("n.1.1", True))
    node.want(1, 2, resources={"CPU": 0.5, "GPU": 1.0})
    node.want(1, 3, resources={"CPU": 0.5, "GPU": 0.5})
    assert node.lease(0, pool=4) == [()]


def test_who_waits_for_a_cpu_keeps_a_device_from_others() -> None:
    node = Gpus(1, cpus=1.0)
    node.want(1, resources={"CPU": 1.0}, dedicated=False)
    node.want(1, 2, resources={"CPU": 1.0, "GPU": 1.0})
    assert node.lease(1, pool=3) == []
    node.want(0, resources={"CPU": 1.0}, dedicated=False)
    assert node.visible(node.tell("nursery", Exited(1, KILLED))) == [("0",)]
