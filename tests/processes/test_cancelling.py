"""Cancelling work that runs: interrupted, and after a second killed; nobody else notices."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from distpool.futures import CancelledError, ProcessPoolExecutor
from tests.processes import bodies
from tests.processes.scene import check_core, wait_until

pytestmark = pytest.mark.usefixtures("engine")


def test_a_running_call_is_interrupted_and_its_worker_stays(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1) as executor:
        before = executor.submit(bodies.pid_of_worker).result()
        for turn, body in enumerate([bodies.wait_for_ever, bodies.spin_for_ever]):
            path = tmp_path / str(turn)
            future = executor.submit(body, str(path))
            wait_until(lambda path=path: bodies.noted(path), "the call runs")
            began_s = time.monotonic()
            assert future.cancel()
            with pytest.raises(CancelledError):
                future.result(0)
            assert executor.submit(bodies.pid_of_worker).result(5.0) == before
            assert time.monotonic() - began_s < 0.9, "no need to kill it"
        check_core()


def test_an_interrupt_that_hits_a_finalizer_comes_again_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ProcessPoolExecutor(1) as executor:
        before = executor.submit(bodies.pid_of_worker).result()
        future = executor.submit(bodies.be_interrupted_in_a_finalizer, str(tmp_path / "began"))
        wait_until(lambda: bodies.noted(tmp_path / "began"), "the finalizer runs")
        assert future.cancel()
        assert executor.submit(bodies.pid_of_worker).result(5.0) == before
        check_core()
    assert capfd.readouterr() == ("", "")


def test_an_import_is_not_torn_by_an_interrupt(tmp_path: Path) -> None:
    """Python cannot import a package again whose first import was ended among its modules."""
    began = tmp_path / "began"
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "__init__.py").write_text("from torn.part import *\nWORD = whole.WORD\n")
    (tmp_path / "torn" / "whole.py").write_text("WORD = 'whole'\n")
    (tmp_path / "torn" / "part.py").write_text(
        f"import torn.whole, time\nopen({str(began)!r}, 'w').close()\nfor _ in range(30): time.sleep(0.01)\n"
    )
    with ProcessPoolExecutor(1) as executor:
        before = executor.submit(bodies.pid_of_worker).result()
        future = executor.submit(bodies.import_from, str(tmp_path), "torn")
        wait_until(began.exists, "the import has begun")
        assert future.cancel()
        assert executor.submit(bodies.import_from, str(tmp_path), "torn").result(5.0) == "whole"
        assert executor.submit(bodies.pid_of_worker).result(5.0) == before
        check_core()


def test_one_that_refuses_is_killed_and_the_replacement_is_set_up_again(tmp_path: Path) -> None:
    starts, path = str(tmp_path / "starts"), tmp_path / "began"
    with ProcessPoolExecutor(1, initializer=bodies.set_place_and_note, initargs=("set", starts)) as executor:
        before = executor.submit(bodies.pid_of_worker).result()
        future = executor.submit(bodies.refuse_interrupts, str(path))
        wait_until(lambda: bodies.noted(path), "the call runs")
        began_s = time.monotonic()
        assert future.cancel()
        assert executor.submit(bodies.pid_of_worker).result(10.0) != before
        assert 0.9 < time.monotonic() - began_s < 4.0, "a second of grace"
        assert executor.submit(bodies.get_place).result() == "set"
        assert bodies.noted(starts) == 2
        assert bodies.noted(path) == 1, "a cancelled call is not run again"
        check_core()


def test_siblings_are_not_touched(tmp_path: Path) -> None:
    path, ran = tmp_path / "began", str(tmp_path / "ran")
    with ProcessPoolExecutor(2, retries=0) as executor:
        victim = executor.submit(bodies.refuse_interrupts, str(path))
        siblings = [executor.submit(bodies.append_number, ran, n) for n in range(300)]
        wait_until(lambda: bodies.noted(path), "the call runs")
        late = [executor.submit(bodies.slow_square, n, 0.005) for n in range(100)]
        assert victim.cancel()
        assert [future.result(20.0) for future in siblings] == list(range(300))
        assert [future.result(20.0) for future in late] == [n * n for n in range(100)]
        check_core()
    assert sorted(map(int, Path(ran).read_text().split())) == list(range(300))


def test_what_lies_with_a_worker_but_has_not_started_never_runs(tmp_path: Path) -> None:
    path, ran = tmp_path / "began", tmp_path / "ran"
    with ProcessPoolExecutor(1) as executor:
        executor.submit(bodies.square, 2).result()
        first = executor.submit(bodies.wait_for_ever, str(path))
        waiting = [executor.submit(bodies.append_number, str(ran), n) for n in range(50)]
        wait_until(lambda: bodies.noted(path), "the first runs")
        assert all(future.cancel() for future in waiting)
        assert first.cancel()
        assert executor.submit(bodies.square, 3).result(10.0) == 9
        check_core()
    assert not ran.exists()


def test_cancelling_at_random_instants(tmp_path: Path) -> None:
    """Each ends as cancelled or with its value, whichever came first, and the executor goes on."""
    with ProcessPoolExecutor(2) as executor:
        for turn in range(20):
            futures = [executor.submit(bodies.slow_square, n, 0.0005) for n in range(40)]
            futures[turn].result(20.0)
            cancelled = [future.cancel() for future in futures]
            for n, future in enumerate(futures):
                if cancelled[n]:
                    assert future.cancelled()
                else:
                    assert future.result(20.0) == n * n
        assert executor.submit(bodies.square, 3).result(20.0) == 9
        check_core()
