"""What `distpool` says to somebody who types: help that teaches, and one line of remedy for each mistake."""

import sys
from pathlib import Path

import pytest

from distpool import __version__
from distpool.cli import main
from tests.run.programs import on_distpool, plain, start

MISTAKES = {
    (): "distpool: no command given: try `distpool run script.py`, or `distpool --help`",
    ("walk",): "distpool: there is no command 'walk': try `distpool run`, or `distpool --help`",
    ("run",): "distpool run: no program given: try `distpool run script.py`, or `distpool run --help`",
    ("run", "-m"): "distpool run: -m needs a module name after it: see `distpool run --help`",
    ("run", "-c"): "distpool run: -c needs code after it: see `distpool run --help`",
    ("run", "-u", "x.py"): "distpool run: there is no option '-u': see `distpool run --help`; "
    "an option of Python itself goes before, as in `python -u -m distpool run ...`",
    ("run", "nowhere.py"): "distpool run: there is no file 'nowhere.py' in {cwd}: "
    "check the path, or use -m for a module",
    ("run", "--progress", "empty"): "distpool run: the directory 'empty' has no __main__.py: "
    "name the script in it that is to run",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_gets_one_line_and_status_2(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTPOOL_PROGRESS", raising=False)
    monkeypatch.setenv("DISTPOOL_PROGRESS", "0")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == MISTAKES[words].format(cwd=tmp_path) + "\n"


def test_a_missing_script_has_the_status_of_plain_python(tmp_path: Path) -> None:
    ours, pythons = on_distpool("nowhere.py", cwd=tmp_path), plain("nowhere.py", cwd=tmp_path)
    assert ours.status == pythons.status == 2
    assert len(ours.err.splitlines()) == len(pythons.err.splitlines()) == 1


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_python_options_that_shut_distpool_out_are_refused(option: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('not to be reached')")
    find = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); from distpool.cli import main"
    )
    call = f"{find}; sys.exit(main(['run', 'script.py']))"
    outcome = start([sys.executable, option, "-c", call], cwd=tmp_path)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err == (
        "distpool run: cannot work under Python's options -I, -E and -S, which shut distpool out: leave them away\n"
    )


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        (("--help",), ["distpool run script.py", "python -m distpool"]),
        (
            ("run", "--help"),
            ["-m MODULE", "--progress", "ProcessPoolExecutor", "multiprocessing.Pool", "DISTPOOL_RETRIES"],
        ),
        (("--version",), [__version__]),
    ],
    ids=" ".join,
)
def test_help_teaches(words: tuple[str, ...], taught: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [text for text in taught if text not in out] == []
    assert max(map(len, out.splitlines())) <= 120


def test_progress_is_asked_for_by_an_option_before_the_program(tmp_path: Path) -> None:
    code = "import os; print(os.environ.get('DISTPOOL_PROGRESS'))"
    assert on_distpool("--progress", "-c", code, cwd=tmp_path).out == "1\n"
    assert on_distpool("-c", code, "--progress", cwd=tmp_path).out == "None\n"
