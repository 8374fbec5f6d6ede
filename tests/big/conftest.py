"""Every test here gives back what it took, of the store too: no object outlives the test that made it."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.scheduler import client
from tests.big import bodies, storage
from tests.processes.bodies import meet
from tests.processes.conftest import engine as engine
from tests.processes.conftest import leaks as leaks
from tests.processes.conftest import pools_that_end

STORE_MEMORY = "1GB"


@pytest.fixture(scope="package", autouse=True)
def own_tmpdir() -> Iterator[str]:
    """Folders of the package's own for temporary files and for the spill file, and a store of a known size."""
    client.shutdown()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder,
    ):
        spill_directory = Path(folder, "spill")
        spill_directory.mkdir()
        patch.setenv("TMPDIR", folder)
        patch.setenv("DISTPOOL_SPILL_DIR", str(spill_directory))
        patch.setenv("DISTPOOL_STORE_MEMORY", STORE_MEMORY)
        yield folder
        client.shutdown()


@pytest.fixture(autouse=True)
def no_name(own_tmpdir: str) -> Iterator[None]:
    """The spill file never has one. (That nothing is left in /dev/shm, ``leaks`` sees.)"""
    yield
    assert os.listdir(os.environ["DISTPOOL_SPILL_DIR"]) == []


@pytest.fixture(scope="package")
def _warm(engine: client.Session) -> None:
    """What the store opens once, at the first use of each of its parts, is open before anything is counted."""
    reference = distpool.put(bodies.pattern(1, 1 << 20))
    for _ in range(3):
        assert bodies.is_pattern(distpool.get(reference), 1)


@pytest.fixture
def session(engine: client.Session, _warm: None) -> Iterator[client.Session]:
    """This process's session, in whose store nothing may be left by the test."""
    before = storage.numbers()
    yield engine
    gc.collect()
    storage.wait_empty(but=before)


@pytest.fixture
def make_pool(session: client.Session) -> Iterator[Callable[..., Any]]:
    """Opens pools that are ended with the test."""
    with pools_that_end() as make:
        yield make


@pytest.fixture
def make_executor(session: client.Session) -> Iterator[Callable[..., Any]]:
    """Opens executors that are shut down with the test."""
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> Any:
            made = ProcessPoolExecutor(*args, **kwargs)
            stack.callback(made.shutdown)
            return made

        yield make


@pytest.fixture(scope="module")
def _two(engine: client.Session) -> Iterator[Any]:
    with Pool(2) as pool, tempfile.TemporaryDirectory() as folder:
        assert pool.starmap(meet, [(folder, name, 2) for name in "ab"], 1) == [True, True]
        yield pool
    pool.join()


@pytest.fixture(scope="module")
def _one(engine: client.Session) -> Iterator[Any]:
    with Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
        yield pool
    pool.join()


@pytest.fixture(scope="module")
def _executor(engine: client.Session) -> Iterator[Any]:
    with ProcessPoolExecutor(2) as executor, tempfile.TemporaryDirectory() as folder:
        both = [executor.submit(meet, folder, name, 2) for name in "ab"]
        assert [future.result() for future in both] == [True, True]
        del both
        yield executor


@pytest.fixture
def two(_two: Any, session: client.Session) -> Any:
    """A pool of two workers that the tests of a module share."""
    return _two


@pytest.fixture
def one(_one: Any, session: client.Session) -> Any:
    """A pool of one worker that the tests of a module share, for what is expensive to import."""
    return _one


@pytest.fixture
def executor(_executor: Any, session: client.Session) -> Any:
    """An executor of two workers that the tests of a module share."""
    return _executor
