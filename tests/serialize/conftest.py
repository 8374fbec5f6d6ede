from __future__ import annotations

import gc
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distpool.scheduler.serialize import byvalue, stored, units, use
from tests.serialize.directory_store import DirectoryStore
from tests.serialize.other_process import Worker

STORED_BYTES_MIN = 64 << 10


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Make this process's ``__main__`` from source text, as if it were a script that has just run."""

    def run(source: str) -> ModuleType:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(source))
        module = ModuleType("__main__")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(compile(file.read_text(), str(file), "exec", dont_inherit=True), module.__dict__)
        return module

    return run


@pytest.fixture
def worker(shared_worker: Worker, main: Any) -> Worker:
    """The module's worker process, with a fresh and empty ``__main__``."""
    main("")
    shared_worker.start()
    return shared_worker


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectoryStore]:
    """This process's store, which must be empty once the test's own names are gone, without the garbage collector.

    What is big is less big here, so that the tests are quick.
    """
    for module in (stored, units, byvalue):
        monkeypatch.setattr(module, "STORED_BYTES_MIN", STORED_BYTES_MIN)
    made = DirectoryStore(tmp_path / "store")
    use(made)
    gc.disable()
    try:
        yield made
        assert made.is_empty()
    finally:
        gc.enable()
        use(None)
