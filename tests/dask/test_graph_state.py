"""The state of a graph by itself: random graphs, random completions, failures and losses; and its stories by value."""

from __future__ import annotations

import collections
import itertools
import operator
import random

import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from hypothesis import given, settings
from hypothesis import strategies as st

from distpool.dask.chains import find_chains
from distpool.dask.graph import Graph, State
from distpool.dask.takers import Part, find_takers, is_in_memory, part_of


def random_graph(count: int, chance: random.Random) -> tuple[list[list[int]], list[int]]:
    """Inputs of so many tasks, in any order of running, and those that are wanted."""
    order = list(range(count))  # who comes before whom, apart from the numbers
    chance.shuffle(order)
    inputs: list[list[int]] = [[] for _ in range(count)]
    for place, task in enumerate(order):
        inputs[task] = chance.sample(order[:place], min(place, chance.randrange(4)))
    used = {needed for each in inputs for needed in each}
    wanted = [task for task in range(count) if task not in used]
    return inputs, wanted + chance.choices(range(count), k=chance.randrange(3))


graphs = given(st.integers(1, 25), st.integers(0, 2**32).map(random.Random))


@settings(max_examples=200, deadline=None)
@graphs
def test_whatever_fails_and_is_lost_all_that_is_wanted_is_held_at_the_end(count, chance):
    inputs, wanted = random_graph(count, chance)
    state = Graph(inputs, wanted)
    values: dict[int, int] = {}  # what a scheduler holds: how many tasks there are below, as a value
    running: list[int] = []
    faults = 10

    def settle(task: int) -> None:
        values[task] = 1 + sum(values[needed] for needed in inputs[task])
        for freed in state.finish(task):
            del values[freed]

    state.check()
    while state.unfinished:
        what = chance.choice(["take", "finish", "fail", "lose"])
        if what == "take" or not running:
            task = state.take()
            if task is not None:
                assert all(needed in values for needed in inputs[task])
                running.append(task)
            else:
                assert running
        elif what == "finish":
            task = running.pop(chance.randrange(len(running)))
            if all(needed in values for needed in inputs[task]):
                settle(task)
            else:  # an input was lost under it
                state.put_back(task)
        elif faults and what == "fail":
            faults -= 1
            state.put_back(running.pop())
        elif faults and values:
            faults -= 1
            lost = chance.choice(sorted(values))
            again = state.lose(lost)
            assert lost in again
            for gone in again:
                values.pop(gone, None)
        state.check()
        assert not state.is_stuck
        assert set(values) == {task for task, each in enumerate(state.state) if each is State.HELD}
    assert set(values) == set(wanted)


@settings(max_examples=100, deadline=None)
@graphs
def test_chains_hold_each_task_once_and_only_followers_of_one_another(count, chance):
    inputs, wanted = random_graph(count, chance)
    keep = set(wanted)
    groups = find_chains(inputs, lambda before, _after: before not in keep)
    assert sorted(task for group in groups for task in group) == list(range(len(inputs)))
    uses = [sum(task in needed for needed in inputs) for task in range(len(inputs))]
    for group in groups:
        for before, after in itertools.pairwise(group):
            assert inputs[after] == [before]
            assert uses[before] == 1
            assert before not in keep


def test_a_value_is_freed_when_its_last_user_has_finished_and_not_before():
    graph = Graph([[], [0], [0], [1, 2]], wanted=[3])
    assert graph.take() == 0
    assert graph.take() is None
    assert graph.finish(0) == []
    assert (graph.take(), graph.take()) == (1, 2)
    assert graph.finish(2) == []
    assert graph.finish(1) == [0]
    assert graph.take() == 3
    assert graph.finish(3) == [1, 2]
    assert graph.unfinished == 0
    assert graph.state == [State.FREED, State.FREED, State.FREED, State.HELD]


def test_the_first_in_order_runs_first_so_that_a_branch_is_done_before_the_next_begins():
    graph = Graph([[], [0], [], [2], [1, 3]], wanted=[4])
    graph.finish(graph.take())
    assert graph.take() == 1  # and not 2, which was ready before it


def test_what_was_freed_is_made_again_if_what_it_is_needed_for_is_lost():
    graph = Graph([[], [0], [1], []], wanted=[2])
    graph.wanted = frozenset([2, 3])
    graph.finish(graph.take())
    assert graph.finish(graph.take()) == [0]
    assert graph.take() == 2
    assert sorted(graph.lose(1)) == [0, 1]
    graph.check()
    graph.put_back(2)  # it could not read its input
    graph.check()
    assert graph.take() == 0
    graph.finish(0)
    assert graph.take() == 1
    assert graph.finish(1) == [0]
    assert graph.take() == 2
    assert graph.finish(2) == [1]


def test_a_loss_of_what_nobody_needs_changes_nothing():
    graph = Graph([[], [0]], wanted=[1])
    graph.finish(graph.take())
    graph.finish(graph.take())
    assert graph.lose(0) == []
    graph.check()


def test_a_cycle_is_stuck():
    assert Graph([[1], [0]], wanted=[1]).is_stuck
    graph = Graph([[], [0, 2], [1]], wanted=[2])
    assert not graph.is_stuck
    graph.finish(graph.take())
    assert graph.is_stuck


@pytest.mark.parametrize(
    ("inputs", "groups"),
    [
        ([[], [0], [1]], [(0, 1, 2)]),
        ([[], [0], [0], [1, 2]], [(0,), (1,), (2,), (3,)]),
        ([[], [0], [1, 3], []], [(0, 1), (2,), (3,)]),
        ([[1], [], [0]], [(1, 0, 2)]),
    ],
)
def test_chains(inputs, groups):
    assert find_chains(inputs, lambda _before, _after: True) == groups


@settings(max_examples=200, deadline=None)
@graphs
def test_what_is_taken_apart_has_no_other_user_and_is_no_part_itself(count, chance):
    inputs, wanted = random_graph(count, chance)
    parts = [
        Part(chance.randrange(3)) if len(needed) == 1 and chance.random() < 0.8 else None for needed in inputs
    ]
    found = find_takers(inputs, parts, lambda whole, _taker: whole not in wanted)
    takers = set().union(*[apart.places for apart in found.values()])
    for whole in range(count):
        users = [task for task in range(count) if whole in inputs[task]]
        fits = whole not in wanted and len(users) >= 2 and all(parts[user] is not None for user in users)
        if whole not in found:
            assert not fits or whole in takers
            continue
        assert fits
        assert whole not in takers
        assert list(found[whole].places) == users
        assert [Part(found[whole].items[place]) for place in found[whole].places.values()] == [
            parts[user] for user in users
        ]
        assert len(set(found[whole].items)) == len(found[whole].items)


HALVES = [(slice(0, 5), slice(None)), (slice(5, 9), slice(None))]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["a", "b", "a"], ("a", "b")),
        ([0, 1, "0", None], (0, 1, "0", None)),
        (HALVES, tuple(HALVES)),
        ([HALVES[1], HALVES[1], HALVES[0]], (HALVES[1], HALVES[0])),
        ([slice(None)] * 3, (slice(None),)),
        ([slice(0, 9, 2), slice(1, 9, 2)], (slice(0, 9, 2), slice(1, 9, 2))),
        ([(..., 0), (..., 1)], ((..., 0), (..., 1))),
        ([(i, slice(2 * j, 2 * j + 2)) for i in (0, 1) for j in (0, 1)], "all"),
        ([slice(0, 5), slice(4, 9)], None),
        ([slice(0, 5), slice(1, 6), slice(2, 7)], None),
        ([slice(None, 5), slice(5, None)], None),  # as long as what? it may be empty, or nearly all
        ([slice(-5, -1), slice(0, 2)], None),
        ([slice(9, 0, -1), slice(0, 2)], None),
        ([(slice(0, 2), slice(None)), slice(2, 4)], None),
        ([(slice(0, 2), slice(None)), (slice(2, 4), slice(0, 3))], None),
    ],
)
def test_parts_are_no_more_than_the_whole(items, expected):
    parts = [None, *map(Part, items)]
    found = find_takers([[], *[[0]] * len(items)], parts, lambda _whole, _taker: True)
    assert (found[0].items if found else None) == (tuple(items) if expected == "all" else expected)


class _Reads(dict):
    """What is asked for is read from somewhere."""

    def __getitem__(self, name):
        raise NotImplementedError


class _Makes(dict):
    """What is asked for is made, if there is no such thing yet."""

    def __missing__(self, name):
        raise NotImplementedError


class _Named(dict):
    """Only another name."""


Pair = collections.namedtuple("Pair", "one two")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, True),
        ([], True),
        (Pair(1, 2), True),
        (_Named(), True),
        (collections.defaultdict(int), True),
        (np.ones(3), True),
        (np.ma.ones(3), False),
        (pd.DataFrame({"a": [1]}), True),
        (pd.Series([1]), True),
        (5, True),
        (_Reads(), False),
        (_Makes(), False),
    ],
)
def test_what_is_taken_from_memory(value, expected):
    assert is_in_memory(value) is expected


@pytest.mark.parametrize("item", [0, "a", (0, slice(2, 4), None, ...), DataNode(None, 3)])
def test_what_is_taken_by_name(item):
    part = part_of(Task("taker", operator.getitem, TaskRef("whole"), item))
    assert part is not None
    assert part_of(Task("taker", operator.getitem, Alias("whole"), item)) == part  # as in graphs of tuples
    assert part.item == (item.value if isinstance(item, DataNode) else item)


@pytest.mark.parametrize(
    "task",
    [
        Task("key", operator.getitem, TaskRef("whole"), TaskRef("name")),
        Task("key", operator.getitem, TaskRef("whole"), List(0, TaskRef("name"))),
        Task("key", operator.getitem, TaskRef("whole"), DataNode(None, [0, 2])),
        Task("key", operator.getitem, TaskRef("whole"), slice(0, np.int64(3))),
        Task("key", operator.getitem, {"a": 1}, "a"),
        Task("key", operator.add, TaskRef("whole"), 1),
        DataNode("key", 1),
    ],
)
def test_what_takes_nothing_or_chooses(task):
    assert part_of(task) is None
