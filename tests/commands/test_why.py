"""``distpool why``: the reason, in words, with the numbers."""

from __future__ import annotations

from pathlib import Path

import distpool
from distpool.util.placement_group import placement_group, remove_placement_group
from tests.commands import bodies
from tests.commands.conftest import Say
from tests.processes.scene import wait_until


def becomes(say: Say, name: str, words: str) -> str:
    """The answer, once these words are in it."""
    wait_until(lambda: words in say("why", name)[1], f"{words!r} in: {say('why', name)}")
    return say("why", name)[1]


def test_arguments_and_what_those_wait_for(say: Say, tmp_path: Path) -> None:
    first = bodies.remote_after.options(name="first").remote(tmp_path / "go", 1)
    second = bodies.use.options(name="second").remote(first)
    text = becomes(say, "second", "task `first`")
    text = becomes(say, second.hex(), "runs on worker")
    head, *rest = text.splitlines()
    assert head.startswith(f"task `second` ({second.task_id()}) waits for its arguments: `first`")
    assert rest[0].startswith(f"  task `first` ({first.task_id()}) runs on worker"), text
    (tmp_path / "go").touch()
    assert distpool.get(second, timeout=60) == 1
    assert (
        becomes(say, second.hex(), "has ended well") == f"task `second` ({second.task_id()}) has ended well\n"
    )


def test_what_others_have(say: Say, tmp_path: Path) -> None:
    ref = bodies.remote_after.options(name="holder").remote(tmp_path / "go", 1)
    becomes(say, "holder", "runs on worker")
    more = bodies.asks_for_two.remote()
    text = becomes(say, more.hex(), "is free")
    assert "waits for a worker, and is the next" in text
    assert "each with CPU 2; of CPU 2 there, CPU 1 is free" in text
    assert "CPU 1 is with worker" in text
    assert "has run `holder` for" in text
    (tmp_path / "go").touch()
    assert distpool.get([ref, more], timeout=60) == [1, 2]


def test_a_call_of_a_call_that_can_never_have_it_while_the_first_has_it(say: Say, tmp_path: Path) -> None:
    holder = bodies.Waiter.options(num_cpus=1, name="has one").remote()
    distpool.get(holder.pid.remote(), timeout=60)
    ref = bodies.calls_another.remote(tmp_path / "go")
    text = becomes(say, "calls_another", "is free")
    assert "it waits for calls of its own, and has lent its CPU 1 meanwhile" in text
    assert "is with worker" in text
    assert "is an actor" in text
    (tmp_path / "go").touch()
    del holder
    assert distpool.get(ref, timeout=60) == 1


def test_the_turn_of_an_actors_call(say: Say, tmp_path: Path) -> None:
    actor = bodies.Waiter.remote()
    first = actor.after.remote(tmp_path / "go", 1)
    behind = [actor.after.options(name="behind").remote(tmp_path / "go", number) for number in range(30)]
    text = becomes(say, behind[-1].hex(), "`Waiter.after` runs there")
    assert "behind" in text
    assert "has run `Waiter.after" in becomes(say, "Waiter", "the actor is on worker")
    (tmp_path / "go").touch()
    distpool.get([first, *behind], timeout=60)


def test_an_actor_whose_constructor_takes_long(say: Say, tmp_path: Path) -> None:
    actor = bodies.Waiter.options(name="slow to come").remote(tmp_path / "go")
    ref = actor.pid.remote()
    text = becomes(say, ref.hex(), "still runs the constructor")
    assert "waits for a worker" in text
    assert "the actor is not up" in becomes(say, actor._actor_id.hex(), "the actor is not up")
    (tmp_path / "go").touch()
    distpool.get(ref, timeout=60)


def test_a_pool_all_of_whose_workers_are_busy(say: Say, tmp_path: Path) -> None:
    with distpool.Pool(2) as pool:
        result = pool.starmap_async(bodies.after, [(tmp_path / "go", n) for n in range(8)], 1)
        text = becomes(say, "after", "2 of the 2 workers that are ready have work")
        assert "the pool has 2, and gets no more" in text
        assert "and " in text
        assert "more of that name" in text
        assert "a pool of 2: " in say("why")[1]
        (tmp_path / "go").touch()
        assert result.get(60) == list(range(8))


def test_a_placement_group_that_has_no_place(say: Say) -> None:
    group = placement_group([{"CPU": 2}, {"CPU": 2}], name="too big")
    ref = bodies.use.options(
        scheduling_strategy=distpool.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group)
    ).remote(1)
    text = becomes(say, "too big", "is pending")
    assert "its bundles (PACK): CPU 2 nowhere, CPU 2 nowhere" in text
    assert "placement group too big is pending" in becomes(say, ref.hex(), "placement group too big")
    assert "placement group too big is pending" in say("why")[1]
    remove_placement_group(group)
    distpool.wait([ref], timeout=60)


def test_nothing_waits_and_nobody_knows(say: Say) -> None:
    wait_until(lambda: say("why")[1] == "Nothing waits.\n", "nothing is left of other tests")
    status, text, complaint = say("why", "no such task")
    assert (status, text) == (1, "")
    assert complaint == (
        "distpool why: nobody knows of 'no such task': it has ended some time ago, or was never made\n"
    )
