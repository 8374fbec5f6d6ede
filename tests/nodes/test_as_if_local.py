"""Workers on another node log into this program, warn in it, have its settings, a state, and its checkpoints."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes.conftest import ON_B

pytestmark = pytest.mark.timeout(120)


def remark(number: int) -> str:
    logging.getLogger("far.away").info("number %d", number)
    warnings.warn("careful", UserWarning, stacklevel=1)
    return current_node()


def surroundings() -> tuple[str | None, str, int]:
    return os.environ.get("AS_IF_LOCAL"), os.getcwd(), sys.getrecursionlimit()


def make_state() -> str:
    return f"made on {current_node()}"


def add_one(number: int) -> int:
    return number + 1


def test_what_tasks_there_log_and_warn_of_comes_out_here(
    second_agent: JoiningAgent, make_pool: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "far"), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        pool = make_pool(2, resources=ON_B)
        assert set(pool.map(remark, range(20), chunksize=1)) == {"b"}
    texts = [record.getMessage() for record in caplog.records if record.name == "far.away"]
    assert sorted(texts) == sorted(f"number {number}" for number in range(20))
    assert [str(one.message) for one in shown] == ["careful"]


def test_surroundings_and_state(
    second_agent: JoiningAgent, make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AS_IF_LOCAL", "yes")
    monkeypatch.chdir(tmp_path)
    pool = make_pool(1, resources=ON_B, worker_state=make_state)
    assert pool.apply(surroundings) == ("yes", str(tmp_path), sys.getrecursionlimit())
    assert pool.apply(distpool.worker_state) == "made on b"


def test_a_checkpoint_is_the_programs(pool_on_b: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert pool_on_b.map(add_one, range(10), checkpoint=tmp_path / "kept") == list(range(1, 11))
    assert len(list((tmp_path / "kept").iterdir())) == 1
