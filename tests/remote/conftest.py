"""A session of remote calls for the whole package.

Each test gives back what it took of objects and references; the session, when it ends, its processes, descriptors and
shared memory. (Its workers stay for a while, and links to them as long as they do.)
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import distpool
from compat_tests.ray.waiting import Gate
from distpool.scheduler import client
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.here import here
from tests.big import storage
from tests.processes.conftest import _differences, _holdings
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.scene import wait_until

CPUS = 4
#: Workers go when nothing has been called for a moment, and what was lent is claimed back.
BACK_S = 10.0


@pytest.fixture(scope="package")
def session(own_tmpdir: str) -> Iterator[client.Session]:
    before = _holdings(own_tmpdir)
    distpool.init(num_cpus=CPUS)
    yield client.session()
    distpool.shutdown()
    gc.collect()
    wait_until(lambda: not _differences(before, _holdings(own_tmpdir)), "all is given back", BACK_S)


@pytest.fixture(autouse=True)
def nothing_left(session: client.Session) -> Iterator[None]:
    """No object in the store, no reference known, no subscription: not here, and not by any worker."""
    yield
    gc.collect()

    def left() -> list[object]:
        gc.collect()
        following = here().following
        return [
            *storage.lying_there(),
            *following._asked,
            *following._handed,
            *following._serving._waiting,
            *following._early,
            *[ref for ref in refs.borrowed() if not ref.is_actor],
            *here().waiting,
        ]

    try:
        wait_until(lambda: not left(), "", BACK_S)
    except AssertionError:
        pytest.fail(f"left: {left()[:5]}", pytrace=False)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate. It opens at the end, so that nothing waits for ever."""
    gate = Gate(str(tmp_path / "gate"))
    yield gate
    gate.open()
