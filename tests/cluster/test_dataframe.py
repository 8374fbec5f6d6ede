"""Plans as fragments on three machines with a store each, of which one is lost while pieces lie on it."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet
import pytest

from benchmarks.tpch import data, queries
from tests.cluster.conftest import PORT, facts_of, of_cluster, start
from tests.cluster.hosts import Host

soak = pytest.mark.skipif(os.environ.get("DISTPOOL_SOAK") != "1", reason="soak: set DISTPOOL_SOAK=1")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "numbers", [[18], pytest.param(list(queries.QUERIES), marks=soak)], ids=["some", "all"]
)
def test_a_machine_is_lost_while_pieces_lie_on_it(
    three: list[Host], tmp_path: Path, numbers: list[int]
) -> None:
    a, b, c = three
    tables = data.generate(tmp_path, 0.01)
    for path in tables.iterdir():
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path, row_group_size=7000)
    marks = tmp_path / "marks"
    marks.mkdir()
    # A worker each: what takes longest here is that each of them imports pandas.
    start(a, "--head", "--num-cpus", "1")
    for host in (b, c):
        start(host, "--address", f"{a.address}:{PORT}", "--num-cpus", "1")
    words = ("-m", "tests.cluster.dataframe_program", str(tables), str(marks))
    child = c.start(*words, ",".join(map(str, numbers)), env=of_cluster(a))
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line == "begun\n", line + child.stdout.read()
        b.kill()
        (marks / "gone").touch()
        text, _ = child.communicate(timeout=240)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, text
    assert facts_of(text) == {"equal": sorted(numbers)}
