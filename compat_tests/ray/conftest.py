"""One body, two libraries: the fixture `ray` is real Ray or distpool, whichever `--on` names.

::

    --on ray        inside a network namespace that holds nothing but loopback; refuses to start elsewhere
    --on distpool   (default) `import ray` gives distpool, by `standing_in.py`
    COMPAT_VERDICTS=FILE   a JSON line for each test that begins or ends, for whoever runs all of this

Tests of a module share one cluster, started with the module's `INIT`; after a failure the next test gets a new
one, so that what a failed test left running fails nobody else.
"""

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks import network, ray_cluster
from compat_tests.ray import standing_in
from compat_tests.ray.waiting import Gate, Marks

DIFFERENCES_MAX = 10
CHECKOUT = Path(__file__).resolve().parents[2]
#: Arguments of Ray's own: no web server, and no lines of workers in the test's output.
QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
INIT = {"num_cpus": 4}


def pytest_addoption(parser):
    group = parser.getgroup("ray")
    group.addoption("--on", choices=("ray", "distpool"), default="distpool", help="which library is `ray`")


def pytest_configure(config):
    config.addinivalue_line("markers", "differs(reason): distpool differs from Ray here on purpose")
    if config.getoption("--on") == "ray":
        network.raise_loopback()
        os.environ.update(ray_cluster.ENVIRONMENT)
    else:
        standing_in.install()


def pytest_collection_modifyitems(items):
    """A difference has its reason in one line, and there are few of them."""
    differing = {item.nodeid for item in items if item.get_closest_marker("differs")}
    assert differing == {item.nodeid for item in items if "ours" in item.fixturenames}
    assert len(differing) <= DIFFERENCES_MAX, f"at most {DIFFERENCES_MAX} differences on purpose"
    for item in items:
        if marker := item.get_closest_marker("differs"):
            (reason,) = marker.args
            assert len(reason.splitlines()) == 1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    marker = item.get_closest_marker("differs")
    report.differs = marker.args[0] if marker else ""
    if report.failed:
        item.failed = True


def pytest_runtest_logstart(nodeid):
    """The file of verdicts tells which test had begun when a process dies."""
    _note({"test": nodeid, "status": "begun"})


def pytest_runtest_logfinish(nodeid):
    _note({"test": nodeid, "status": "ended"})


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        status = "skipped" if report.skipped else report.outcome
        text = "" if report.passed else str(report.longrepr[2] if report.skipped else report.longreprtext)
        _note(
            {
                "test": report.nodeid,
                "status": status,
                "differs": report.differs,
                "seconds": round(report.duration, 3),
                "detail": text[-4000:],
            }
        )


def _note(entry):
    if path := os.environ.get("COMPAT_VERDICTS"):
        with open(path, "a") as file:
            file.write(json.dumps(entry) + "\n")


@pytest.fixture(scope="session")
def library():
    """The library, with nothing started."""
    return importlib.import_module("ray")


class Cluster:
    """The module's cluster: there when a test asks, and started anew after a test that failed."""

    def __init__(self, library, arguments):
        self._library = library
        self._arguments = arguments

    def ensure(self):
        if not self._library.is_initialized():
            self._library.init(**QUIET | self._arguments)

    def drop(self):
        self._library.shutdown()


@pytest.fixture(scope="module")
def cluster(request, library):
    cluster = Cluster(library, getattr(request.module, "INIT", INIT))
    yield cluster
    cluster.drop()


@pytest.fixture
def ray(request, library, cluster):
    """A library at work."""
    cluster.ensure()
    yield library
    if getattr(request.node, "failed", False):
        cluster.drop()


@pytest.fixture
def stopped_ray(library):
    """A library that is not at work, for tests of the start; whatever they start is ended."""
    library.shutdown()
    yield library
    library.shutdown()


@pytest.fixture
def ours(request):
    """Whether this is distpool; only for tests marked `differs`."""
    return request.config.getoption("--on") == "distpool"


@pytest.fixture
def gate(tmp_path):
    """A closed gate. It opens at the end, so that nothing waits for ever."""
    gate = Gate(str(tmp_path / "gate"))
    yield gate
    gate.open()


@pytest.fixture
def marks(tmp_path):
    return Marks(str(tmp_path / "marks"))


@pytest.fixture
def run_program(request, tmp_path):
    """Run a program of its own; `import ray` is its only import of the library, and the only line that differs."""

    def run(source, timeout_s=60):
        name = "ray" if request.config.getoption("--on") == "ray" else "distpool as ray"
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(source).replace("import ray", f"import {name}"))
        return subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
