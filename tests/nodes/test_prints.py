"""What workers print on another node comes out here: whole, in order, before results, and never in the way."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.errors import WorkerDied
from distpool.futures import ProcessPoolExecutor
from distpool.scheduler import client
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import printing
from tests.nodes.conftest import ON_B
from tests.processes.scene import wait_until
from tests.run.programs import ROOT, environment, start

pytestmark = pytest.mark.timeout(120)
PREFIX = re.compile(r"\(worker (\d+), node ([^)]+)\) (.*)")
MIB = 1 << 20


class Streams:
    """What this program's stdout and stderr have got."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._out = self._err = ""

    @property
    def out(self) -> str:
        self._read()
        return self._out

    @property
    def err(self) -> str:
        self._read()
        return self._err

    def _read(self) -> None:
        out, err = self._capsys.readouterr()
        self._out += out
        self._err += err

    @property
    def lines(self) -> list[str]:
        """Of stdout, without their prefixes."""
        return without_prefixes(self.out)

    @property
    def errors(self) -> list[str]:
        """Of stderr, likewise."""
        return without_prefixes(self.err)


def without_prefixes(text: str) -> list[str]:
    lines = [(line, PREFIX.fullmatch(line)) for line in text.splitlines()]
    assert not [line for line, found in lines if found is None], "each has a prefix"
    return [found[3] for _, found in lines if found is not None]


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines]


@pytest.fixture
def b(join: Callable[..., JoiningAgent]) -> JoiningAgent:
    """A node ``b`` as ``distpool start`` starts one: with logs."""
    return join(resources={"CPU": 2.0}, logged=True)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Streams:
    return Streams(capsys)


@pytest.fixture
def wanted() -> Iterator[Callable[[str], None]]:
    """Sets what this session does with prints, as DISTPOOL_PRINTS would have at its start."""
    show = client.session().shell.show

    def want(how: str) -> None:
        show.wanted = how

    yield want
    want("auto")


def test_everything_comes_by_its_stream_before_the_result(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    pool = make_pool(1, resources=ON_B)
    for number in range(5):
        assert pool.apply(printing.in_every_way, (number,)) == number
        assert shown.lines[-4:] == [f"{what} {number}" for what in ("print", "C to stdout", "child", "ab")], (
            "no need to wait for it"
        )
        assert shown.errors[-3:] == [f"{what} to stderr {number}" for what in ("print", "C", "child")]
    assert len(shown.lines) == 20
    assert len(shown.errors) == 15


def test_lines_bear_who_has_printed_them(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    make_pool(2, resources=ON_B).map(printing.number_lines, [100] * 4, chunksize=1)
    found = [PREFIX.fullmatch(line) for line in shown.out.splitlines()]
    assert {one[2] for one in found if one} == {"b"}
    by_worker: dict[str, list[int]] = {}
    for one in found:
        assert one is not None
        by_worker.setdefault(one[1], []).append(int(one[3]))
    assert all(lines == list(range(100)) * (len(lines) // 100) for lines in by_worker.values()), "in order"
    assert sum(map(len, by_worker.values())) == 400


def test_it_comes_while_the_task_runs(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, tmp_path: Path
) -> None:
    """Also what a child process prints, of which Python here knows nothing; also half a line."""
    call = make_pool(1, resources=ON_B).apply_async(printing.child_that_waits, (str(tmp_path / "go"),))
    wait_until(lambda: shown.lines == ["begun", "half"], "both are shown")
    assert not call.ready()
    (tmp_path / "go").touch()
    call.get(20)
    assert shown.lines == ["begun", "half a line"]


def test_one_long_line_stays_one(b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams) -> None:
    text = "".join(map(str, range(400_000)))
    make_pool(1, resources=ON_B).apply(print, (text,))
    assert shown.lines == [text]


def test_prints_and_log_records_stay_in_order(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("(worker 0, node b) %(message)s"))
    logger = logging.getLogger("far")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        make_pool(1, resources=ON_B).apply(printing.print_and_log, (50,))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert shown.lines == [f"{what} {number}" for number in range(50) for what in ("print", "log")]


@pytest.mark.parametrize("end", ["close", "maxtasksperchild", "executor"])
def test_none_of_10_000_lines_is_lost_on_a_clean_exit(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, end: str
) -> None:
    """They come after the result: of a thread that goes on, and of exit handlers."""
    if end == "executor":
        with ProcessPoolExecutor(1, resources=ON_B) as executor:
            executor.submit(printing.number_lines_later, 10_000).result()
    else:
        pool = make_pool(1, resources=ON_B, maxtasksperchild=1 if end == "maxtasksperchild" else None)
        pool.apply(printing.number_lines_later, (10_000,))
        if end == "maxtasksperchild":
            wait_until(lambda: len(shown.lines) == 10_000, "its worker has gone")
        pool.close()
        pool.join()
    assert numbers(shown.lines) == list(range(10_000))


def test_too_much_is_withheld_and_how_much_is_said(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    count, length = 12_000, 1000
    make_pool(1, resources=ON_B).apply(printing.number_lines, (count, length))
    pool = make_pool(1, resources=ON_B)  # another worker may print as ever
    pool.apply(printing.number_lines, (10,))
    wait_until(lambda: "are not shown" in shown.err, "it is said")
    (note,) = shown.err.splitlines()
    got = numbers(shown.lines)
    assert got[:100] == list(range(100)), "first things first"
    assert DEFAULTS.prints_burst_bytes * 0.9 < sum(map(len, shown.lines)) < DEFAULTS.prints_burst_bytes * 2
    withheld = re.match(r"distpool: ([\d.]+) MiB that worker \d+ on node b has printed are not shown", note)
    assert withheld is not None
    missing = (count + 10 - len(got)) * (length + 1 + 5) / MIB
    assert float(withheld[1]) == pytest.approx(missing, rel=0.05)


def test_a_program_that_does_not_read_holds_nothing_up_and_loses_nothing(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written waits in the log; the program has one window of it, and workers have none."""
    go = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            go.wait(60.0)
            return super().write(text)

    stuck = Stuck()
    monkeypatch.setattr(sys, "stdout", stuck)
    pool = make_pool(1, resources=ON_B)
    assert pool.apply(printing.number_lines, (1000, 3000)) == 1000
    assert pool.apply(abs, (-3,)) == 3
    assert not go.is_set()
    go.set()
    pool.close()
    pool.join()
    wait_until(lambda: stuck.getvalue().count("\n") == 1000, "all is there")
    assert numbers(without_prefixes(stuck.getvalue())) == list(range(1000))


def test_the_last_words_of_a_worker_that_dies(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    pool = make_pool(1, resources=ON_B, retries=0)
    with pytest.raises(WorkerDied):
        pool.apply(printing.print_and_die)
    assert shown.lines == ["last words"]


@pytest.mark.parametrize("logs", [False, True])
def test_an_interrupt_loses_nothing_and_prints_nothing_twice(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, logs: bool
) -> None:
    pool = make_pool(1, resources=ON_B)
    for _ in range(8):
        with pytest.raises(TimeoutError):
            pool.map(printing.print_until_interrupted, [logs], task_timeout=0.1)
    pool.close()
    pool.join()
    assert shown.err == "", "no more than a worker may print"
    runs: list[list[int]] = []
    for number in numbers(shown.lines):
        if number == 0:
            runs.append([])
        runs[-1].append(number)
    assert len(runs) == 8
    assert all(run == list(range(len(run))) for run in runs)


def test_both_streams_are_in_order(
    b: JoiningAgent, make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a terminal, which shows both."""
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    make_pool(1, resources=ON_B).apply(printing.print_to_both, (100,))
    assert without_prefixes(terminal.getvalue()) == [
        f"{what} {number}" for number in range(100) for what in ("out", "err", "and")
    ]


def test_a_node_that_is_lost_takes_nothing_along_that_was_seen(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    pool = make_pool(1, resources=ON_B)
    pool.apply(printing.number_lines, (10,))
    os.kill(b.pid, signal.SIGKILL)
    assert numbers(shown.lines) == list(range(10))
    assert make_pool(1).apply(abs, (-1,)) == 1


def test_workers_of_workers_are_heard_once_under_their_own_name(
    b: JoiningAgent, join: Callable[..., JoiningAgent], make_pool: Callable[..., Any], shown: Streams
) -> None:
    join("c", resources={"CPU": 1.0}, logged=True)
    inner = {"node:c": 0.001}
    assert make_pool(1, resources=ON_B).apply(printing.in_inner_pool, (inner, 100)) == 100
    assert make_pool(1).apply(printing.in_inner_pool, (inner, 100)) == 100, "whose first is on our own node"
    assert numbers(shown.lines) == list(range(100)) * 2
    assert {PREFIX.fullmatch(line)[2] for line in shown.out.splitlines()} == {"c"}  # type: ignore[index]


def test_actors_print_too(b: JoiningAgent, shown: Streams) -> None:
    talker = distpool.remote(resources=ON_B)(printing.Talker).remote()
    for word in ("one", "two"):
        distpool.get(talker.say.remote(word))
        assert shown.lines[-1] == word
    distpool.kill(talker)


def test_a_log_that_is_truncated_goes_on(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams
) -> None:
    pool = make_pool(1, resources=ON_B)
    pool.apply(printing.truncate_own_log)
    pool.apply(printing.number_lines, (3,))
    assert shown.lines[-4:] == ["after", *(f"{number} " for number in range(3))]


def test_what_is_not_wanted_does_not_come(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, wanted: Callable[[str], None]
) -> None:
    wanted("off")
    pool = make_pool(1, resources=ON_B)
    pool.apply(printing.number_lines, (10,))
    assert pool.apply(printing.has_prints) is False
    pool.close()
    pool.join()
    assert shown.out == ""


def test_without_prefixes(
    b: JoiningAgent, make_pool: Callable[..., Any], shown: Streams, wanted: Callable[[str], None]
) -> None:
    wanted("plain")
    make_pool(1, resources=ON_B).apply(printing.number_lines, (2,))
    assert shown.out == "0 \n1 \n"


def test_workers_of_this_node_print_here_by_themselves(make_pool: Callable[..., Any]) -> None:
    assert make_pool(1).apply(printing.has_prints) is False


PROGRAM = """
import sys
from distpool import Pool, init
from tests.nodes import printing
if __name__ == "__main__":
    if "init" in sys.argv:
        init(log_to_driver=False)
    with Pool(1) as pool:
        pool.apply(printing.in_every_way, (1,))
    print("end")
"""


def run_program(folder: Path, *words: str, prints: str) -> tuple[str, str]:
    outcome = start(
        [sys.executable, "-c", PROGRAM, *words],
        folder,
        env=environment(PYTHONPATH=str(ROOT), DISTPOOL_PRINTS=prints),
    )
    return outcome.out, outcome.err


def test_a_program_of_its_own_may_have_prefixes_or_silence(tmp_path: Path) -> None:
    out, err = run_program(tmp_path, prints="prefix")
    *lines, end = out.splitlines()
    assert without_prefixes("\n".join(lines)) == ["print 1", "C to stdout 1", "child 1", "ab 1"]
    assert end == "end"
    assert without_prefixes(err) == ["print to stderr 1", "C to stderr 1", "child to stderr 1"]
    assert run_program(tmp_path, prints="off") == ("end\n", "")
    assert run_program(tmp_path, "init", prints="") == ("end\n", "")
    out, err = run_program(tmp_path, prints="loud")
    assert out == ""
    assert err.endswith("ValueError: DISTPOOL_PRINTS is 'loud'; it may be one of auto, prefix, plain, off\n")
