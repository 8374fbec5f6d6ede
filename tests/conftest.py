"""What all tests share: the order in which several processes take them (``pytest -n 3 --dist loadfile``).

A file is never divided: what its tests share is made once, and they run in the order in which they are written. Whoever
has finished one takes the next. So the files that take long must come first: else the last of them is begun when
everybody else has finished. Without ``-n`` nothing is changed.

    process 1   ████████████ simulation ████████████  ▒ run ▒  shells
    process 2   ██ big/kinds ██  ░ store ░░░░░░░░░░░  processes ...
    process 3   ██ nodes/deaths ██  ▒ doors ▒▒▒▒  ...
"""

from __future__ import annotations

import gc

import pytest

#: The longest, by their length; the others follow by their names, and are short enough for that.
LONGEST_FIRST = (
    "tests/simulation/test_simulation.py",
    "tests/store/test_simulation.py",
    "tests/big/test_kinds.py",
    "tests/nodes/test_deaths.py",
    "tests/cluster/test_three_hosts.py",
    "tests/ssh/test_up.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # Such a process has a thread of the test runner's: from Python 3.12 on, each fork in it would be warned of.
        config.addinivalue_line(
            "filterwarnings", "ignore:This process .* is multi-threaded:DeprecationWarning"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"each process gives this test another name: name its parameters: {item.nodeid}"
            )
    if hasattr(config, "workerinput"):
        last = len(LONGEST_FIRST)
        place = {name: number for number, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], last))


def pytest_collection_finish() -> None:
    """What is there now stays; tests that collect garbage, as many do, need not look through all of it each time."""
    gc.collect()
    gc.freeze()
