"""Every test here gives back what it took: processes, descriptors, threads, shared memory, session directories.

What is compared are counts by kind, before and after, because a test may well have the session's agent replaced. The
ends of processes and sockets are seen a moment after they were asked for, so the second count may take some seconds
to come out like the first; then the difference fails the test that made it.
"""

from __future__ import annotations

import gc
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.scheduler import client
from distpool.scheduler.messages import FarDrop
from distpool.scheduler.shells import processes
from distpool.scheduler.store.store import ObjectStore
from tests.processes.scene import SOAK, check_core, session_directories, wait_until

SETTLE_S = 8.0  # above Limits.retire_grace_s: a worker with slow exit handlers is not a leak


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes; runs only with DISTPOOL_SOAK=1 (make soak)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SOAK:
        skip = pytest.mark.skip(reason="soak: set DISTPOOL_SOAK=1")
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(skip)


@pytest.fixture(scope="package", autouse=True)
def own_tmpdir() -> Iterator[str]:
    """A short temp folder of the package's own, so that nobody else's sessions are counted."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        os.environ["TMPDIR"] = folder
        client.shutdown()  # the session of other tests lies elsewhere; the one that a test has replaced would lie here
        yield folder
        client.shutdown()
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


@pytest.fixture(scope="package")
def engine(own_tmpdir: str) -> client.Session:
    """This process's session, started and warm, so that a test finds all of its descriptors there already."""
    return warm_session()


def warm_session() -> client.Session:
    """See ``engine``."""
    with Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    pool.join()
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(abs, -1).result() == 1
    session = client.session()
    reach_agent(session)
    return session


def reach_agent(session: client.Session) -> None:
    """Have the links by which objects of other nodes are had: they are dialled when first used."""
    far = session.store.far if isinstance(session.store, ObjectStore) else None
    if far is not None:
        far.link.tell(FarDrop(()))
        assert far.lost(()) == ()


@contextmanager
def pools_that_end() -> Iterator[Callable[..., Any]]:
    """What opens pools, for a fixture of other packages; they are ended behind it."""
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> Any:
            made = Pool(*args, **kwargs)
            stack.callback(made.join)
            stack.callback(made.terminate)
            return made

        yield make


@pytest.fixture(autouse=True)
def leaks(own_tmpdir: str, request: pytest.FixtureRequest) -> Iterator[None]:
    session = client._session
    if "engine" in request.fixturenames and (session is None or session._closed):
        warm_session()  # a test of another file has ended the package's
    before = _holdings(own_tmpdir)
    yield
    gc.collect()
    differences: list[str] = []

    def settled() -> bool:
        differences[:] = _differences(before, _holdings(own_tmpdir))
        return not differences

    try:
        wait_until(settled, "", SETTLE_S)
    except AssertionError:
        pytest.fail("leaked: " + "; ".join(differences), pytrace=False)
    if client._session is not None and not client._session._closed:
        check_core()


def _holdings(folder: str) -> dict[str, Counter[str]]:
    return {
        "processes": Counter(_command(pid) for pid in processes.descendants(os.getpid())),
        "descriptors": Counter(_descriptors()),
        "threads": Counter(thread.name for thread in threading.enumerate()),
        # Semaphores with names, and joblib's files, are another program's, which may run beside the tests.
        "shared memory": Counter(
            name for name in os.listdir("/dev/shm") if not name.startswith(("sem.", "joblib_"))
        ),
        "session directories": Counter("a session directory" for _ in session_directories(folder)),
    }


def _differences(before: dict[str, Counter[str]], after: dict[str, Counter[str]]) -> list[str]:
    return [f"{kind}: {dict(more)}" for kind in before if (more := after[kind] - before[kind])]


def _command(pid: int) -> str:
    """What it runs, without what differs from one life to the next: an agent is told descriptors and a directory."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            text = file.read().replace(b"\0", b" ").decode(errors="replace")
            return re.sub(r"\d+", "N", re.sub(r"/distpool-\d+-\w+", "/distpool", text))[:100]
    except OSError:
        return "ended"


def _descriptors() -> Iterator[str]:
    """What this process has open, with the numbers that differ from one life to the next taken out."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield re.sub(r"\d+", "N", os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # the descriptor of the listing itself
