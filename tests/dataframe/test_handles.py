"""Lazy objects under everything that is done to a frame beside computing with it."""

import copy
import io
import pickle
import subprocess
import sys
import warnings

import numpy
import pandas
import pytest

import distpool.dataframe as pd

RAW = pandas.DataFrame(
    {"a": [1, 2, 3, 4], "b": [1.5, numpy.nan, 2, 4], "s": ["x", "y", None, "x"]}, index=[9, 8, 7, 6]
)


def deleted(d):
    del d["a"]
    return d


def popped(d):
    d["q"] = d.pop("a")
    return d


def inserted(d):
    d.insert(1, "z", d.a * 2)
    return d


def labelled(d):
    d.index = list("wxyz")
    d.columns = ["x", "y", "z"]
    return d.groupby("x")[["y"]].sum()


def by_attribute(d):
    d.a = d.b
    d.b = 5
    return d


def copied(d):
    shallow, deep = copy.copy(d), copy.deepcopy(d)
    shallow["a"], deep["b"] = 0, 1
    return pandas.concat([d, shallow, deep], axis=1)


def selected_and_changed(d):
    part = d[["a", "b"]]
    part["a"] = 7
    return pandas.concat([d, part], axis=1)


def set_by_labels(d):
    d.loc[d.a > 2, "b"] = 0.0
    return d[d.b == 0]


def set_by_numbers(d):
    before = d["b"]
    d.iloc[0, 1] = 99
    d["before"] = before
    return d


def named(d):
    series = d["a"]
    series.name = "new"
    return (series + 1).to_frame()


def variable_of_the_caller(d):
    least = 2  # noqa: F841 - the text names it
    return d.query("a > @least")


def by_numpy(d):
    return pandas.DataFrame({"x": numpy.sqrt(d["b"]), "y": numpy.where(d["a"] > 2, 1, 0)})


def unstacked(d):
    return d.groupby(["s", "a"])["b"].sum().unstack()


def unstacked_in_part(d):
    counted = d.groupby(["b", "a"]).size()
    return counted[counted.index.get_level_values(1) != 3].unstack()


def transformed(d):
    d["mean"] = d.groupby("s")["b"].transform("mean")
    return d


def of_python(d):
    return d.groupby("s").apply(lambda group: group.b.sum()).to_frame()


def constant(d):
    d["one"] = 1
    return d.groupby("s")["one"].sum().to_frame()


DONE = [
    deleted,
    popped,
    inserted,
    labelled,
    by_attribute,
    copied,
    selected_and_changed,
    set_by_labels,
    set_by_numbers,
    named,
    variable_of_the_caller,
    by_numpy,
    unstacked,
    unstacked_in_part,
    transformed,
    of_python,
    constant,
]


@pytest.mark.parametrize("route", ["polars", ""])
@pytest.mark.parametrize("done", DONE)
def test_it_is_as_with_pandas(done, route):
    frame = pd.DataFrame(RAW)
    with pd.route("polars"):
        lazy = frame[frame.a > 0]
    with pd.route(route):
        found = pandas.DataFrame(done(lazy))
    pandas.testing.assert_frame_equal(found, done(RAW.copy()))


def test_attrs_go_along():
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        lazy = frame[frame.a > 0]
        lazy.attrs["source"] = "here"
        assert lazy[lazy.a > 1].attrs == {"source": "here"}


@pytest.mark.parametrize("of_lazy", [True, False])
def test_attrs_may_hold_a_frame_and_are_copied(of_lazy):
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        frame = frame[frame.a > 0] if of_lazy else frame
        frame.attrs["other"], frame.attrs["list"] = pandas.DataFrame([1]), [1]
        made = frame[frame.a > 1].sort_values("a")
        made.attrs["list"].append(2)
        assert len(made) == len(frame.head(3)) == 3
    assert made.attrs["other"].equals(pandas.DataFrame([1]))
    assert frame.attrs["list"] == [1]


def test_warnings_name_the_line_that_called():
    frame = pd.DataFrame({0: [1]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for label in range(1, 110):
            frame[label] = 1
    assert [each.category for each in caught] == [pandas.errors.PerformanceWarning] * len(caught)
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("key", [lambda d: ["a", "b"], iter(["a", "b"])], ids=["callable", "iterator"])
def test_a_key_that_pandas_asks(key):
    with pd.route("polars"):
        found = pd.DataFrame(RAW)[key]
    pandas.testing.assert_frame_equal(pandas.DataFrame(found), RAW[["a", "b"]])


def test_a_slice_of_rows_in_memory_is_a_view():
    with pd.route("polars"):
        whole = pd.Series([1, 2, 3])
        assert numpy.shares_memory(whole.iloc[1:].array, whole.array)


@pytest.mark.parametrize(
    "done",
    [lambda d: d[d.a > 1], lambda d: d.tail(2), lambda d: d.sort_values("b"), lambda d: d.assign(c=d.a)],
    ids=["mask", "tail", "sort", "assign"],
)
def test_an_index_with_a_frequency(done):
    days = RAW.set_axis(pandas.date_range("2020-01-01", periods=4, freq="D"))
    with pd.route("polars"):
        found = pandas.DataFrame(done(pd.DataFrame(days)))
    pandas.testing.assert_frame_equal(found, done(days))
    assert found.index.freq == done(days).index.freq


def test_a_keyword_that_pandas_warns_of_is_warned_of_at_the_same_line():
    filenames = []
    for frame in (RAW.copy(), pd.DataFrame(RAW)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame.sort_values("b", inplace=False)
        filenames.append([each.filename for each in caught])
    assert filenames[0] == filenames[1]


def test_eval_finds_the_variables_of_its_caller():
    frame, least = pd.DataFrame(RAW), 2  # noqa: F841
    assert list(pd.eval("frame.a + least")) == [3, 4, 5, 6]
    assert list(pd.eval("frame.a + least", "pandas", "python", {"least": 0, "frame": frame})) == [1, 2, 3, 4]

    def inner(level):
        return pd.eval("frame.a + least", level=level)

    assert list(inner(1)) == [3, 4, 5, 6]


def test_eval_refuses_what_pandas_refuses():
    local = 1  # noqa: F841
    for library in (pandas, pd):
        with pytest.raises(SyntaxError, match="'@' prefix is not allowed in top-level"):
            library.eval("@local + 1")
        with pytest.raises(TypeError, match=r"^eval\(\) got an unexpected"):
            library.eval("1", wrong=1)


@pytest.mark.parametrize(
    "done",
    [
        lambda d: [key for key, _ in d.groupby(["a"])],
        lambda d: d.groupby("n").a.sum().to_dict(),
        lambda d: d.groupby([0, 0, 1, 1]).a.sum().to_dict(),
        lambda d: d.groupby(pandas.Grouper(key="a")).sum().to_dict(),
        lambda d: d.merge(d, on="n").to_dict(),
        lambda d: d.merge(d, left_on="a", right_on=numpy.array([1, 2, 3, 4])).to_dict(),
    ],
    ids=["groups", "group-level", "group-values", "grouper", "merge-level", "merge-array"],
)
def test_keys_that_are_no_columns(done):
    named = RAW[["a"]].rename_axis("n")
    with pd.route("polars"):
        assert done(pd.DataFrame(named)) == done(named)


def test_a_sum_that_does_not_skip_what_is_missing():
    with pd.route("polars"):
        found = pd.DataFrame(RAW).groupby("a").b.sum(skipna=False)
    pandas.testing.assert_series_equal(pandas.Series(found), RAW.groupby("a").b.sum(skipna=False))


def test_a_transform_has_the_columns_that_are_not_keys():
    with pd.route("polars"):
        found = pd.DataFrame(RAW)[["a", "b"]].groupby("a", as_index=False).transform("sum")
    pandas.testing.assert_frame_equal(
        pandas.DataFrame(found), RAW[["a", "b"]].groupby("a", as_index=False).transform("sum")
    )


def test_accessors_on_the_class_are_pandas():
    assert (pd.Series.str, pd.Series.dt) == (pandas.Series.str, pandas.Series.dt)


def test_the_first_lazy_call_may_be_a_window():
    """What makes windows is imported by the first of them."""
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "import distpool.dataframe as pd\n"
            "with pd.route('polars'): print(pd.Series([1.0, 2.0, 4.0]).rolling(2).var().tolist())",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert made.stdout.strip() == "[nan, 0.5, 2.0]"


def test_chained_assignment_is_warned_of_as_pandas_does():
    frame = pd.DataFrame({"a": [1.0, None], "b": [1, 2]})
    with pytest.warns(pandas.errors.ChainedAssignmentError):
        frame[0:1]["b"] = 3
    with pytest.warns(pandas.errors.ChainedAssignmentError):
        frame[["a"]].fillna(0.0, inplace=True)
    with pd.route("polars"), pytest.warns(pandas.errors.ChainedAssignmentError):
        frame[["a", "b"]].loc[0, "b"] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        part = frame[["a"]]
        part["c"] = 1
        part.fillna(0.0, inplace=True)
        part.loc[0, "a"] = 2.0


def test_a_class_is_shown_as_the_one_that_it_stands_for():
    assert repr(pd.DataFrame) == repr(pandas.DataFrame)
    shown, expected = io.StringIO(), io.StringIO()
    pd.Series([1, 2]).info(buf=shown)
    pandas.Series([1, 2]).info(buf=expected)
    assert shown.getvalue() == expected.getvalue()


def test_a_truth_put_among_numbers_is_pandas_to_do():
    expected = pandas.Series([1.5, None]).where(pandas.Series([True, False]), True)
    with pd.route("polars"):
        frame = pd.DataFrame({"a": [1.5, None], "m": [True, False]})
        found = frame.a.where(frame.m, True)
        pandas.testing.assert_series_equal(found, expected, check_names=False)


def test_categories_in_another_order_have_other_codes():
    one = pandas.Series(pandas.Categorical(["a", "b"], categories=["a", "b"]))
    two = pandas.Series(pandas.Categorical(["a", "b"], categories=["b", "a"]))
    expected = pandas.concat([one, two], ignore_index=True)
    with pd.route("polars"):
        found = pd.concat([pd.Series(one), pd.Series(two)], ignore_index=True)
        pandas.testing.assert_series_equal(found, expected)


def test_differences_of_large_whole_numbers_are_exact():
    values = [10**16, 10**16 + 1, 10**16 - 2]
    with pd.route("polars"):
        found = pd.Series(values).diff()
        pandas.testing.assert_series_equal(found, pandas.Series(values).diff())


def test_a_name_given_to_the_labels_in_place_is_that_of_one_frame():
    with pd.route("polars"):
        frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
        before = frame[frame.a > 1]
        after = frame[frame.a > 0]
        after.columns.name = "labels"
        assert before.columns.name is None
        assert (after + 1).columns.name == "labels"
        frame.columns.name, frame.index.name = "own", "rows"
        assert (frame * 2).columns.name == "own"
        assert (frame * 2).index.name == "rows"
    assert before.columns.name is None


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("dropna", [True, False])
@pytest.mark.parametrize("missing", [True, False])
def test_the_levels_of_a_group_by_are_those_of_pandas(sort, dropna, missing):
    raw = pandas.DataFrame(
        {"a": ["z", "y", None if missing else "x", "z"], "b": [2.0, 1.0, 3.0, 1.0], "x": range(4)}
    )
    expected = raw.groupby(["a", "b"], sort=sort, dropna=dropna).x.sum()
    with pd.route("polars"):
        found = pd.DataFrame(raw).groupby(["a", "b"], sort=sort, dropna=dropna).x.sum()
        pandas.testing.assert_frame_equal(pandas.DataFrame(found.unstack()), expected.unstack())
    for one, two in zip(found.index.levels, expected.index.levels, strict=True):
        pandas.testing.assert_index_equal(one, two)


def new_column(d, groups):
    d["number"] = groups.cumcount()
    return groups["number"].max().to_frame()


def new_column_among_several(d, groups):
    chosen = groups[["b"]]
    d["number"] = groups.cumcount()
    return (
        groups.sum(numeric_only=True)
        .join(groups.number.mean(), suffixes=("", "_mean"))
        .join(chosen.max(), suffixes=("", "_max"))
    )


def other_values(d, groups):
    one, several = groups["b"], groups[["b"]]
    d["b"] = d.b * 2
    d["s"] = "all"
    return pandas.concat([groups.b.sum(), one.sum(), several.sum()], axis=1)


def other_values_in_place(d, groups):
    d.loc[8, "b"] = 10.0
    return groups.sum()


def with_a_window(d, groups):
    d["number"] = groups.cumcount()
    return groups.rolling(2).sum()


def of_a_window(d, groups):
    window = d.rolling(2)
    d["c"] = d.a * 10
    return window[["a", "c"]].sum()


def looked_at(d, groups):
    print(d)
    return groups.sum()


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize(
    "done",
    [
        new_column,
        new_column_among_several,
        other_values,
        other_values_in_place,
        with_a_window,
        of_a_window,
        looked_at,
    ],
)
def test_a_group_by_sees_what_is_changed_in_its_frame_later(done, lazy):
    """But its groups are those that it was made with: pandas' GroupBy keeps the frame, and the values of the keys."""
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        frame = frame[frame.a > 0] if lazy else frame
        found = pandas.DataFrame(done(frame, frame.groupby("s")))
    plain = RAW.copy()
    pandas.testing.assert_frame_equal(found, done(plain, plain.groupby("s")))


def test_attrs_of_joins_and_totals_are_pandas():
    with pd.route("polars"):
        for attrs, others, kept in (
            ({"x": 1}, {"y": 1}, {}),
            ({"x": 1}, {}, {}),
            ({"x": 1}, {"x": 1}, {"x": 1}),
        ):
            one, two = pd.DataFrame({"k": [1, 2]}), pd.DataFrame({"k": [1, 2]})
            one.attrs, two.attrs = attrs, others
            joins = [
                one.merge(two),
                one.merge(two, how="left"),
                one.merge(two, how="cross"),
                one.join(two, suffixes=("", "_")),
            ]
            assert [made.attrs for made in joins] == [kept] * 4
            assert [getattr(one, name)().attrs for name in ("sum", "mean", "max", "count")] == [attrs] * 4


def test_a_list_that_can_be_hashed_is_no_label():
    with pd.route("polars"):
        frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
        nothing, labels = frame.index.names[1:], frame.set_index(["a", "b"]).index.names
        assert frame[nothing].shape == (2, 0)
        assert list(frame[labels].columns) == ["a", "b"]


@pytest.mark.parametrize("values", [["a", "b"], [1, 2], [1, "b"]])
@pytest.mark.parametrize(
    "done",
    [
        lambda d: d.reset_index(),
        lambda d: d.v.reset_index(),
        lambda d: pd.concat([d, d]).reset_index(),
        lambda d: pd.concat([d.v, d.v]).to_frame().sort_values("v"),
    ],
    ids=["frame", "series", "concat", "concat-series"],
)
def test_labels_that_are_python_objects_get_the_dtype_that_pandas_infers(done, values):
    raw = pandas.DataFrame({"v": [1.0, 2.0]}, index=pandas.Index(values, dtype=object, name="i"))
    with pd.route("polars"):
        found = pandas.DataFrame(done(pd.DataFrame(raw)))
    pandas.testing.assert_frame_equal(found, done(raw))


def test_asof_by_an_array_is_pandas_to_do():
    left, right = pandas.DataFrame({"b": [4, 8, 7]}), pandas.DataFrame({"a": [2, 6], "t": [3, 5]})
    with pd.route("polars"):
        ours, theirs = pd.DataFrame(left), pd.DataFrame(right)
        one = pd.merge_asof(ours, theirs, left_on=numpy.array([1, 4, 6]), right_on="t")
        two = pd.merge_asof(theirs, ours, left_on="t", right_on=numpy.array([1, 4, 6]))
    expected = pandas.merge_asof(left, right, left_on=numpy.array([1, 4, 6]), right_on="t")
    pandas.testing.assert_frame_equal(pandas.DataFrame(one), expected)
    expected = pandas.merge_asof(right, left, left_on="t", right_on=numpy.array([1, 4, 6]))
    pandas.testing.assert_frame_equal(pandas.DataFrame(two), expected)


@pytest.mark.parametrize(
    "again", [lambda g: pickle.loads(pickle.dumps(g)), copy.copy], ids=["pickle", "copy"]
)
@pytest.mark.parametrize(
    "made",
    [
        lambda d: d.groupby("s"),
        lambda d: d.groupby("s").b,
        lambda d: d[["a", "b"]].rolling(2),
        lambda d: d.b.expanding(),
    ],
    ids=["frame", "column", "rolling", "expanding"],
)
def test_a_group_by_or_window_can_be_pickled_and_copied(made, again):
    with pd.route("polars"):
        found = again(made(pd.DataFrame(RAW))).sum()
    expected = made(RAW).sum()
    tested = pandas.DataFrame(found), pandas.DataFrame(expected)
    pandas.testing.assert_frame_equal(*tested)


def test_a_window_knows_its_own_frame():
    """pandas takes columns of one name apart only where both frames are one."""
    raw = pandas.DataFrame([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]], columns=["a", "a"])
    with pd.route("polars"):
        frame = pd.DataFrame(raw)
        found = frame.expanding().cov(frame, pairwise=False)
    pandas.testing.assert_frame_equal(pandas.DataFrame(found), raw.expanding().cov(raw, pairwise=False))


@pytest.mark.parametrize(
    ("option", "done"),
    [
        ("future.distinguish_nan_and_na", lambda d: (d.f / d.f).to_list()),
        ("future.python_scalars", lambda d: [type(d.b.mean()), type(d.a.sum())]),
    ],
)
def test_options_that_change_results_are_heeded(option, done):
    raw = RAW.assign(f=pandas.array([1, None, 0, 2], dtype="Float64"))
    with pandas.option_context(option, True), pd.route("polars"):
        frame = pd.DataFrame(raw)
        assert str(done(frame)) == str(done(raw))


def test_a_frame_whose_rows_are_made_is_not_another_for_its_group_by():
    """So nothing is computed twice, and what has an operation keeps it."""
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        frame = frame[frame.a > 0]
        groups = frame.groupby("s")
        assert frame.to_numpy().shape == (4, 3)
        assert "_mgr" not in groups.a.sum().__dict__
        assert groups.a.sum().to_dict() == {"x": 5, "y": 2}
        frame.loc[8, "a"] = 10
        assert groups.a.sum().to_dict() == {"x": 5, "y": 10}


@pytest.mark.parametrize("dtype", ["float64", "Float64", "int64"])
@pytest.mark.parametrize("done", [lambda s: s.var(), lambda s: s.std(ddof=0)], ids=["var", "std"])
def test_the_spread_of_numbers_far_from_zero_keeps_its_digits(done, dtype):
    raw = pandas.Series(numpy.random.default_rng(0).normal(1e9, 5, 1000)).round().astype(dtype)
    with pd.route("polars"):
        series = pd.Series(raw)
        assert done(series) == pytest.approx(done(raw), rel=1e-13)
        assert str(done(series.head(1))) == str(done(raw.head(1)))
