"""Folders of a session and of a cache, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from distpool import runtime_env_cache
from tests.runtime_env.workers import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A session's directory, a cache, and a folder for what a test makes."""
    place = Place(tmp_path)
    monkeypatch.setenv("DISTPOOL_CACHE_DIR", str(place.cache))
    before = set(os.listdir("/proc/self/fd"))
    yield place
    runtime_env_cache.release_all()
    place.end()
    assert set(os.listdir("/proc/self/fd")) - before == set()
