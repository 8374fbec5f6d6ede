"""Every name of pandas is there, says the same of itself, and objects are pandas' own to whoever asks."""

import inspect
import pickle
import subprocess
import sys

import numpy
import pandas
import pyarrow
import pytest

import distpool.dataframe as pd

CLASSES = [(pd.DataFrame, pandas.DataFrame), (pd.Series, pandas.Series)]


def lazy_frame():
    """A frame whose rows have not been made."""
    with pd.route("polars"):
        frame = pd.DataFrame({"a": [1, 2, 3], "b": [1.5, None, 2.5], "s": ["x", "y", None]})
        made = frame[frame.a > 1]
    assert "_mgr" not in made.__dict__
    return made


def test_every_name_of_pandas_is_there():
    assert [name for name in dir(pandas) if not hasattr(pd, name)] == []
    assert set(pandas.__all__) <= set(pd.__all__)


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_every_method_has_pandas_signature(ours, theirs):
    differ = []
    for name in dir(theirs):
        if name.startswith("_") or not inspect.isfunction(inspect.getattr_static(theirs, name)):
            continue
        if str(inspect.signature(getattr(theirs, name))) != str(inspect.signature(getattr(ours, name))):
            differ.append(name)
    assert differ == []
    assert [name for name in dir(theirs) if not hasattr(ours, name)] == []


def test_functions_have_pandas_signatures():
    for name in pandas.__all__:
        if inspect.isfunction(getattr(pandas, name)):
            assert inspect.signature(getattr(pd, name)) == inspect.signature(getattr(pandas, name)), name


def test_instances_on_both_sides():
    ours, theirs = pd.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1]})
    assert isinstance(ours, pd.DataFrame)
    assert isinstance(ours, pandas.DataFrame)
    assert isinstance(theirs, pd.DataFrame)
    assert not isinstance(theirs, pd.Series)
    assert isinstance(theirs.index.to_series(), pd.Series)
    assert type(ours["a"]) is pd.Series
    assert type(pd.concat([theirs, theirs])) is pd.DataFrame


def test_pandas_own_test_of_equality_needs_no_relaxing():
    ours, theirs = pd.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1]})
    pandas.testing.assert_frame_equal(ours, theirs)
    pandas.testing.assert_frame_equal(theirs, ours)
    pandas.testing.assert_series_equal(ours.a, theirs.a)


def test_a_lazy_frame_can_be_pickled():
    frame = lazy_frame()
    again = pickle.loads(pickle.dumps(frame))
    assert type(again) is pd.DataFrame
    pandas.testing.assert_frame_equal(again, frame)


def test_a_lazy_frame_is_seen_by_its_protocols():
    assert numpy.asarray(lazy_frame()[["a", "b"]]).shape == (2, 2)
    assert pyarrow.table(lazy_frame()).num_rows == 2
    with pytest.warns(pandas.errors.Pandas4Warning):
        assert lazy_frame().__dataframe__().num_rows() == 2
    assert [len(row) for row in lazy_frame().itertuples()] == [4, 4]


def test_the_schema_is_known_without_the_rows():
    frame = lazy_frame()
    assert list(frame.columns) == ["a", "b", "s"]
    assert "a" in frame
    assert frame.dtypes.to_dict() == {"a": "int64", "b": "float64", "s": "str"}
    assert frame.a.dtype == "int64"
    assert frame.ndim == 2
    assert "_mgr" not in frame.__dict__


def test_an_unknown_column_is_an_error_at_once():
    frame = lazy_frame()
    with pytest.raises(KeyError, match="'x'"):
        frame["x"]
    with pytest.raises(KeyError):
        frame.groupby("x")
    with pytest.raises(KeyError):
        frame.merge(frame, on="x")
    with pytest.raises(AttributeError, match="'DataFrame' object has no attribute 'x'"):
        frame.x
    assert "_mgr" not in frame.__dict__


def test_a_changed_frame_is_another_source():
    with pd.route("polars"):
        frame = pd.DataFrame({"a": [1, 2, 3]})
        before = frame[frame.a > 1]
        frame.iloc[2, 0] = -1
        after = frame[frame.a > 1]
    assert before.a.tolist() == [2, 3]
    assert after.a.tolist() == [2]


def test_what_comes_out_can_be_written_to():
    frame = lazy_frame()
    frame.iloc[0, 0] = 9
    assert frame.a.tolist() == [9, 3]


def test_importing_starts_nothing_and_leaves_polars_alone():
    code = (
        "import threading, sys, distpool.dataframe as pd; pd.DataFrame({'a': [1]}).groupby('a').sum()\n"
        "assert threading.active_count() == 1; assert 'polars' not in sys.modules; assert 'zmq' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
