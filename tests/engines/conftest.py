"""Clusters that are not ours, started by the tests: one without a library, Dask's, Ray's.

Ray listens on every interface, so it has a network namespace with nothing but a loopback of its own. What is not
installed here is skipped; CONTRIBUTING.md says how to have it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distpool.scheduler.shells import processes
from tests.processes.harness import ROOT

MARK = "DISTPOOL_TEST_CLUSTER"
DASK = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""
RAY = (
    "ip link set lo up && exec {python} -m ray.scripts.scripts start --head --num-cpus=2 --port=6379 --block "
    "--ray-client-server-port=10001 --include-dashboard=false --disable-usage-stats --temp-dir={folder}"
)

#: One process that looks, and not one for each look: starting Ray takes all of the machine.
WAIT_FOR_PORT = """
import socket, time
until_s = time.monotonic() + 180
while time.monotonic() < until_s:
    try:
        socket.create_connection(("127.0.0.1", 10001), 1).close()
        break
    except OSError:
        time.sleep(0.2)
else:
    raise SystemExit(1)
"""


@dataclass
class Cluster:
    """One of them. ``inside``: what a program on it is to be started by."""

    kind: str
    address: str
    folder: Path
    inside: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    mark: str = ""

    def start(self, scenario: str, folder: Path, **env: str) -> subprocess.Popen[str]:
        """Begin one of the program's scenarios."""
        return subprocess.Popen(
            [
                *self.inside,
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.engines.program",
                scenario,
                str(folder),
            ],
            cwd=self.folder,
            env={**self._environment(), "DISTPOOL_ADDRESS": self.address, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **self.env, MARK: self.mark}

    def nodes_of_ours(self) -> list[int]:
        """Processes of pilots' agents that there are in this cluster."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                marked = f"{MARK}={self.mark}".encode() in Path(f"/proc/{name}/environ").read_bytes()
                if marked and b"distpool.scheduler" in Path(f"/proc/{name}/cmdline").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
        return found

    def end(self) -> None:
        """Kill all of it."""
        if self.process is not None:
            for pid in [*processes.descendants(self.process.pid), self.process.pid]:
                processes.kill(pid)
            self.process.communicate()
            self.process = None


def _here(cluster: Cluster) -> None:
    cluster.address = "here://2:1"


def _dask(cluster: Cluster) -> None:
    folder = cluster.folder
    script = folder / "dask_cluster.py"
    script.write_text(DASK)
    cluster.mark = uuid.uuid4().hex
    cluster.process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=folder,
        env={**cluster._environment(), "DASK_TEMPORARY_DIRECTORY": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert cluster.process.stdout is not None
    cluster.address = cluster.process.stdout.readline().strip().replace("tcp://", "dask://")
    assert cluster.address, "no scheduler was started"


def _ray(cluster: Cluster) -> None:
    folder = cluster.folder
    cluster.address, cluster.mark = "ray:auto", uuid.uuid4().hex
    cluster.env = {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = RAY.format(python=sys.executable, folder=folder / "ray")
    cluster.process = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", command],
        cwd=folder,
        env=cluster._environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    cluster.inside = ["nsenter", f"--net=/proc/{cluster.process.pid}/ns/net"]
    cluster.env["RAY_ADDRESS"] = "127.0.0.1:6379"
    waiting = [*cluster.inside, sys.executable, "-c", WAIT_FOR_PORT]
    assert subprocess.run(waiting, timeout=200, stderr=subprocess.DEVNULL).returncode == 0, "Ray is not up"


_MAKERS = {"here": _here, "dask": _dask, "ray": _ray}
_LIBRARY = {"dask": "distributed", "ray": "ray"}


def _begin(kind: str) -> Iterator[Cluster]:
    library = _LIBRARY.get(kind)
    if library and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed here: see CONTRIBUTING.md, clusters of other kinds")
    if kind == "ray" and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("Ray needs a network namespace of its own, and making one is not permitted here")
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(kind, "", Path(folder))
        try:
            _MAKERS[kind](cluster)
            yield cluster
        finally:
            cluster.end()


@pytest.fixture(scope="module", params=list(_MAKERS))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One for all tests of a file."""
    yield from _begin(request.param)


@pytest.fixture(params=list(_MAKERS))
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One for a test that ends it."""
    yield from _begin(request.param)
