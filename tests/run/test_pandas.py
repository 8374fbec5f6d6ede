"""``--pandas``: who asks for pandas decides what it is. Tried with a small stand-in for ``distpool.dataframe``."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from distpool import run_pandas, worker_hooks
from tests.run.programs import on_distpool, plain


@pytest.fixture
def dataframe(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    module = types.ModuleType("distpool.dataframe")
    module.DataFrame = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "distpool.dataframe", module)
    monkeypatch.setattr("distpool.dataframe", module, raising=False)
    before = builtins.__import__
    run_pandas.stand_for_pandas()
    run_pandas.stand_for_pandas()
    yield module
    assert builtins.__import__.original is before  # type: ignore[attr-defined]
    builtins.__import__ = before
    worker_hooks.HOOKS.remove(run_pandas.stand_for_pandas)
    assert run_pandas.stand_for_pandas not in worker_hooks.HOOKS


def names_after(statement: str, **namespace: object) -> dict[str, object]:
    exec(statement, namespace)
    return namespace


def test_the_programs_own_modules_get_ours(dataframe: types.ModuleType) -> None:
    for namespace in ({"__name__": "__main__"}, {"__name__": "mine", "__file__": "/home/me/mine.py"}):
        assert names_after("import pandas as pd", **namespace)["pd"] is dataframe
        assert names_after("from pandas import DataFrame", **namespace)["DataFrame"] is object


def test_libraries_and_what_we_have_not_stay_pandas(dataframe: types.ModuleType) -> None:
    pandas = importlib.import_module("pandas")
    seaborn = {"__name__": "seaborn", "__file__": pandas.__file__}
    assert names_after("import pandas as pd", **seaborn)["pd"] is pandas
    assert names_after("from pandas.api import types", __name__="__main__")["types"] is pandas.api.types
    assert names_after("import pandas.api", __name__="__main__")["pandas"] is pandas


def test_without_a_dataframe_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from distpool.cli import main

    monkeypatch.setitem(sys.modules, "distpool.dataframe", None)
    assert main(["run", "--pandas", "-c", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("distpool run: --pandas needs distpool.dataframe, which cannot be imported")
    assert len(err.splitlines()) == 1


def test_a_program_with_pandas_says_what_it_says_in_plain_python(tmp_path: Path) -> None:
    code = """
import pandas as pd
from pandas import DataFrame
import sys
frame = DataFrame({"a": [1, 2, 1], "b": [4.0, 5.0, 6.0]})
print(frame.groupby("a").sum(), pd.concat([frame, frame]).shape)
print(type(frame).__module__.partition(".")[0], file=sys.stderr)
"""
    ours = on_distpool("--pandas", "-c", code, cwd=tmp_path)
    pythons = plain("-c", code, cwd=tmp_path)
    assert ours.out == pythons.out != ""
    assert (ours.err, pythons.err) == ("distpool\n", "pandas\n")
