"""A pool for each test that wants one, and a bar that remembers."""

import pytest

from distpool.pool import Pool
from tests.progress.recorder import Recorder


@pytest.fixture
def recorder(monkeypatch):
    """What every bar of this test is."""
    recorder = Recorder()
    monkeypatch.setattr("distpool.progress.bar_for", lambda options: recorder)
    return recorder


@pytest.fixture(scope="module")
def shared_pool():
    with Pool(2) as pool:
        yield pool


@pytest.fixture
def pool(shared_pool, recorder):
    """Two workers, whose progress the recorder sees."""
    return shared_pool
