"""A plan that cannot be run is pandas' to do: its rows, or its error."""

import pandas
import polars
import pyarrow
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts, kernels

RAW = pandas.DataFrame({"k": [1, 2, 1], "a": [1.5, None, 2.5], "s": ["x", None, "y"]})


@pytest.fixture
def no_additions(monkeypatch):
    """Let Polars refuse to add, as it refuses what leaves a type."""

    def refuse(batch):
        raise polars.exceptions.ComputeError("planted")

    for kernel in ("add", "add_float"):
        monkeypatch.setitem(
            kernels._KERNELS, kernel, lambda a, b: a.map_batches(refuse, return_dtype=polars.Float64)
        )


def longer(d):
    d["b"] = d.a + 1
    d = d.assign(c=lambda f: f.b * 2)
    d.columns = ["k", "a", "s", "x", "y"]
    return d[d.k == 1].groupby("k")[["x", "y"]].sum().reset_index()


def of_texts(d):
    return (d.s + "!").str.upper().to_frame().loc[d.k == 1]


def joined(d):
    return d.assign(b=d.k + 1).merge(d, on="k", how="left").sort_values(["b", "a_x"])


@pytest.mark.parametrize("program", [longer, of_texts, joined])
def test_pandas_makes_the_same_rows(program, no_additions):
    with pd.route("polars"):
        found = program(pd.DataFrame(RAW))
        pandas.testing.assert_frame_equal(found, program(pandas.DataFrame(RAW)))


def test_it_is_counted_with_its_reason(no_additions):
    coverage_counts.reset()
    with pd.route("polars"):
        assert (pd.DataFrame(RAW).k + 1).tolist() == [2, 3, 2]
    counted = pd.coverage().set_index("method")
    assert "planted" in counted.loc["Series.__add__"].query("outcome == 'fall-back'").reason.item()


def test_a_function_of_the_user_is_not_called_again(no_additions):
    calls = []

    def added(frame):
        calls.append(1)
        return frame.k + 1

    with pd.route("polars"):
        assert pd.DataFrame(RAW).assign(n=added).n.tolist() == [2, 3, 2]
    assert calls == [1]


def test_arguments_are_as_they_were(no_additions):
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        wanted = {"k": "sum"}
        made = frame.assign(k=frame.k + 1).groupby("s").agg(wanted)
        wanted["a"] = "sum"
        frame.iloc[0, 0] = 100
        assert made.k.tolist() == [2, 2]


def test_thousands_of_calls_on_one_frame(no_additions):
    with pd.route("polars"):
        series = pd.DataFrame(RAW).k
        for _ in range(700):
            series = series.rename("r")
        frame = (series + 1).to_frame()
        for _ in range(700):
            frame = frame.rename(columns={"r": "q"}).copy()
        assert frame.q.tolist() == [2, 3, 2]


def test_a_file_that_is_gone_is_an_error_of_pandas_own_type(tmp_path):
    RAW.to_parquet(tmp_path / "file")
    with pd.route("polars"):
        for spoil, expected in [
            (lambda: (tmp_path / "file").write_bytes(b"PAR1 half"), pyarrow.ArrowInvalid),
            (lambda: (tmp_path / "file").unlink(), FileNotFoundError),
        ]:
            RAW.to_parquet(tmp_path / "file")
            made = pd.read_parquet(tmp_path / "file").groupby("k").a.sum()
            spoil()
            with pytest.raises(expected):
                len(made)


def test_what_changed_a_frame_leaves_what_it_was_made_of(no_additions):
    def program(d):
        changed = d[d.k > 0]
        other = changed.assign(z=changed.k + 1)
        changed["k"] = changed.k + 1
        return other.merge(changed, on="s")

    with pd.route("polars"):
        found = program(pd.DataFrame(RAW))
        pandas.testing.assert_frame_equal(found, program(pandas.DataFrame(RAW)))
