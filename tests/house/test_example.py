"""The program of `make demo`: real input, the same answer on distpool, progress where it is asked for."""

import json
from pathlib import Path

from tests.run.programs import ROOT, on_distpool, plain

PROGRAM = str(ROOT / "examples" / "complexity.py")
INPUT = str(Path(json.__file__).parent)


def test_both_print_the_same_and_nothing_else(tmp_path: Path) -> None:
    ours = on_distpool(PROGRAM, INPUT, "--processes", "2", cwd=tmp_path)
    pythons = plain(PROGRAM, INPUT, "--processes", "2", cwd=tmp_path)
    assert ours == pythons
    assert (ours.status, ours.err) == (0, "")
    assert "decoder.py" in ours.out
    assert " functions in " in ours.out.splitlines()[-1]


def test_complexity_is_counted_as_mccabe_did(tmp_path: Path) -> None:
    (tmp_path / "counted.py").write_text(
        "def straight(): return 1\n"
        "def forked(a, b):\n"
        "    if a and b or a:\n"
        "        return [x for x in a if x]\n"
        "    def inner():\n"
        "        while a: pass\n"
        "    return inner\n"
        "class Thing:\n"
        "    async def method(self):\n"
        "        try: pass\n"
        "        except ValueError: pass\n"
    )
    (tmp_path / "broken.py").write_text("def (")
    out = plain(PROGRAM, str(tmp_path), "--processes", "1", cwd=tmp_path).out
    assert out.splitlines()[1:] == [
        "         5  counted.py:2 forked",
        "         2  counted.py:5 forked.inner",
        "         2  counted.py:9 Thing.method",
        "         1  counted.py:1 straight",
        "4 functions in 1 files of 11 lines; mean complexity 2.50; 1 files do not parse",
    ]


def test_progress_is_shown_when_asked_for(tmp_path: Path) -> None:
    outcome = on_distpool(PROGRAM, INPUT, "--progress", cwd=tmp_path)
    total = len(list(Path(INPUT).glob("*.py")))
    assert outcome.err.endswith(f"[{'#' * 40}] {total}/{total} files\n")
    assert outcome.err.count("] ") == len({done * 40 // total for done in range(1, total + 1)})


def test_a_directory_without_python_files_is_an_error_of_one_line(tmp_path: Path) -> None:
    outcome = plain(PROGRAM, str(tmp_path), cwd=tmp_path)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].endswith(f"there are no Python files in {tmp_path}")
