"""A session for the tests that need processes; when the last of them is done it must leave nothing behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

import distpool
from tests.processes.conftest import SETTLE_S, _differences, _holdings
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.scene import wait_until


@pytest.fixture(scope="package")
def session(own_tmpdir: str) -> Iterator[None]:
    before = _holdings(own_tmpdir)
    distpool.init(num_cpus=4)
    yield
    distpool.shutdown()
    gc.collect()
    wait_until(
        lambda: not _differences(before, _holdings(own_tmpdir)),
        f"nothing is left of the session of {os.getpid()}",
        SETTLE_S,
    )
