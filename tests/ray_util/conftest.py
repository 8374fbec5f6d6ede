"""A session for the tests that need processes; when the last of them is done it must leave nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import distpool
from distpool.scheduler import client
from tests.processes.conftest import SETTLE_S, _differences, _holdings
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.scene import wait_until

CPUS = 4


@pytest.fixture(scope="module")
def session(own_tmpdir: str) -> Iterator[None]:
    client.shutdown()  # of tests of other packages, in this process
    gc.collect()
    before = _holdings(own_tmpdir)
    distpool.init(num_cpus=CPUS)
    yield
    distpool.shutdown()
    gc.collect()
    try:
        wait_until(lambda: not _differences(before, _holdings(own_tmpdir)), "nothing is left", SETTLE_S)
    except AssertionError:
        raise AssertionError(f"left: {_differences(before, _holdings(own_tmpdir))}") from None
