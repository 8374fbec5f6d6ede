"""joblib, Ray, pandas and Dask under ``distpool run``, and what it says at the end; plain Python is the oracle."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.run.programs import Outcome, environment, on_distpool, plain, start

#: joblib's tests and benchmarks are elsewhere: these only ask what stands where.
JOBLIB = [
    "Parallel(n_jobs=2)",
    "Parallel(n_jobs=2, backend='loky')",
    "Parallel(n_jobs=2, prefer='processes')",
    "Parallel(n_jobs=2, prefer='threads')",
    "Parallel(n_jobs=2, verbose=60)",
    "Parallel(n_jobs=1)",
    "Parallel()",
]


def test_a_program_with_joblib_says_what_it_says_in_plain_python(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        f"""
        from joblib import Parallel, delayed, effective_n_jobs
        from joblib.parallel import get_active_backend
        class Number:
            def __init__(self, value): self.value = value
        def square(number):
            return type(get_active_backend()[0]).__name__, number.value ** 2
        for parallel in {", ".join(JOBLIB)}:
            print(parallel(delayed(square)(Number(i)) for i in range(8)))
        print(type(get_active_backend()[0]).__name__, get_active_backend()[1], effective_n_jobs())
        """,
    )
    ours, pythons = on_distpool(program, cwd=tmp_path), plain(program, cwd=tmp_path)
    assert without_times(ours) == without_times(pythons)
    assert len(without_times(ours)) > len(JOBLIB)
    assert ours.status == 0


def script(folder: Path, source: str) -> str:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(source))
    return str(path)


def without_times(outcome: Outcome) -> list[str]:
    """Its lines; joblib's remarks are about times, and in the order of events."""
    lines = re.sub(r"\d+\.\ds", "", outcome.out + outcome.err).splitlines()
    return sorted(line for line in lines if "Batch computation" not in line and "Done" not in line)


def test_joblibs_default_backend_is_distpools_and_not_in_plain_python(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import sys
        if "first" in sys.argv:
            import distpool.joblib
        import joblib
        kinds = [type(joblib.Parallel(n_jobs=2, **more)._backend) for more in ({}, {"backend": "loky"})]
        print(*[kind.__module__.partition(".")[0] for kind in kinds])
        where = joblib.Parallel(n_jobs=2)([joblib.delayed(lambda: joblib.parallel.BACKENDS["loky"].__module__)()])
        print(where)
        """,
    )
    for words in ([], ["first"]):
        assert on_distpool(program, *words, cwd=tmp_path) == Outcome(
            0, "distpool distpool\n['distpool.joblib']\n", ""
        )
    assert plain(program, cwd=tmp_path).out.startswith("joblib joblib\n")


def test_loky_itself_and_the_backend_multiprocessing_are_left_alone(tmp_path: Path) -> None:
    """They are built on what is inside of multiprocessing's queues and pools."""
    program = script(
        tmp_path,
        """
        import joblib
        from joblib.externals.loky import get_reusable_executor
        if __name__ == "__main__":
            with get_reusable_executor(2) as executor:
                print(list(executor.map(abs, [-1, -2])))
            print(joblib.Parallel(n_jobs=2, backend="multiprocessing")(joblib.delayed(abs)(-i) for i in range(4)))
        """,
    )
    assert on_distpool(program, cwd=tmp_path) == Outcome(0, "[1, 2]\n[0, 1, 2, 3]\n", "")


def test_without_the_library_nothing_happens(tmp_path: Path) -> None:
    """A user's own module of that name."""
    (tmp_path / "joblib.py").write_text("WORD = 'mine'")
    assert on_distpool("-c", "import joblib; print(joblib.WORD)", cwd=tmp_path) == Outcome(0, "mine\n", "")


def test_dasks_default_scheduler_is_distpools(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import os, sys, dask
        from dask import delayed
        if __name__ == "__main__":
            print(delayed(sum)([delayed(pow)(i, 2) for i in range(9)]).compute())
            elsewhere = delayed(os.getpid)(pure=False).compute() != os.getpid()
            print(elsewhere, dask.config.get("scheduler", None), file=sys.stderr)
            print(delayed(abs)(-1).compute(scheduler="synchronous"))
            with dask.config.set(scheduler="threads"):
                print(delayed(os.getpid)(pure=False).compute() == os.getpid())
        """,
    )
    ours, pythons = on_distpool(program, cwd=tmp_path), plain(program, cwd=tmp_path)
    assert ours.out == pythons.out == "204\n1\nTrue\n"
    assert (ours.err, pythons.err) == ("True distpool\n", "False None\n")


def test_a_scheduler_that_the_user_has_chosen_stays(tmp_path: Path) -> None:
    code = "import dask; print(dask.config.get('scheduler', None))"
    env = environment(DASK_SCHEDULER="synchronous")
    command = [sys.executable, "-m", "distpool", "run", "-c", code]
    assert start(command, tmp_path, env=env) == Outcome(0, "synchronous\n", "")


def test_ray_is_distpool_if_asked_for(tmp_path: Path) -> None:
    source = """
        import ray, sys
        from ray.util.queue import Queue
        @ray.remote
        def where():
            import ray.util
            return ray.__name__, ray.util.__name__
        print(ray.get(where.remote()), Queue.__module__)
    """
    program = script(tmp_path, source)
    assert on_distpool("--ray", program, cwd=tmp_path) == Outcome(
        0, "('distpool', 'distpool.util') distpool.util.queue\n", ""
    )
    assert "ModuleNotFoundError" in on_distpool(program, cwd=tmp_path).err


@pytest.mark.parametrize(
    ("module", "words"),
    [("rllib", "distpool has no RLlib"), ("no_such_part", "No module named 'ray.no_such_part'")],
)
def test_a_part_of_ray_that_is_not_there_is_missing_as_any_module_is(
    module: str, words: str, tmp_path: Path
) -> None:
    outcome = on_distpool("--ray", "-c", f"import ray.{module}", cwd=tmp_path)
    assert outcome.err.splitlines()[-1].startswith(f"ModuleNotFoundError: {words}")


def test_the_end_says_what_was_parallel(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import joblib, multiprocessing
        meeting = multiprocessing.Barrier(2)
        def meet(i):
            if i in (0, 10):  # of the first chunk and of the second: each of two workers has one
                meeting.wait(30)
        with multiprocessing.Pool(2) as pool:
            pool.map(meet, range(100), chunksize=10)
        joblib.Parallel(n_jobs=2, batch_size=5)(joblib.delayed(abs)(i) for i in range(40))
        print("done")
        """,
    )
    outcome = on_distpool("--summary", program, cwd=tmp_path)
    assert (outcome.out, outcome.status) == ("done\n", 0)
    title, headings, pool, joblib = outcome.err.splitlines()
    assert re.fullmatch(r"distpool: 2 pools in \d+\.\d s", title)
    assert headings.split()[:3] == ["what", "opened", "at"]
    assert pool.split()[:6] == ["Pool", "script.py:7", "2", "1", "10", "100"]
    assert joblib.split()[:2] == ["joblib", "script.py:9"]
    assert joblib.split()[5] == "40"
    assert on_distpool("--summary", "-c", "1", cwd=tmp_path).err.startswith(
        "distpool: nothing was parallel in"
    )


def test_tqdms_process_map_and_its_bar(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import sys
        from tqdm.contrib.concurrent import process_map
        def square(x):
            return x * x
        if __name__ == "__main__":
            print(sum(process_map(square, range(300), max_workers=2, chunksize=3, file=sys.stdout, mininterval=0)))
        """,
    )
    ours, pythons = on_distpool(program, cwd=tmp_path), plain(program, cwd=tmp_path)
    last = [re.findall(r"(\d+)/300", outcome.out)[-1] for outcome in (ours, pythons)]
    assert last[0] == last[1] != "0"
    assert ours.out.splitlines()[-1] == pythons.out.splitlines()[-1]
    assert (ours.err, pythons.err) == ("", "")


def test_a_notebook_stands_on_distpool_once_it_has_loaded_the_extension(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        from IPython.core.interactiveshell import InteractiveShell
        import joblib, multiprocessing
        shell = InteractiveShell.instance(history_length=0)
        def where():
            pool = multiprocessing.Pool(1)
            pool.terminate()
            return type(pool).__module__, type(joblib.Parallel(n_jobs=2)._backend).__module__
        shell.run_line_magic("load_ext", "distpool")
        print(where())
        shell.run_line_magic("unload_ext", "distpool")
        print(where())
        """,
    )
    outcome = plain(program, cwd=tmp_path)
    assert outcome.out.splitlines() == [
        "('distpool.pool', 'distpool.joblib')",
        "('multiprocessing.pool', 'joblib._parallel_backends')",
    ], outcome.err
