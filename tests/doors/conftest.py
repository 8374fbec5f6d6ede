"""The same test bodies over the standard library and over distpool, on each of its engines."""

import concurrent.futures
import multiprocessing
import multiprocessing.pool
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import pytest

from distpool import context, engines, futures, pool
from distpool.engines.local import LocalEngine

BACKENDS = ["stdlib", "local", "native"]
ASKED_FOR = {
    "ours": ["local", "native"],
    "on_local": ["local"],
    "on_native": ["native"],
    "in_processes": ["stdlib", "native"],
}


def library_of(backend):
    if backend == "stdlib":
        return SimpleNamespace(
            Pool=multiprocessing.pool.Pool,
            pool=multiprocessing.pool,
            ProcessPoolExecutor=concurrent.futures.ProcessPoolExecutor,
            get_context=multiprocessing.get_context,
        )
    return SimpleNamespace(
        Pool=pool.Pool,
        pool=pool,
        ProcessPoolExecutor=futures.ProcessPoolExecutor,
        get_context=context.get_context,
    )


@pytest.fixture(scope="package")
def local_engine():
    engine = LocalEngine()
    yield engine
    engine.shutdown()


def pytest_generate_tests(metafunc):
    """Run a test on each backend, or only on those that it asks for by a fixture's name."""
    if "library" in metafunc.fixturenames:
        backends = BACKENDS
        for fixture, wanted in ASKED_FOR.items():
            if fixture in metafunc.fixturenames:
                backends = wanted
        metafunc.parametrize("library", backends, indirect=True)


@pytest.fixture
def library(request, local_engine):
    """The names of one library, with ``backend`` and ``ours``."""
    library = library_of(request.param)
    library.backend = request.param
    library.ours = request.param != "stdlib"
    with engines.use(local_engine) if request.param == "local" else nullcontext():
        yield library


@pytest.fixture
def ours(library):
    """For what only distpool promises."""
    return library


@pytest.fixture
def on_local(library):
    """For what only the engine of threads can show."""
    return library


@pytest.fixture
def on_native(library):
    """For what only distpool's own processes can show."""
    return library


@pytest.fixture
def in_processes(library):
    """For what threads cannot do."""
    return library


@pytest.fixture
def make_pool(library):
    """Opens pools that are ended with the test."""
    with ExitStack() as stack:

        def make(*args, **kwargs):
            made = library.Pool(*args, **kwargs)
            stack.callback(made.join)
            stack.callback(made.terminate)
            return made

        yield make


@pytest.fixture
def make_executor(library):
    """Opens executors that are shut down with the test."""
    with ExitStack() as stack:

        def make(*args, **kwargs):
            made = library.ProcessPoolExecutor(*args, **kwargs)
            stack.callback(made.shutdown)
            return made

        yield make
