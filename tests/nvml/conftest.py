"""GPUs for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .ground import Driver


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    """No GPU yet: ``say`` which there are."""
    return Driver(tmp_path)
