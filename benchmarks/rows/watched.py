"""What it costs to be watched: empty tasks with a dashboard that looks every second and a page open, and without.

Switched off and on by stopping and continuing the dashboard's process, so both ways run in the same pool, in bouts
whose order chance has made; the medians count. What the program's own processes spend is measured apart from what the
dashboard's does: two cores are shared by both, on a machine of more the second is nobody's loss. Processor time, since
others use this machine.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import bodies, proc
from benchmarks.model import Metric, NotOffered, Row, Session, Target

TITLE = "Being watched"

#: Of each way.
_BOUTS = 30
#: A look comes each second, so each bout has one or two.
_BOUT_S = 1.5
_READER = """
import sys, urllib.request
address, token = sys.stdin.readline().split()
page = urllib.request.urlopen(urllib.request.Request(address, headers={"authorization": f"Bearer {token}"}))
while page.read1(65536):
    pass
"""


def measure_watched(session: Session) -> Mapping[str, float]:
    """What the program's processes take for a task, with and without; and the dashboard's own share of a core."""
    adapter = session.open_warm()
    pool = getattr(adapter, "_pool", None)
    if not hasattr(pool, "insight"):
        raise NotOffered("it has no dashboard of this kind")
    for library in ("starlette", "uvicorn"):
        try:
            __import__(library)
        except ImportError:
            raise NotOffered(f"{library} is not installed: pip install 'distpool[dashboard]'") from None
    count = max(10_000, session.count)
    costs_s: dict[bool, list[float]] = {True: [], False: []}
    shares = []
    with _watched() as dashboard:
        _bout(pool, count, dashboard)
        turns = [True, False] * _BOUTS
        random.Random(7).shuffle(turns)  # a machine that is slower each ten seconds is so by no turn's fault
        for on in turns:
            os.kill(dashboard, signal.SIGCONT if on else signal.SIGSTOP)
            time.sleep(0.2)
            others_s, began_s = _cpu_s(dashboard), time.perf_counter()
            costs_s[on].append(_bout(pool, count, dashboard))
            if on:
                shares.append((_cpu_s(dashboard) - others_s) / (time.perf_counter() - began_s))
        os.kill(dashboard, signal.SIGCONT)
    return {
        "cost": 100.0 * (statistics.median(costs_s[True]) / statistics.median(costs_s[False]) - 1.0),
        "dashboard": 100.0 * statistics.median(shares),
    }


def _bout(pool: Any, count: int, dashboard: int) -> float:
    """Processor time that the program and all its processes but the dashboard's took for a task."""
    others = {dashboard, *proc.descendants(dashboard)}
    here = [os.getpid(), *(pid for pid in proc.descendants(os.getpid()) if pid not in others)]
    before_s = sum(map(_cpu_s, here))
    until_s, tasks = time.perf_counter() + _BOUT_S, 0
    while time.perf_counter() < until_s:
        assert len(pool.map(bodies.null_task, range(count), 1)) == count
        tasks += count
    return (sum(map(_cpu_s, here)) - before_s) / tasks


@contextlib.contextmanager
def _watched() -> Iterator[int]:
    """A dashboard of this program with a page open; its process id."""
    from distpool import dashboards

    url = dashboards.open_dashboard(True)
    assert dashboards._process is not None
    address, _, token = url.partition("/?token=")
    reader = subprocess.Popen([sys.executable, "-c", _READER], stdin=subprocess.PIPE, text=True)
    assert reader.stdin is not None
    try:
        reader.stdin.write(f"{address}/live {token}\n")
        reader.stdin.close()
        yield dashboards._process.pid
    finally:
        reader.kill()
        reader.wait()
        dashboards.close_dashboard()


def _cpu_s(pid: int) -> float:
    return sum(thread.cpu_s for thread in proc.thread_usage(pid).values())


ROWS = (
    Row(
        key="watched",
        metrics=(
            Metric(
                "cost",
                "dashboard on, empty tasks: processor time of the program",
                "% more",
                "lower",
                (Target("≤ 3 %", at_most=3.0),),
            ),
            Metric("dashboard", "of a core, for the dashboard itself", "%", "lower"),
        ),
        ours="distpool-pool",
        peers=(),
        count=20_000,
        measure=measure_watched,
        timeout_s=300.0,
        rounds_max=1,
        quick_share=1.0,
    ),
)
