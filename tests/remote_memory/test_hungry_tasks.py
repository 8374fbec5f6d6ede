"""A task that eats memory is ended before its node is, says so in numbers, and is repeated after a pause."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.scene import run

pytestmark = pytest.mark.timeout(120)


def program(name: str, log: Path) -> str:
    code = """
import runpy, sys
sys.argv = ["x", *sys.argv[1:]]
runpy.run_module("tests.remote_memory.programs", run_name="__main__")
"""
    return run(
        code,
        name,
        str(log),
        within_s=90,
        env={"DISTPOOL_MEMORY_LIMIT": "300M", "DISTPOOL_STORE_MEMORY": "64M"},
    )


def test_it_fails_with_the_numbers_when_its_retries_are_spent(tmp_path: Path) -> None:
    text = program("fails", tmp_path / "log")
    assert "running out of memory" in text
    assert "of 300 MiB were left, and this worker had taken" in text
    assert "it had asked for none: memory= says how much it needs" in text
    assert "attempts 3 pauses True" in text
    assert "others 20" in text


def test_it_is_repeated(tmp_path: Path) -> None:
    assert program("comes_back", tmp_path / "log") == "done\n"


def test_an_actor_dies_of_it_and_says_so(tmp_path: Path) -> None:
    assert "running out of memory" in program("actor", tmp_path / "log")
