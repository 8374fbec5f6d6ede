"""The dashboard over HTTP, of a real session: what it shows and to whom, and that nobody is disturbed by it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

import distpool
from distpool import cli
from distpool.util.metrics import Counter
from tests.dashboard.conftest import TOKEN, Served, serving
from tests.processes.scene import wait_until

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@distpool.remote
def double(x: int) -> int:
    return 2 * x


@distpool.remote
def fails(what: str) -> None:
    raise ValueError(f"no column {what!r}")


@distpool.remote(num_cpus=0)
class Tally:
    def __init__(self) -> None:
        self.total = 0

    def add(self, n: int) -> int:
        self.total += n
        Counter("added", tag_keys=("by",)).inc(n, {"by": "actor"})
        return self.total


def plus_one(x: int) -> int:
    return x + 1


def test_every_request_needs_the_token(served: Served) -> None:
    for path in (
        "/",
        "/live",
        "/metrics",
        "/table/nodes",
        "/page/app.js",
        "/page/vendor/uplot/uPlot.esm.js",
        "/x",
    ):
        status, text = served.get(path, token=None)
        assert status == 401, path
        assert text.count("\n") == 1
        assert "opens by the whole address that it printed" in text
        assert served.get(path, token="wrong")[0] == 401
    assert served.get("/")[0] == 200
    assert served.get("/page/../server.py")[0] == 404
    assert served.get("/page/%2e%2e/server.py")[0] == 404


def test_the_page_takes_nothing_from_outside(served: Served) -> None:
    status, page = served.get("/")
    assert status == 200
    for path in ("/page/app.js", "/page/views.js", "/page/style.css", "/page/vendor/uplot/uPlot.esm.js"):
        assert served.get(path)[0] == 200
        page += served.get(path)[1].replace("http://www.w3.org/", "") if "vendor" not in path else ""
    assert "http://" not in page
    assert "https://" not in page


def test_calls_of_all_doors_are_counted_by_function(served: Served) -> None:
    assert distpool.get([double.remote(n) for n in range(200)], timeout=60)[-1] == 398
    with distpool.Pool(2) as pool:
        assert pool.map(plus_one, range(500), chunksize=1)[-1] == 500

        def counted() -> dict[str, int]:
            return {row["name"]: row["done"] for row in served.table("functions")}

        wait_until(
            lambda: counted().get("double") == 200 and counted().get("plus_one") == 500, "all are counted"
        )
        row = next(row for row in served.table("functions") if row["name"] == "plus_one")
        assert 0 < row["p50"] <= row["p95"] < 1
        workers = served.table("workers", "sort=done&descending=1")
        assert sum(row["done"] for row in workers) >= 500
    wait_until(lambda: len(served.table("pools", "filter=pool")) == 0, "the pool is gone")
    assert counted()["plus_one"] == 500, "what ended workers did is not forgotten"


def test_frames_come_while_something_happens(served: Served) -> None:
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            distpool.get([double.remote(n) for n in range(50)], timeout=60)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        frames, stream = [], []
        for frame in served.frames():
            frames.append(frame)
            stream += frame["stream"]
            if len(frames) >= 3 and frame["facts"]["rate"] > 0 and any(bar[1] == "double" for bar in stream):
                break
            assert len(frames) < 60
    finally:
        stopping.set()
        thread.join()
    assert [frame["whole"] for frame in frames[:3]] == [True, False, False]
    looks = [frame["look"] for frame in frames]
    assert looks == sorted(set(looks))
    assert frames[-1]["history"]["at"], "each brings its point"
    lanes = frames[0]["lanes"]["set"] | frames[-1]["lanes"]["set"]
    assert {bar[0] for bar in stream} & set(lanes)
    node = next(iter(frames[0]["nodes"]["set"].values()))
    assert node["used"]["CPU"][1] == 2
    assert node["memory"][1] > node["memory"][0] > 0


def test_an_error_is_there_with_its_traceback(served: Served) -> None:
    with pytest.raises(ValueError, match="no column 'price'"):
        distpool.get(fails.remote("price"), timeout=60)

    def found() -> list[dict[str, Any]]:
        return served.table("errors", "filter=price")

    wait_until(lambda: bool(found()), "the error is told")
    row = found()[0]
    assert (row["function"], row["headline"]) == ("fails", "ValueError: no column 'price'")
    whole = json.loads(served.get(f"/error/{row['number']}")[1])
    assert 'raise ValueError(f"no column {what!r}")' in whole["text"]
    node, _, number = row["worker"].rpartition("/")
    assert node
    assert number.isdecimal()
    assert served.get("/error/99999")[0] == 404


def test_an_error_of_a_pools_task_is_there_too(served: Served) -> None:
    with distpool.Pool(1) as pool, pytest.raises(ZeroDivisionError):
        pool.apply(divmod, (1, 0))
    wait_until(lambda: bool(served.table("errors", "filter=ZeroDivisionError")), "the error is told")
    assert served.table("errors", "filter=ZeroDivisionError")[0]["function"] == "divmod"


def test_actors_objects_and_metrics(served: Served) -> None:
    numpy = pytest.importorskip("numpy")
    actor, ref = Tally.remote(), distpool.put(numpy.ones(1_000_000))
    assert distpool.get([actor.add.remote(n) for n in (1, 2, 3)], timeout=60)[-1] == 6
    Counter("seen", tag_keys=("by",)).inc(5, {"by": "driver"})
    wait_until(lambda: any(row["done"] == 3 for row in served.table("actors", "filter=Tally")), "it is told")
    row = served.table("actors", "filter=Tally")[0]
    assert row["state"] == "ALIVE"
    assert row["worker"].endswith(tuple("123456789"))
    assert any(
        row["bytes"] >= 8_000_000 and "test_server.py" in row["made"] for row in served.table("objects")
    )
    holders = served.table("holders", "sort=bytes&descending=1")
    assert holders[0]["process"] == f"program, process {os.getpid()}"
    assert holders[0]["pid"] == os.getpid()
    pytest.importorskip("prometheus_client")
    wait_until(lambda: 'ray_added_total{by="actor"} 6.0' in served.get("/metrics")[1], "the actor's count")
    text = served.get("/metrics")[1]
    assert 'ray_seen_total{by="driver"} 5.0' in text
    assert 'distpool_tasks_total{function="Tally.add",outcome="done"} 3.0' in text
    assert "distpool_node_cpu_ratio" in text
    assert distpool.get(ref, timeout=60).size == 1_000_000


def test_stack_log_and_timeline_are_had_by_links(served: Served) -> None:
    assert distpool.get(double.remote(1), timeout=60) == 2
    wait_until(lambda: bool(served.table("workers")), "there is a worker")
    node, _, number = served.table("workers")[0]["worker"].rpartition("/")
    status, text = served.get(f"/stack?node={node}&worker={number}")
    assert status == 200 or "there is no worker" in text, text
    assert served.get("/stack?node=nowhere&worker=1")[0] == 404
    status, text = served.get(f"/log?node={node}&worker=0")
    assert (status, "no log" in text) == (404, True), (
        "what a program's node prints goes where the program's does"
    )
    assert any(event["name"] == "double" for event in json.loads(served.get("/timeline")[1]))
    for bad in ("/log?node=x&worker=y", "/stack?node=x", "/history?seconds=0", "/table/functions?limit=x"):
        status, text = served.get(bad)
        assert status == 400, bad
        assert json.loads(text)["error"]
    assert served.get("/table/nothing")[0] == 404


def test_a_browser_that_reads_nothing_costs_no_memory(served: Served) -> None:
    lazy = []
    for _ in range(8):
        link = socket.create_connection(("127.0.0.1", served.port))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        lazy.append(link)
    try:
        process = psutil.Process(served.process.pid)
        looks = served.frames()
        before, first = process.memory_info().rss, next(looks)["look"]
        for frame in looks:
            distpool.get([double.remote(n) for n in range(200)], timeout=60)
            if frame["look"] >= first + 4:
                break
        assert process.memory_info().rss - before < 16 << 20
    finally:
        for link in lazy:
            link.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_silence_with_pages_open(session: None, number: signal.Signals) -> None:
    with serving("--session", str(os.getpid())) as dashboard:
        frames = dashboard.frames()
        next(frames)
        dashboard.process.send_signal(number)
        for _ in frames:
            pass
        assert dashboard.process.wait(timeout=20) in (0, 128 + signal.SIGINT, -number)


def test_its_death_disturbs_nobody(session: None) -> None:
    with serving("--session", str(os.getpid())) as dashboard:
        refs = [double.remote(n) for n in range(100)]
        dashboard.process.send_signal(signal.SIGKILL)
        dashboard.process.wait(timeout=20)
        assert distpool.get(refs, timeout=60) == [2 * n for n in range(100)]
    with serving("--session", str(os.getpid())) as another:
        assert another.get("/table/nodes")[0] == 200


def test_a_program_that_ends_is_said_and_what_was_known_stays(own_tmpdir: str) -> None:
    code = (
        "import distpool, os, sys\ndistpool.init(num_cpus=1)\nf = distpool.remote(len)\n"
        "print(distpool.get(f.remote('abc')), flush=True)\nsys.stdin.read()\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "3\n"
        with serving("--session", str(program.pid)) as dashboard:
            program.stdin.close()
            assert program.wait(timeout=30) == 0
            for frame in dashboard.frames():
                if frame["facts"]["trouble"]:
                    break
            assert "lost" in frame["facts"]["trouble"] or "no program of yours" in frame["facts"]["trouble"]
            assert dashboard.get("/table/nodes")[0] == 200
            status, text = dashboard.get("/table/actors")
            assert status == 503
            assert json.loads(text)["error"]
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


def test_a_port_in_use_is_a_line_with_the_remedy(session: None, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["dashboard", "--session", str(os.getpid()), "--port", str(port)]) == 1
    said = capfd.readouterr().err
    assert said == (
        f"distpool dashboard: port {port} of 127.0.0.1 is in use: choose another by --port, or 0 for any that is free\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--session", "1"], "no program of yours with process 1 runs a session"),
        (["--port", "99999"], "a port is a number from 0 to 65535"),
        (["--host", "nowhere.invalid", "--session", "{pid}"], "there is no address 'nowhere.invalid' here"),
    ],
)
def test_bad_words(session: None, capfd: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    try:
        status = cli.main(["dashboard", *(word.format(pid=os.getpid()) for word in words)])
    except SystemExit as leaving:
        status = int(str(leaving.code))
    assert status in (1, 2)
    complaint = capfd.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_a_token_that_is_too_short_is_refused(
    session: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTPOOL_DASHBOARD_TOKEN", "short")
    assert cli.main(["dashboard", "--session", str(os.getpid())]) == 1
    assert "16 or more letters" in capfd.readouterr().err
