"""How it looks: in a terminal, with and without tqdm; in a log; and in a notebook, which is a real one."""

import io
import os
import pty
import re
import select
import sys

import pytest

from distpool import progress_bars
from distpool.progress_bars import Line, Log, Options, Outlet, Reading, Tqdm, bar_for, describe
from tests.processes.test_notebook import Cell, run_notebook


def readings(total=1000):
    """One every half second: a twentieth more each time."""
    for step in range(1, 20):
        yield Reading(step * total // 20, total, 0, step * 0.5)


def screen(data):
    """What a terminal shows at the end: each line as it was last written."""
    text = data.decode().replace("\r\n", "\n")
    lines = [re.split(r"\r", line)[-1] for line in text.split("\n")]
    return [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal():
    """A terminal's inner end as a stream, and how to read what was written to it."""
    outer, inner = pty.openpty()

    def read():
        data = b""
        while select.select([outer], [], [], 0.1)[0]:
            data += os.read(outer, 1 << 16)
        return data

    with open(inner, "w") as stream:
        yield stream, read
    os.close(outer)


@pytest.mark.parametrize(
    ("reading", "line"),
    [
        (Reading(0, 10, 0, 0.0), "progress: 0% 0/10 items, 0.0 s, 0 items/s"),
        (Reading(4000, 10000, 0, 12.3), "progress: 40% 4,000/10,000 items, 12 s, 325 items/s, 18 s left"),
        (
            Reading(9999, 10000, 2, 99.0),
            "progress: 99% 9,999/10,000 items, 1:39, 101 items/s, 2 errors, 0.0 s left",
        ),
        (
            Reading(10000, 10000, 1, 3725.0, "done"),
            "progress: 100% 10,000/10,000 items, 1:02:05, 2.68 items/s, 1 error",
        ),
        (Reading(17, None, 0, 2.0), "progress: 17 items, 2.0 s, 8.5 items/s"),
        (Reading(3, 10, 0, 2.0, "stopped"), "progress: 30% 3/10 items, 2.0 s, 1.5 items/s, stopped"),
        (Reading(12, 10, 0, 2.0), "progress: 100% 12/10 items, 2.0 s, 6 items/s, 0.0 s left"),
    ],
)
def test_the_words(reading, line):
    assert describe(reading, Options()) == line


def test_a_log_gets_a_line_at_every_tenth_but_none_within_two_seconds():
    stream = io.StringIO()
    bar = bar_for(Options(file=stream, description="work", unit="files"))
    assert isinstance(bar, Log)
    for reading in readings():
        bar.draw(reading)
    bar.finish(Reading(1000, 1000, 0, 10.0, "done"))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "work: 20% 200/1", "work: 40% 400/1", "work: 60% 600/1", "work: 80% 800/1", "work: 100% 1",
    ]  # fmt: skip
    assert lines[-1] == "work: 100% 1,000/1,000 files, 10 s, 100 files/s"


def test_a_log_without_a_total_is_written_to_twice_a_minute():
    stream = io.StringIO()
    bar = bar_for(Options(file=stream))
    for second in range(100):
        bar.draw(Reading(second, None, 0, float(second)))
    assert len(stream.getvalue().splitlines()) == 3


def test_a_log_that_stands_still_says_nothing():
    stream = io.StringIO()
    bar = bar_for(Options(file=stream))
    for second in range(0, 600, 10):
        bar.draw(Reading(5, 10, 0, float(second)))
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_has_one_line_that_is_clean_in_the_end(terminal, monkeypatch):
    stream, read = terminal
    monkeypatch.setattr(progress_bars, "_tqdms", {"tqdm": None})
    bar = bar_for(Options(file=stream))
    assert isinstance(bar, Line)
    for reading in readings():
        bar.draw(reading)
    bar.finish(Reading(500, 1000, 3, 10.0, "stopped"))
    stream.write("next\n")
    stream.flush()
    assert screen(read()) == [
        "progress: 50% [#####.....] 500/1,000 items, 10 s, 50 items/s, 3 errors, stopped",
        "next",
    ]


def test_of_two_lines_at_once_the_second_waits(terminal, monkeypatch):
    stream, read = terminal
    monkeypatch.setattr(progress_bars, "_tqdms", {"tqdm": None})
    first, second = bar_for(Options(file=stream)), bar_for(Options("second", file=stream))
    first.draw(Reading(1, 10, 0, 1.0))
    second.draw(Reading(2, 10, 0, 1.0))
    first.finish(Reading(10, 10, 0, 2.0, "done"))
    second.finish(Reading(10, 10, 0, 2.0, "done"))
    assert [line.split(":")[0] for line in screen(read())] == ["progress", "second"]
    third = bar_for(Options(file=stream))
    third.draw(Reading(1, 10, 0, 1.0))
    assert screen(read())[0].startswith("progress: 10%")
    third.finish(Reading(1, 10, 0, 1.0, "stopped"))


def test_tqdm_draws_where_it_is_installed(terminal):
    pytest.importorskip("tqdm")
    stream, read = terminal
    bar = bar_for(Options("files", unit="files", file=stream))
    assert isinstance(bar, Tqdm)
    for reading in readings():
        bar.draw(reading)
    bar.finish(Reading(1000, 1000, 2, 10.0, "done"))
    (line,) = screen(read())
    assert line.startswith("files: 100%|")
    assert "| 1000/1000 [" in line
    assert line.endswith("errors=2]")


def test_a_stream_without_room_is_not_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "w") as stream:
        try:
            while True:
                os.write(writer, b"x" * 4096)
        except BlockingIOError:
            pass
        os.set_blocking(writer, True)
        outlet = Outlet(stream)
        assert outlet.write("lost") == 4
        outlet.close()
    data = bytearray()
    while piece := os.read(reader, 1 << 16):
        data += piece
    os.close(reader)
    assert set(data) == {ord("x")}


def test_there_is_no_bar_where_there_is_no_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert bar_for(Options()) is None


def test_a_notebook_shows_one_line_in_its_cell(tmp_path):
    cells = [
        Cell("import sys, time; sys.modules['ipywidgets'] = None\nimport distpool\npool = distpool.Pool(2)"),
        Cell("print(sum(pool.map(lambda n: time.sleep(0.02) or n, range(40), progress='cells')))"),
        Cell("pool.terminate(); pool.join()"),
    ]
    seen = run_notebook(cells, tmp_path)[1]
    assert (seen.out.strip(), seen.errors) == ("780", [])
    lines = screen(seen.err.encode())
    assert len(lines) == 1
    assert lines[0].startswith("cells: 100% [#")
    assert seen.err.count("\r") > 1


def test_a_notebook_with_widgets_shows_tqdms(tmp_path):
    pytest.importorskip("tqdm")
    pytest.importorskip("ipywidgets")
    cells = [
        Cell("import time, distpool\npool = distpool.Pool(2)"),
        Cell("print(sum(pool.map(lambda n: time.sleep(0.02) or n, range(40), progress='cells')))"),
        Cell(
            "from tqdm.notebook import tqdm; from distpool import progress_bars as b\n"
            "print(issubclass(b._tqdms['tqdm.notebook'], tqdm))\npool.terminate(); pool.join()"
        ),
    ]
    seen = run_notebook(cells, tmp_path)
    assert (seen[1].out.strip(), seen[1].err, seen[1].errors) == ("780", "", [])
    assert (seen[2].out.strip(), seen[2].errors) == ("True", [])
