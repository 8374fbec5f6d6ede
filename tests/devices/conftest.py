"""Devices for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """Two devices of 256 MiB, of which programs see the first."""
    made = Ground(tmp_path)
    yield made
    made.check()
