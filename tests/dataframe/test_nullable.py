"""Columns whose missing values are NA (arrays with a mask, and Arrow's) are computed as pandas does, natively."""

import itertools

import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts
from distpool.dataframe.objects import is_lazy
from tests.dataframe.in_process import CLOSE, TINY, fragments

ROUTES = {
    "pandas": lambda: pd.route("pandas"),
    "polars": lambda: pd.route("polars"),
    "cluster": lambda: fragments(TINY),
    "gathered": lambda: fragments(CLOSE),
}
MASKED = {"whole": "Int64", "other": "Int64", "half": "Float64", "flag": "boolean", "text": "string"}
ARROW = {
    "whole": "int64[pyarrow]",
    "other": "int64[pyarrow]",
    "half": "double[pyarrow]",
    "flag": "bool[pyarrow]",
    "text": pandas.ArrowDtype(pyarrow.string()),
}
VALUES = {
    "whole": [3, None, 1, 3, None, 2],
    "other": [0, 2, None, 5, None, 2],
    "half": [0.5, None, float("inf"), -1.5, 0.0, None],
    "flag": [True, False, None, None, True, False],
    "text": ["b", None, "a", "", "zz", "a"],
}
BOTH = pytest.mark.parametrize("dtypes", [MASKED, ARROW], ids=["masked", "arrow"])


def frame(library, dtypes):
    return library.DataFrame(
        {name: library.Series(VALUES[name], dtype=dtype) for name, dtype in dtypes.items()}
    )


OPERATIONS = {
    "compared": lambda pd, f: f.assign(a=f.whole > f.other, b=f.whole != 3, c=f.half <= 0.5, d=f.text == "a"),
    "computed": lambda pd, f: f.assign(
        a=f.whole + f.other, b=f.whole * 2 - 1, c=f.whole / f.other, d=f.half - f.half, e=f.half * f.whole
    ),
    "logic": lambda pd, f: f.assign(
        a=f.flag & (f.flag.shift()), b=f.flag | False, c=~f.flag, d=f.flag ^ f.flag
    ),
    "logic with numpy": lambda pd, f: f.assign(a=f.flag & f.whole.notna(), b=f.flag | f.whole.isna()),
    "filter": lambda pd, f: f[f.flag | (f.other > 1)],
    "loc": lambda pd, f: f.loc[f.whole >= 2, ["text", "half"]],
    "query": lambda pd, f: f.query("whole > 1 and other > 0"),
    "isna": lambda pd, f: f.assign(a=f.whole.isna(), b=f.text.notna()),
    "fillna": lambda pd, f: f.assign(a=f.whole.fillna(7), b=f.text.fillna("?")),
    "dropna": lambda pd, f: f.dropna(subset=["whole"]),
    "isin": lambda pd, f: f.assign(a=f.whole.isin([3, 2]), b=~f.text.isin(["a"])),
    "where": lambda pd, f: f.assign(a=f.whole.where(f.other.notna())),
    "grouped": lambda pd, f: f.groupby("whole").agg(
        a=("other", "sum"), b=("half", "max"), c=("text", "first"), d=("other", "mean"), e=("flag", "count")
    ),
    "grouped with NA": lambda pd, f: f.groupby(["text", "whole"], dropna=False, as_index=False)[
        ["other"]
    ].sum(),
    "least": lambda pd, f: f.groupby("text", dropna=False)["other"].sum(min_count=2),
    "size": lambda pd, f: f.groupby("whole", dropna=False).size(),
    "sorted": lambda pd, f: f.sort_values("whole", na_position="first", kind="stable"),
    "sorted by two": lambda pd, f: f.sort_values(["flag", "half"], ascending=[False, True]),
    "merged": lambda pd, f: f.merge(f[["whole", "text"]], on="whole", how="left"),
    "merged by text": lambda pd, f: f.merge(f[["text", "half"]], on="text"),
    "distinct": lambda pd, f: f.drop_duplicates(["whole"]),
    "counts": lambda pd, f: f.whole.value_counts().to_frame(),
    "text": lambda pd, f: f.assign(
        a=f.text.str.contains("z"), b=f.text.str.len(), c=f.text.str.startswith("a")
    ),
    "concat": lambda pd, f: pd.concat([f, f[f.whole == 3]], ignore_index=True),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", OPERATIONS)
@BOTH
def test_as_pandas(dtypes, name, route):
    expected = pandas.DataFrame(OPERATIONS[name](pandas, frame(pandas, dtypes)))
    with ROUTES[route]():
        found = pandas.DataFrame(OPERATIONS[name](pd, frame(pd, dtypes)))
    pandas.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("name", OPERATIONS)
@BOTH
def test_nothing_falls_back(dtypes, name):
    with pd.route("polars"):
        made = frame(pd, dtypes)
        coverage_counts.reset()
        len(OPERATIONS[name](pd, made))
        table = pd.coverage()
    assert table[table.outcome == "fall-back"].empty, table


@BOTH
@pytest.mark.parametrize("route", ["polars", "cluster"])
@pytest.mark.parametrize("name", ["sum", "min", "max", "mean", "median", "std", "count", "any", "all"])
def test_reductions_are_of_the_same_type_too(dtypes, name, route):
    for column in ["flag"] if name in ("any", "all") else ["whole", "other"]:
        for part in (slice(None), slice(1, 2), slice(4, 5)):
            expected = getattr(frame(pandas, dtypes)[part][column], name)()
            with ROUTES[route]():
                found = getattr(frame(pd, dtypes)[part][column], name)()
            assert type(found) is type(expected), (column, part)
            assert found is expected or found == expected


@BOTH
@pytest.mark.parametrize("options", [{"min_count": 5}, {"min_count": 2}, {"skipna": False}, {"min_count": 0}])
def test_sums_of_too_few_values(dtypes, options):
    expected = frame(pandas, dtypes).whole.sum(**options)
    with pd.route("polars"):
        series = frame(pd, dtypes).whole
        coverage_counts.reset()
        found = series.sum(**options)
        assert pd.coverage().outcome.tolist() == ["native"]
    assert found is expected or found == expected


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]"])
@pytest.mark.parametrize("how", ["__and__", "__or__", "__xor__"])
def test_logic_is_that_of_kleene(dtype, how):
    one, two = zip(*itertools.product([True, False, None], repeat=2), strict=True)
    expected = getattr(pandas.Series(one, dtype=dtype), how)(pandas.Series(two, dtype=dtype))
    with pd.route("polars"):
        both = pd.DataFrame({"one": pd.Series(one, dtype=dtype), "two": pd.Series(two, dtype=dtype)})
        found = getattr(both.one, how)(both.two)
        assert is_lazy(found)
    pandas.testing.assert_series_equal(found, expected)


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "int8[pyarrow]"])
@pytest.mark.parametrize("how", ["__add__", "__sub__", "__mul__"])
def test_what_leaves_arrows_type_raises_what_pandas_raises(dtype, how):
    limits = {"int64[pyarrow]": 2**63 - 1, "int8[pyarrow]": 127}
    one, two = [limits[dtype], -2, limits[dtype]], [-2, 1, limits[dtype]]
    with pytest.raises(pyarrow.ArrowInvalid) as expected:
        getattr(pandas.Series(one, dtype=dtype), how)(pandas.Series(two, dtype=dtype))
    with pd.route("polars"):
        both = pd.DataFrame({"a": pd.Series(one, dtype=dtype), "b": pd.Series(two, dtype=dtype)})
        with pytest.raises(pyarrow.ArrowInvalid) as found:
            getattr(both.a, how)(both.b).tolist()
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]"])
def test_a_nan_among_them_is_no_missing_value(dtype):
    if dtype == "Float64":
        array = pandas.arrays.FloatingArray(
            numpy.array([1.0, numpy.nan, 2.0]), numpy.array([False, False, True])
        )
    else:
        array = pandas.arrays.ArrowExtensionArray(pyarrow.array([1.0, numpy.nan, None]))
    expected = pandas.Series(array)
    with pd.route("polars"):
        frame = pd.DataFrame({"a": pd.Series(array), "b": [1, 2, 3]})
        kept, counted = frame[frame.b > 1].a, frame.a.isna().tolist()
    pandas.testing.assert_series_equal(kept, expected.iloc[1:], check_names=False)
    assert counted == expected.isna().tolist()


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("nan", [False, True])
def test_files_read_with_another_backend(tmp_path, backend, holes, nan):
    path = str(tmp_path / "a.parquet")
    columns = {
        name: values if holes else [one for one in values if one is not None] * 3
        for name, values in VALUES.items()
    }
    shortest = min(len(values) for values in columns.values())
    table = pyarrow.table({name: values[:shortest] for name, values in columns.items()})
    if nan:
        table = table.set_column(2, "half", pyarrow.array([float("nan")] + [1.0] * (shortest - 1)))
    pyarrow.parquet.write_table(table, path)

    def program(library):
        f = library.read_parquet(path, dtype_backend=backend)
        made = f[(f.half > 0) | f.flag]
        return made, made.groupby("text", dropna=False)[["whole", "half"]].sum().reset_index()

    expected = program(pandas)
    with pd.route("polars"):
        assert is_lazy(pd.read_parquet(path, dtype_backend=backend))
        found = program(pd)
    for one, two in zip(found, expected, strict=True):
        pandas.testing.assert_frame_equal(one, two)


def test_what_pandas_wrote_as_nullable_is_read_as_such(tmp_path):
    path = str(tmp_path / "a.parquet")
    frame(pandas, MASKED).to_parquet(path)
    with pd.route("polars"):
        found = pd.read_parquet(path)
        assert is_lazy(found)
        made = found[found.whole > 1]
    pandas.testing.assert_frame_equal(made, pandas.read_parquet(path).query("whole > 1"))
