"""Every name of pandas is there, says the same of itself, and objects are pandas' own to whoever asks."""

import abc
import inspect
import pickle
import subprocess
import sys
import unittest.mock

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


@pytest.mark.parametrize(
    "name", [name for name in pandas.__all__ if inspect.isfunction(getattr(pandas, name))]
)
def test_functions_can_be_pickled(name):
    assert pickle.loads(pickle.dumps(getattr(pd, name))) is getattr(pd, name)


@pytest.mark.parametrize("ours", [pd.DataFrame, pd.Series])
def test_methods_of_the_class_can_be_pickled(ours):
    """As `pool.map(pd.DataFrame.sum, frames)` needs it."""
    for name, value in vars(ours).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            assert pickle.loads(pickle.dumps(value)) is value


def test_pandas_classes_are_subclasses_as_their_objects_are_instances():
    assert issubclass(pandas.DataFrame, pd.DataFrame)
    assert issubclass(type(pandas.Index([1]).to_series()), pd.Series)
    assert not issubclass(pandas.DataFrame, pd.Series)
    assert not issubclass(pandas.DataFrame, type("Own", (pd.DataFrame,), {}))


@pytest.mark.parametrize("name", ["doubled", "to_feather", "sum"], ids=["new", "of pandas", "with a plan"])
@pytest.mark.parametrize("by", ["assignment", "monkeypatch", "mock"])
def test_a_method_that_the_user_adds_is_there_for_every_frame(name, by):
    """For those that come from inside of pandas as well; and what was there comes back."""

    def doubled(frame):
        return f"{name} of {len(frame)}"

    before = vars(pandas.DataFrame).get(name), vars(pd.DataFrame).get(name)
    if by == "assignment":
        setattr(pd.DataFrame, name, doubled)
        undo = lambda: setattr(pd.DataFrame, name, before[1]) if before[1] else delattr(pd.DataFrame, name)  # noqa: E731
    elif by == "monkeypatch":
        patch = pytest.MonkeyPatch()
        patch.setattr(pd.DataFrame, name, doubled, raising=False)
        undo = patch.undo
    else:
        replaced = unittest.mock.patch.object(pd.DataFrame, name, doubled, create=True)
        replaced.start()
        undo = replaced.stop
    try:
        frames = [pd.DataFrame({"a": [1]}), pandas.Index([1]).to_frame(), lazy_frame()]
        assert [getattr(frame, name)() for frame in frames] == [f"{name} of {n}" for n in (1, 1, 2)]
    finally:
        undo()
    assert (vars(pandas.DataFrame).get(name), vars(pd.DataFrame).get(name)) == before
    assert not hasattr(pd.DataFrame({"a": [1]}), "doubled")


def test_an_accessor_in_the_place_of_an_attribute_is_warned_of():
    class Accessor:
        def __init__(self, data):
            self.data = data

    pd.Series.fake = 123
    try:
        with pytest.warns(UserWarning, match="fake"):
            pd.api.extensions.register_series_accessor("fake")(Accessor)
        assert type(pd.Series([1]).fake) is Accessor
    finally:
        del pd.Series.fake
        pandas.Series._accessors.discard("fake")
    assert not hasattr(pd.Series, "fake")


def test_a_function_that_a_test_replaces_in_pandas_is_replaced():
    assert pd.read_csv is pd.read_csv
    with unittest.mock.patch("pandas.read_csv", return_value=pandas.DataFrame({"a": [1]})):
        read = pd.read_csv("there is none")
    assert type(read) is pd.DataFrame
    assert len(read) == 1
    with pytest.raises(FileNotFoundError):
        pd.read_csv("there is none")


def test_a_class_of_the_users_may_be_abstract_as_well():
    class Table(pd.DataFrame, abc.ABC):
        @property
        def _constructor(self):
            return type(self)

        @abc.abstractmethod
        def rows(self):
            """Give their number."""

    class Sized(Table):
        def rows(self):
            return len(self)

    with pytest.raises(TypeError, match="abstract"):
        Table({"a": [1]})
    made = Sized({"a": [1, 2]}).head(1)
    assert made.rows() == 1
    assert isinstance(made, Table)
    assert isinstance(made, pd.DataFrame)
    assert not isinstance(pd.DataFrame({"a": [1]}), Table)
    assert not issubclass(pandas.DataFrame, Table)
    Table.register(int)
    assert isinstance(1, Table)
