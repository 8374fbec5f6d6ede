"""The soak's runner: what it counts, what it does with a step that fails or hangs, and what it writes down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.processes.harness import survivors
from tests.soak import cli
from tests.soak.report import as_markdown
from tests.soak.running import ROOT, run_step
from tests.soak.steps import STEPS, Step


def step_of(code: str, **others: object) -> Step:
    settings: dict[str, object] = {"count": 1000, "limit_s": 30.0, **others}
    return Step("a step", "things", command=(sys.executable, "-c", code), **settings)  # type: ignore[arg-type]


def test_every_step_runs_something_that_is_there() -> None:
    names = [step.name for step in STEPS]
    assert len(names) == len(set(names))
    for step in STEPS:
        for part in step.command_of(1.0):
            path = part.partition("=")[2] or part
            if path.startswith("tests/"):
                assert (ROOT / path.partition("::")[0]).exists(), path
            assert "{" not in part
        assert 0 < step.limit_s <= 3 * 3600


def test_counts_are_scaled_where_they_are_kept() -> None:
    itself = step_of("")
    assert (itself.count_of(1.0), itself.count_of(0.1), itself.runs_of(0.1)) == (1000, 100, 1)
    repeated = step_of("", count=50, runs=50)
    assert (repeated.count_of(1.0), repeated.count_of(0.1), repeated.runs_of(0.1)) == (50, 5, 5)
    unscaled = step_of("", count=1, counts_itself=False)
    assert unscaled.count_of(0.1) == 1
    seeds = Step("seeds", "worlds", 200, ("run", "0:{count}"), limit_s=1.0)
    assert seeds.command_of(0.1) == ["run", "0:20"]


def test_a_step_that_passes(tmp_path: Path) -> None:
    code = "import os; print(os.environ['DISTPOOL_SOAK'], os.environ['DISTPOOL_SOAK_SHARE']); print('7 passed in 1 s')"
    outcome = run_step(step_of(code, runs=3), 1.0, tmp_path)
    assert (outcome.runs, outcome.complaint, outcome.summary) == (3, "", "7 passed in 1 s")
    assert outcome.output is not None
    assert outcome.output.read_text().count("1 1.0\n") == 3


def test_a_step_that_fails_is_not_run_again(tmp_path: Path) -> None:
    code = "print('FAILED tests/x.py::test_y - why'); print('== 1 failed, 2 passed in 1 s =='); raise SystemExit(1)"
    outcome = run_step(step_of(code, runs=3), 1.0, tmp_path)
    assert (outcome.runs, outcome.complaint) == (1, "exit status 1")
    assert outcome.failures == ("FAILED tests/x.py::test_y - why",)
    text = as_markdown([outcome], ["a step", "another"])
    assert "| FAILED: exit status 1 |" in text
    assert "- `FAILED tests/x.py::test_y - why`" in text
    assert "Not run: another." in text
    passed = run_step(step_of("print('3 passed')"), 1.0, tmp_path)
    assert "FAILED" not in as_markdown([passed], ["a step", "another"], text)


def test_a_step_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    code = f"""
import faulthandler, pathlib, subprocess, time
faulthandler.enable()
child = subprocess.Popen(["sleep", "1000"])
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
def where_it_hangs():
    child.wait()
where_it_hangs()
"""
    outcome = run_step(step_of(code, limit_s=2.0, runs=3), 1.0, tmp_path)
    assert (outcome.runs, outcome.complaint) == (1, "not done within 2 s")
    assert outcome.output is not None
    assert "where_it_hangs" in outcome.output.read_text(), "its stacks are in the output"
    assert not survivors([int((tmp_path / "pid").read_text())], within_s=5.0)


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = step_of("print('12 passed')"), step_of("raise SystemExit(3)")
    bad = Step("bad one", bad.what, bad.count, bad.command, bad.limit_s)
    monkeypatch.setattr(cli, "STEPS", (good, bad))
    results = tmp_path / "RESULTS.md"
    words = ["--share", "0.1", "--results", str(results), "--output", str(tmp_path / "output")]
    assert cli.main(words) == 1
    text = results.read_text()
    assert "| a step | things | 100 (0.1 of the full count) | 1 | passed: 12 passed |" in text
    assert "| bad one | things | 100 (0.1 of the full count) | 1 | FAILED: exit status 3 |" in text
    assert cli.main(["--steps", "a step", *words[2:]]) == 0
    text = results.read_text()
    assert "| a step | things | 1,000 | 1 | passed: 12 passed |" in text
    assert "| bad one | things | 100 (0.1 of the full count) |" in text, "what was not run again stays"
    with pytest.raises(SystemExit):
        cli.main(["--steps", "no such"])
    assert "no step 'no such'; there are: a step, bad one" in capsys.readouterr().err
