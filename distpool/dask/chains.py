"""Tasks that can only ever run one after the other, found in a graph: pure.

::

    a ──► b ──► c ──► d        b, c: one input, which nothing else uses    ─►  (a b c), d
                ▲
    e ──────────┘

Run in one call, such a chain loses no parallelism, and what lies between its tasks is handed on inside of one process
instead of through the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["find_chains"]


def find_chains(
    inputs: Sequence[Sequence[int]], may_join: Callable[[int, int], bool]
) -> list[tuple[int, ...]]:
    """The tasks in groups, each in the order of running: by their first tasks' numbers.

    Args:
        inputs: for each task the tasks that it needs.
        may_join: whether a task and its only user, both given, may run in one call.
    """
    uses = [0] * len(inputs)
    for needed in inputs:
        for dependency in needed:
            uses[dependency] += 1
    following: dict[int, int] = {}
    for task, needed in enumerate(inputs):
        if len(needed) == 1 and uses[needed[0]] == 1 and needed[0] != task and may_join(needed[0], task):
            following[needed[0]] = task
    if not following:
        return [(task,) for task in range(len(inputs))]
    behind = set(following.values())
    groups = []
    for task in range(len(inputs)):
        if task in behind:
            continue
        chain = [task]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        groups.append(tuple(chain))
    return groups
