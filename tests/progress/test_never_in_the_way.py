"""Whatever happens to what is shown, the work goes on, its results are right, and the program ends by itself."""

import fcntl
import io
import os
import signal
import tempfile
import threading
import time

import pytest

from distpool import progress
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.processes.scene import driver
from tests.progress import bodies

WITHIN_S = 30.0

#: ``show`` is on or off; the results go to stdout in the end.
PROGRAM = """
import os, sys, time
import distpool
from distpool.futures import ProcessPoolExecutor

def work(number):
    time.sleep(0.002)
    return number

if __name__ == "__main__":
    with distpool.Pool(2) as pool:
        results = pool.map(work, range(400), progress=True)
        results += pool.map(work, range(100), chunksize=1, progress=True)
        results += list(pool.imap(work, range(100), 7, progress=True))
    pool.join()
    with ProcessPoolExecutor(2) as executor:
        results += executor.map(work, range(100), progress=True)
    print(len(results), sum(results), flush=True)
"""
RESULT = f"700 {sum(range(400)) + 3 * sum(range(100))}"


class Broken(io.StringIO):
    """A stream that raises at every word."""

    def write(self, text):
        raise OSError("the screen is broken")


class Stuck(io.StringIO):
    """A stream that nobody reads: it never returns."""

    def __init__(self):
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()

    def write(self, text):
        self.entered.set()
        assert self.gate.wait(WITHIN_S)
        return len(text)


@pytest.fixture(scope="module")
def pool():
    with Pool(2) as pool:
        yield pool


@pytest.mark.parametrize("chunksize", [1, 50])
def test_a_stream_that_raises(pool, capfd, chunksize):
    with Broken() as stream:
        assert pool.map(bodies.slow, range(100), chunksize, progress={"file": stream}) == list(range(100))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("moment", ["draw", "finish"])
def test_a_bar_that_raises(pool, capfd, monkeypatch, moment):
    class Bar:
        interval_s = 0.01

        def draw(self, reading):
            if moment == "draw":
                raise ValueError("cannot draw")

        def finish(self, reading):
            if moment == "finish":
                raise ValueError("cannot finish")

    monkeypatch.setattr(progress, "bar_for", lambda options: Bar())
    assert pool.map(bodies.slow, range(100), progress=True) == list(range(100))
    assert capfd.readouterr() == ("", "")


def test_a_bar_that_cannot_be_made(pool, capfd, monkeypatch):
    def bar_for(options):
        raise ImportError("half of a library")

    monkeypatch.setattr(progress, "bar_for", bar_for)
    assert pool.map(bodies.slow, range(20), progress=True) == list(range(20))
    assert capfd.readouterr() == ("", "")


def test_a_thread_that_cannot_be_started(pool, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    meter = progress.Meter
    shown = []

    class Threadless(meter):
        def show(self):
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                shown.append(super().show())

    monkeypatch.setattr("distpool.pool_maps.Meter", Threadless)
    assert pool.map(bodies.slow, range(20), chunksize=1, progress=True) == list(range(20))
    assert shown == [None]


def test_a_stream_that_never_returns_costs_a_moment(pool):
    stream = Stuck()
    began_s = time.monotonic()
    assert pool.map(bodies.slow, range(20), progress={"file": stream}) == list(range(20))
    assert stream.entered.is_set()
    assert list(pool.imap(bodies.slow, range(20), progress={"file": stream})) == list(range(20))
    with ProcessPoolExecutor(1) as executor:
        assert list(executor.map(bodies.slow, range(20), progress={"file": stream})) == list(range(20))
    assert time.monotonic() - began_s < 10.0
    stream.gate.set()
    for thread in threading.enumerate():
        if thread.name == "distpool-progress":
            thread.join(WITHIN_S)


def full_pipe():
    """A pipe that takes nothing more, and that nobody reads."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    return reader, writer


def test_stderr_that_nobody_reads():
    reader, writer = full_pipe()
    try:
        with driver(PROGRAM, stderr=writer) as it:
            assert it.finish(WITHIN_S).strip() == RESULT
            assert it.process.returncode == 0
            it.expect_nothing_left()
    finally:
        os.close(reader)
        os.close(writer)


def test_stderr_whose_reader_has_gone():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with driver(PROGRAM, stderr=writer) as it:
            assert it.finish(WITHIN_S).strip() == RESULT
            assert it.process.returncode == 0
    finally:
        os.close(writer)


@pytest.mark.parametrize("close", ["os.close(2)", "sys.stderr.close()", "sys.stderr = None"])
def test_stderr_that_is_closed(close):
    program = PROGRAM.replace('if __name__ == "__main__":\n', f'if __name__ == "__main__":\n    {close}\n')
    with driver(program) as it:
        assert it.finish(WITHIN_S).strip() == RESULT
        assert it.process.returncode == 0


def test_the_number_of_a_closed_stderr_is_somebody_elses():
    """Lines of progress in another file, or worse, in a pipe that somebody relies on, are worse than none."""
    program = PROGRAM.replace(
        'if __name__ == "__main__":\n',
        'if __name__ == "__main__":\n    os.close(2)\n'
        '    mine = open(sys.argv[1], "w")\n    assert mine.fileno() == 2\n',
    )
    with tempfile.NamedTemporaryFile() as file, driver(program, file.name) as it:
        assert it.finish(WITHIN_S).strip() == RESULT
        assert it.process.returncode == 0
        assert file.read() == b""


def test_stderr_that_is_closed_while_a_map_runs():
    program = PROGRAM.replace(
        "results += pool.map(work, range(100), chunksize=1, progress=True)",
        "later = pool.map_async(work, range(100), chunksize=1, progress=True)\n"
        "        sys.stderr.close()\n        results += later.get()",
    )
    with driver(program) as it:
        assert it.finish(WITHIN_S).strip().endswith(RESULT)
        assert it.process.returncode == 0


def test_a_log_in_a_file(tmp_path):
    with open(tmp_path / "log", "wb") as log, driver(PROGRAM, stderr=log.fileno()) as it:
        assert it.finish(WITHIN_S).strip() == RESULT
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 4
    assert [line.split(",")[0] for line in lines] == ["progress: 100% 400/400 items"] + 3 * [
        "progress: 100% 100/100 items"
    ]


@pytest.mark.parametrize("tty", [False, True])
def test_ctrl_c_ends_the_line_and_the_map(tty):
    program = PROGRAM.replace("time.sleep(0.002)", "time.sleep(0.1)").replace(
        "    with distpool.Pool(2) as pool:\n",
        "    with distpool.Pool(2) as pool:\n        print('ready', flush=True)\n",
    )
    with driver(program, tty=tty) as it:
        it.read_until("ready\n")
        if tty:
            it.read_until("items")
            it.type("\x03")
        else:
            time.sleep(0.5)
            os.kill(it.process.pid, signal.SIGINT)
        text = it.finish(WITHIN_S)
        it.expect_nothing_left()
    assert "KeyboardInterrupt" in text
    before, _, after = text.rpartition("Traceback (most recent call last)")
    assert "stopped\n" in before.replace("\x1b[K", "") or "items/s]" in before
    assert "items" not in after.replace("items/s", ""), "nothing is drawn over what comes after"
