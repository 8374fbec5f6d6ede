"""Forks in the middle of it: whoever has an array mapped when it forks shares it with its child, and both go on."""

from __future__ import annotations

import pytest

from tests.big.programs import MB, heard, run


@pytest.mark.parametrize("size", [100_000, 5 * MB + 3])
def test_a_driver_forks(size: int) -> None:
    assert heard(run("forked_driver", size))["done"]


def test_a_child_keeps_what_its_parent_lets_go() -> None:
    assert heard(run("forks_that_stay", 5 * MB))["done"]


def test_a_task_forks() -> None:
    assert heard(run("forked_worker", 5 * MB))["done"]


def test_a_worker_dies_whose_task_has_forked() -> None:
    assert heard(run("forked_worker_that_dies", 5 * MB))["done"]
