"""What a type checker tells the users of the front doors: public generics are pinned."""

import sys
import textwrap
from pathlib import Path

import pytest

from tests.run.programs import ROOT, environment, start

PROGRAM = """
    import distpool as multiprocessing
    from distpool.futures import ProcessPoolExecutor

    with multiprocessing.Pool(2) as pool:
        reveal_type(pool.map(len, ["a"]))
        reveal_type(pool.apply(len, ("a",)))
    with ProcessPoolExecutor() as executor:
        reveal_type(executor.submit(len, "a").result())
    reveal_type(multiprocessing.cpu_count())
    reveal_type(multiprocessing.Queue)
    multiprocessing.Pol
"""


def test_what_a_type_checker_says(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    config = ["--config-file=", "--no-color-output", "--hide-error-context", "--follow-imports=silent"]
    outcome = start(
        [sys.executable, "-m", "mypy", *config, f"--cache-dir={tmp_path / 'cache'}", "program.py"],
        cwd=tmp_path,
        env=environment(MYPYPATH=str(ROOT)),
    )
    revealed = [line.partition('Revealed type is "')[2].rstrip('"') for line in outcome.out.splitlines()]
    assert [text.replace("builtins.", "") for text in revealed if text][:4] == [
        "list[int]",
        "int",
        "int",
        "int",
    ]
    assert "distpool.queues.Queue" in revealed[4]
    assert 'Module has no attribute "Pol"' in outcome.out
