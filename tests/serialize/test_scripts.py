"""Real scripts, run as ``__main__`` by their own interpreter, with a worker of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.serialize.other_process import ROOT

HEAD = """
import sys
from distpool.scheduler.serialize import Exporter
from tests.serialize.other_process import Worker
print("the script runs")
worker = Worker()
worker.start()
call = lambda f, *args: worker.call(Exporter(), f, *args)
"""


def run(arguments: list[str], tmp_path: Path, **options: object) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return str(done.stdout).splitlines()


def script(source: str, tail: str = "\nworker.close()\n") -> str:
    return HEAD + textwrap.dedent(source) + tail


BODY = """
class Foo:
    def __init__(self, n): self.n = n
def task(foo):
    import __main__
    file = getattr(__main__, "__file__", None)
    return Foo(foo.n + 1), __name__, sys.argv, file, __main__ is sys.modules["__main__"]
foo, name, argv, file, same = call(task, Foo(1))
print(type(foo) is Foo, foo.n, name, argv == sys.argv, file == globals().get("__file__"), same)
"""
EXPECTED = ["the script runs", "True 2 __main__ True True True"]


def test_a_script_with_no_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(script(BODY))
    assert run(["program.py", "-x", "1"], tmp_path) == EXPECTED


def test_dash_c(tmp_path: Path) -> None:
    assert run(["-c", script(BODY), "arg"], tmp_path) == EXPECTED


def test_standard_input(tmp_path: Path) -> None:
    assert run(["-"], tmp_path, input=script(BODY)) == EXPECTED


def test_dash_m_with_relative_imports(tmp_path: Path) -> None:
    package = tmp_path / "package_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sibling.py").write_text("def where(): return __name__\n")
    body = BODY + textwrap.dedent("""
        from . import sibling
        def relative():
            from .sibling import where
            return where(), sibling.where(), __spec__.name
        print(*call(relative))
    """)
    (package / "program.py").write_text(script(body))
    assert run(["-m", "package_for_test.program"], tmp_path) == [
        *EXPECTED,
        "package_for_test.sibling package_for_test.sibling package_for_test.program",
    ]


def test_a_module_that_computes_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "computes.py").write_text(script("""
        def square(n): return n * n
        print([call(square, n) for n in range(3)])
    """))  # fmt: skip
    assert run(["-c", "import computes"], tmp_path) == ["the script runs", "[0, 1, 4]"]


def test_a_traceback_shows_the_scripts_lines(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(script("""
        def fails(n):
            return 1 / n  # here
        try:
            call(fails, 0)
        except ZeroDivisionError as error:
            text = str(error.__cause__)
            print("return 1 / n  # here" in text, __file__ in text)
    """))  # fmt: skip
    assert run(["program.py"], tmp_path)[1:] == ["True True"]


@pytest.mark.parametrize("statement", ["sys.modules.pop('helper_of_test')", "pass"])
def test_modules_beside_the_script_go_by_reference(tmp_path: Path, statement: str) -> None:
    (tmp_path / "helper_of_test.py").write_text("class Thing:\n    def hello(self): return __name__\n")
    (tmp_path / "program.py").write_text(script(f"""
        from helper_of_test import Thing
        {statement}
        print(call(lambda thing: thing.hello(), Thing()), type(call(lambda thing: thing, Thing())) is Thing)
    """))  # fmt: skip
    assert run(["program.py"], tmp_path)[1:] == ["helper_of_test True"]
