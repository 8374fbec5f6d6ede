"""Nodes with GPUs: what they say that they have, what tasks may ask of them, and what those see who look."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.dashboard.chromium import CHROMIUM, Browser
from tests.dashboard.conftest import TOKEN, Served, serving
from tests.processes.scene import run, wait_until

from .ground import H100, Driver, gpu

NAME = f"gpus{os.getpid()}"
#: A number and its unit are not to be divided, but are words like others to who searches.
SHOWN = r"document.body.innerText.replace(/\s/g, ' ')"
SECRET = "correct horse battery staple, and then some"

HEAD = """
import os
import distpool

def seen(*_):
    return os.environ.get("CUDA_VISIBLE_DEVICES")

h100 = distpool.remote(num_gpus=1, accelerator_type="H100")

if __name__ == "__main__":
"""


def tell(driver: Driver, body: str, **env: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return run(HEAD + lines, env={**driver.env, **env})


def test_a_task_finds_the_kind_that_it_asks_for(driver: Driver) -> None:
    """Nobody has said anything of GPUs."""
    driver.say(gpu(1), gpu(2))
    assert tell(driver, """
print(distpool.get(h100(seen).remote(), timeout=60))
node, = distpool.nodes()
print(node["Resources"]["GPU"], node["Resources"]["accelerator_type:H100"], node["Labels"]["ray.io/accelerator-type"])
with distpool.Pool(2, resources={"GPU": 1, "accelerator_type:H100": 0.001}) as pool:
    found = set()
    while len(found) < 2:
        found |= set(pool.map(seen, range(8), chunksize=1))
    print(sorted(found))
""") == "0\n2.0 1.0 H100\n['0', '1']\n"  # fmt: skip


def test_what_the_program_may_not_see_no_task_gets(driver: Driver) -> None:
    """And of two kinds, the one that is left is the node's."""
    driver.say(gpu(1, "Tesla T4"), gpu(2), gpu(3))
    uuid = gpu(3)["uuid"][:12]
    told = tell(driver, """
holders = [h100(seen).remote() for _ in range(2)]
print(sorted(distpool.get(holders, timeout=60)), distpool.cluster_resources()["GPU"])
""", CUDA_VISIBLE_DEVICES=uuid)  # fmt: skip
    assert told == f"['{uuid}', '{uuid}'] 1.0\n"


def test_where_the_driver_fails_gpus_are_counted_as_ever_and_nothing_is_said(driver: Driver) -> None:
    driver.fail("LibRmVersionMismatch")
    told = tell(driver, """
print(distpool.get(distpool.remote(num_gpus=1)(seen).remote(), timeout=60))
""", CUDA_VISIBLE_DEVICES="0")  # fmt: skip
    assert told == "0\n"


# --------------------------------------------------------------------------------------------- who looks


class Cluster:
    """One node by ``distpool start``, on the loopback; it ends with the test."""

    def __init__(self, driver: Driver, folder: str) -> None:
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("DISTPOOL_", "CUDA_"))
        }
        places = {"TMPDIR": folder, "XDG_STATE_HOME": folder}
        self.environment = {**plain, **driver.env, **places, "DISTPOOL_SECRET": SECRET}
        told = self.run(
            "start", "--head", "--host", "127.0.0.1", "--port", "0", "--num-cpus", "2", "--name", NAME
        )
        found = re.search(r"127\.0\.0\.1:\d+", told)
        assert found is not None, told
        self.environment["DISTPOOL_ADDRESS"] = found[0]  # else a node of somebody else's might be found

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "distpool", *words],
            env=self.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def rows(self, *words: str) -> list[list[str]]:
        return [line.split() for line in self.run(*words).splitlines()]

    def probes(self) -> list[int]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any("gpu_probe" in word for word in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    if process.environ().get("TMPDIR") == self.environment["TMPDIR"]:
                        found.append(process.pid)
        return found


@pytest.fixture
def cluster(driver: Driver) -> Iterator[Cluster]:
    driver.say(gpu(1, used=8 << 30, busy=25), gpu(2, used=16 << 30, busy=75))
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        made = Cluster(driver, folder)
        try:
            yield made
        finally:
            made.run("stop", NAME)
            assert made.probes() == [], "it ends with its agent"


def row(number: int, busy: str, memory: str) -> list[str]:
    """As ``nodes`` and ``top`` have it."""
    return [NAME, str(number), *H100.split(), busy, *memory.split()]


ROWS = [row(0, "25%", "8 GiB/80 GiB"), row(1, "75%", "16 GiB/80 GiB")]
UNKNOWN = row(0, "?", "?/80 GiB")


def test_commands_show_each_gpu(cluster: Cluster, driver: Driver) -> None:
    for words in (["nodes"], ["top", "--once"]):
        rows = cluster.rows(*words)
        assert [row for row in rows if row in ROWS] == ROWS, rows
    status = cluster.run("status")
    assert "GPUs: 0 of 2 in use, 50% busy, 24 GiB of 160 GiB of their memory used\n" in status
    driver.say(gpu(1, lost=True), gpu(2, used=16 << 30, busy=75))
    wait_until(lambda: ROWS[0] not in cluster.rows("nodes"), "it is noticed")
    rows = cluster.rows("nodes")
    assert UNKNOWN in rows
    assert ROWS[1] in rows


def test_an_agent_is_not_held_up_by_a_driver_that_hangs(cluster: Cluster) -> None:
    """Looks wait for a moment, once a second at most, and say that they do not know."""
    assert ROWS[0] in cluster.rows("nodes")
    (probe,) = cluster.probes()
    psutil.Process(probe).suspend()
    wait_until(lambda: ROWS[0] not in cluster.rows("nodes"), "it is old")
    began_s = time.monotonic()
    assert UNKNOWN in cluster.rows("nodes")
    assert time.monotonic() - began_s < 10


def test_the_dashboard_shows_them_and_so_does_prometheus(
    cluster: Cluster, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    with serving() as dashboard:
        assert TOKEN in dashboard.url

        def node(dashboard: Served = dashboard) -> dict[str, object]:
            return dashboard.table("nodes")[0]

        wait_until(lambda: node()["gpu"] == 0.5, "both are known")
        memory = [24 << 30, 160 << 30]
        assert node()["gpuMemory"] == memory
        assert node()["gpus"][1] == {  # type: ignore[index]
            "name": "1", "model": H100, "busy": 0.75, "memory": [16 << 30, 80 << 30],
        }  # fmt: skip
        frame = next(dashboard.frames())
        assert (frame["facts"]["gpu"], frame["facts"]["gpuMemory"]) == (0.5, memory)
        text = dashboard.get("/metrics")[1]
        key = f'{{gpu="1",model="{H100}",node="{NAME}"}}'
        assert f"distpool_gpu_busy_ratio{key} 0.75\n" in text
        assert f"distpool_gpu_memory_used_bytes{key} 1.7179869184e+10\n" in text
        driver.say(gpu(1, busy=25), gpu(2, lost=True))
        wait_until(
            lambda: "gpu_busy_ratio" + key not in dashboard.get("/metrics")[1], "what is unknown is left out"
        )
        asked = len(driver.asked())
        began_s = time.monotonic()
        for _ in range(40):
            dashboard.get("/metrics")
        most = 2 * (2 + time.monotonic() - began_s)
        assert len(driver.asked()) - asked <= most


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium, and this runs too")
def test_the_page_shows_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    with serving() as dashboard:
        browser = Browser(tmp_path_factory.mktemp("chromium"))
        try:
            browser.open(dashboard.url)
            for words in ("of 2 GPUs, 50 % busy", "GPU memory of 160 GiB", "0 / 2, 50 % busy"):
                browser.until(f"{SHOWN}.includes({words!r})")
            browser.open(f"{dashboard.address}/#/node/{NAME}")
            for words in ("GPU 1", H100, "75 %", "16 GiB of 80 GiB"):
                browser.until(f"{SHOWN}.includes({words!r})")
            assert browser.said == [], "the page has complained"
        finally:
            browser.close()
