"""Dask on a session of its own, which gives back all that it took."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import distpool
from distpool.scheduler import client
from tests.big import storage
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.scene import wait_until


@pytest.fixture(scope="module")
def session(own_tmpdir: str) -> Iterator[client.Session]:
    distpool.init(num_cpus=2)
    yield client.session()
    distpool.shutdown()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No object stays in the store, whatever became of the computation."""
    yield
    if "session" in request.fixturenames:

        def left() -> list[object]:
            gc.collect()
            return list(storage.lying_there())

        wait_until(lambda: not left(), "the store is empty", 5.0)
