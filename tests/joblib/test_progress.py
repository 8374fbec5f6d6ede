"""How far a call of joblib's is: exact, whatever the size of its batches, also where there are no workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from joblib import Parallel, delayed, parallel_config

import distpool.joblib
from tests.joblib import bodies
from tests.progress.recorder import Recorder


@pytest.mark.parametrize("batch_size", ["auto", 1, 7])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_task_is_counted(n_jobs: int, batch_size: int | str, recorder: Recorder) -> None:
    tasks = [delayed(bodies.square)(i) for i in range(50)]
    with parallel_config("distpool", n_jobs=n_jobs, progress="squares"):
        assert Parallel(batch_size=batch_size)(tasks) == [i * i for i in range(50)]
    last = recorder.wait_last()
    assert (last.done, last.total, last.ended) == (50, 50, "done")
    assert recorder.done == sorted(recorder.done)


def test_tasks_are_seen_while_their_batch_runs(tmp_path: Path, recorder: Recorder) -> None:
    """Two batches, of which each waits for its last task."""
    gates = [str(tmp_path / name) for name in "ab"]
    tasks = [delayed(bodies.square)(i) for i in range(9)] + [delayed(bodies.wait_for)(gates[0])]
    tasks += [delayed(bodies.square)(i) for i in range(9)] + [delayed(bodies.wait_for)(gates[1])]
    results = Parallel(n_jobs=2, backend="distpool", batch_size=10, progress=True, return_as="generator")(
        tasks
    )
    recorder.wait_until(lambda reading: reading.done == 18)
    Path(gates[0]).touch()
    recorder.wait_until(lambda reading: reading.done == 19 or reading.done == 20)
    Path(gates[1]).touch()
    assert len(list(results)) == 20
    last = recorder.wait_last()
    assert (last.done, last.ended) == (20, "done")


def test_one_that_fails_is_stopped(recorder: Recorder) -> None:
    with pytest.raises(ZeroDivisionError):
        Parallel(n_jobs=2, backend="distpool", progress=True)(
            delayed(bodies.inverse)(2 - i) for i in range(9)
        )
    assert recorder.wait_last().ended == "stopped"


def test_the_environment_asks_for_bars_everywhere(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    monkeypatch.setenv("DISTPOOL_PROGRESS", "1")
    assert Parallel(n_jobs=2, backend="distpool")(delayed(abs)(-i) for i in range(9)) == list(range(9))
    assert recorder.wait_last().done == 9
    with distpool.Pool(1) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    assert recorder.wait_last().done == 2
