"""The rows of remote calls: each gives its figures on distpool, and a rate is what its name says."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import distpool
from benchmarks import bouts, peers, rows
from benchmarks.adapters import StartedAdapter
from benchmarks.rows import remote
from tests.processes.scene import wait_until
from tests.ray_util.conftest import CPUS
from tests.ray_util.conftest import own_tmpdir as own_tmpdir
from tests.ray_util.conftest import session as session

#: Milliseconds of a bout, except where it is a number.
COUNTS = {"remote-actors-created": 2, "remote-memory": 1_000}


@pytest.mark.parametrize("row", remote.ROWS, ids=lambda row: row.key)
@pytest.mark.usefixtures("session")
def test_a_row_gives_all_its_figures(row):
    """Whether the answers were right is asserted by the row itself."""
    if row.key == "remote-memory":  # it keeps as many workers as there are CPUs, and no other may be left
        wait_until(lambda: distpool.available_resources().get("CPU") == CPUS, "no worker is left", 10.0)
    opened = StartedAdapter(distpool, lambda: None)
    measured = row.measure(SimpleNamespace(count=COUNTS.get(row.key, 1), workers=4, open=lambda: opened))
    assert measured.keys() == {metric.key for metric in row.metrics}
    assert all(value > 0 for key, value in measured.items() if row.key != "remote-memory"), measured


def test_everybody_who_is_compared_exists():
    known = peers.discover()
    for row in rows.discover().values():
        assert set(row.lineup) <= known.keys(), row.key
        compared = {name for metric in row.metrics for target in metric.targets for name in target.against}
        assert compared <= {*row.peers}, row.key


def test_keys_of_rows_differ():
    keys = [row.key for group in rows.groups() for row in group.rows]
    assert len(keys) == len(set(keys)) > 40


def clock(monkeypatch, *pieces_s):
    """A clock that each piece of work moves; what is left of `pieces_s` shows how many were done."""
    now, left = 0.0, list(pieces_s)
    monkeypatch.setattr(bouts, "time", SimpleNamespace(perf_counter=lambda: now))

    def work():
        nonlocal now
        now += left.pop(0)

    return work, left


def test_a_rate_is_that_of_the_better_bout(monkeypatch):
    warming, first, second = [9.0], [0.5, 0.5], [0.2, 0.2, 0.2, 0.2, 0.4]
    work, left = clock(monkeypatch, *warming, *first, *second)
    assert bouts.rate(work, 10, bout_s=1.0) == pytest.approx(10 * 5 / 1.2)
    assert left == []


def test_a_piece_that_takes_longer_than_a_bout_is_done_once_in_each(monkeypatch):
    work, left = clock(monkeypatch, 5.0, 4.0, 2.0)
    assert bouts.rate(work, 1_000, bout_s=1.0) == pytest.approx(500.0)
    assert left == []


def test_an_interpreter_without_what_distpool_needs_reads_all_rows_and_libraries() -> None:
    """That of the other libraries, in their own environment: one import more, and none of them is measured."""
    code = (
        "import sys; sys.modules.update(zmq=None, msgspec=None, cloudpickle=None, psutil=None, numpy=None)\n"
    )
    code += "from benchmarks import peers, rows\nrows.discover()\npeers.discover()"
    subprocess.run([sys.executable, "-c", code], check=True)
