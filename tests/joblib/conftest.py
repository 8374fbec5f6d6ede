"""The workers that joblib keeps between calls go with the package; a recorder in the place of bars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from distpool import joblib_workers
from tests.progress.recorder import Recorder


@pytest.fixture
def no_workers() -> Iterator[None]:
    """None of earlier calls, and none left for later ones."""
    _send_home()
    yield
    _send_home()


@pytest.fixture(scope="package", autouse=True)
def send_home_at_the_end() -> Iterator[None]:
    yield
    _send_home()


def _send_home() -> None:
    for workers in list(joblib_workers._hired):
        assert not workers.users, "a call that is over has kept its workers"
        joblib_workers._close(workers)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """What every bar of this test is."""
    recorder = Recorder()
    monkeypatch.setattr("distpool.progress.bar_for", lambda options: recorder)
    return recorder
