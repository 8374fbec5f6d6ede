"""Python functions of rows, values and groups give on the engine what they give in pandas.

The random ones go through the same parts and pickles as on the engine, but in this process: a pool for each would
take a second.
"""

import functools
import os
import pickle
import threading
import unittest.mock
import warnings

import numpy
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts, python_functions
from tests.dataframe.random_programs import frames

EXAMPLES = int(os.environ.get("DISTPOOL_DF_EXAMPLES", "50"))


def parts_in_this_process(function, parts, _workers):
    python_functions._load(function)
    for part in parts:
        yield python_functions.evaluate(pickle.loads(pickle.dumps(part)))


def of_row(row, plus=1):
    values = [value for value in row if isinstance(value, int | float)]
    return sum(values) + plus


def by_turns(item):
    text = str(item.name)
    return [None, 1, text, 2.5, pandas.Timestamp("2020-01-01"), [1, 2]][len(text) % 6]


def bigger(row):
    return pandas.Series({"first": row.iloc[0], "size": len(row), "name": str(row.name)})


def sizes(group):
    return len(group)


def itself(group):
    return group


def top(group):
    return group.iloc[:1]


def of_value(value):
    return [value, None, 1, "x"][len(str(value)) % 4]


def raising(item):
    if len(str(item)) % 3 == 0:
        raise LookupError(str(item))
    return 1


def as_text(value):
    return f"{type(value).__name__} {value}"


def series_of(value):
    return pandas.Series([str(value), 1], index=["text", "one"])


ROWS = {
    **{
        f.__name__: lambda frame, f=f: frame.apply(f, axis=1)
        for f in (of_row, by_turns, bigger, sizes, itself, raising, as_text)
    },
    "options": lambda frame: frame.apply(of_row, axis="columns", args=(3,)),
    "keyword": lambda frame: frame.apply(of_row, axis=1, plus=2.5),
    "expand": lambda frame: frame.apply(lambda row: [1, str(row.name)], axis=1, result_type="expand"),
    "lists": lambda frame: frame.apply(lambda row: list(row), axis=1),
    "reduce": lambda frame: frame.apply(bigger, axis=1, result_type="reduce"),
    "raw": lambda frame: frame.apply(len, axis=1, raw=True),
    "partial": lambda frame: frame.apply(functools.partial(of_row, plus=9), axis=1),
}
VALUES = {
    **{f"map {f.__name__}": lambda series, f=f: series.map(f) for f in (of_value, as_text, raising, itself)},
    **{
        f"apply {f.__name__}": lambda series, f=f: series.apply(f)
        for f in (of_value, as_text, raising, series_of)
    },
    "ignore": lambda series: series.map(as_text, na_action="ignore"),
}
GROUPS = {
    **{
        f.__name__: lambda groups, f=f: groups.apply(f)
        for f in (sizes, itself, top, by_turns, raising, as_text)
    },
    "agg": lambda groups: groups.agg(sizes),
    "transform": lambda groups: groups.transform(sizes),
    "transform itself": lambda groups: groups.transform(itself),
    "agg raises": lambda groups: groups.agg(raising),
}


def outcome(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run()
        except Exception as error:
            return type(error), str(error)


def compare(on_pandas, on_engine):
    expected = outcome(on_pandas)
    with (
        unittest.mock.patch.object(python_functions, "run_parts", parts_in_this_process),
        unittest.mock.patch.object(python_functions, "cpu_count", return_value=2),
        pd.route("cluster"),
    ):
        found = outcome(on_engine)
    if isinstance(expected, pandas.DataFrame):
        pandas.testing.assert_frame_equal(pandas.DataFrame(found), expected)
    elif isinstance(expected, pandas.Series):
        pandas.testing.assert_series_equal(pandas.Series(found), expected)
    else:
        assert found == expected


@pytest.fixture(autouse=True)
def from_zero():
    coverage_counts.reset()


random_ones = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES <= 50
)


@random_ones
@given(frame=frames(), name=st.sampled_from(sorted(ROWS)))
def test_functions_of_rows(frame, name):
    run = ROWS[name]
    compare(lambda: run(frame), lambda: run(pd.DataFrame(frame)))


@random_ones
@given(frame=frames(), name=st.sampled_from(sorted(VALUES)), column=st.integers(0, 20))
def test_functions_of_values(frame, name, column):
    run, number = VALUES[name], column % frame.shape[1]
    compare(lambda: run(frame.iloc[:, number]), lambda: run(pd.DataFrame(frame).iloc[:, number]))


@random_ones
@given(
    frame=frames(),
    name=st.sampled_from(sorted(GROUPS)),
    columns=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    one=st.booleans(),
    options=st.fixed_dictionaries(
        {"dropna": st.booleans(), "sort": st.booleans(), "as_index": st.booleans()}
    ),
)
def test_functions_of_groups(frame, name, columns, one, options):
    key, value = (frame.columns[number % frame.shape[1]] for number in columns)

    def run(subject):
        groups = subject.groupby(key, observed=False, **options)
        return GROUPS[name](groups[value] if one else groups)

    compare(lambda: run(frame), lambda: run(pd.DataFrame(frame)))


FRAME = pandas.DataFrame(
    {"a": numpy.arange(40) * 0.5, "k": numpy.arange(40) % 7}, index=[f"r{n}" for n in range(40)]
)


def where(_item):
    return os.getpid()


def test_the_engine_does_it():
    frame = pd.DataFrame(FRAME)
    with pd.route("cluster"):
        makers = [
            frame.apply(where, axis=1),
            frame.groupby("k").apply(where),
        ]
    for pids in makers:
        assert set(pids.iloc[:2]) == {os.getpid()}
        assert os.getpid() not in set(pids.iloc[2:])
    table = pd.coverage()
    assert {"DataFrame.apply", "DataFrameGroupBy.apply"} <= set(table[table.outcome == "native"].method)


def test_an_exception_names_the_row_here_and_there():
    def careful(row):
        if row.a == limit:
            raise ValueError(f"no {row.a}")
        return row.a

    for limit in (0.0, 15.0):
        with pd.route("cluster"), pytest.raises(ValueError, match=f"no {limit}") as caught:
            pd.DataFrame(FRAME).apply(careful, axis=1)
        assert caught.value.__notes__ == [f"raised for 'r{int(2 * limit)}', in DataFrame.apply"]
        with pd.route("cluster"), pytest.raises(ValueError, match=f"no {limit}") as caught:
            pd.DataFrame(FRAME)["a"].map(lambda value: careful(pandas.Series({"a": value})))
        assert caught.value.__notes__ == [f"raised for 'r{int(2 * limit)}', in Series.map"]
    assert "careful" in str(caught.value.__cause__)


def test_nothing_is_called_twice(tmp_path):
    def told(row):
        with open(tmp_path / "calls", "a") as file:
            file.write(f"{row.name}\n")
        return row.a

    with pd.route("cluster"):
        pd.DataFrame(FRAME).apply(told, axis=1)
    assert sorted((tmp_path / "calls").read_text().split()) == sorted(FRAME.index)


class Refusing:
    """What can be pickled once the function has seen it, and not later."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise TypeError("not this one")


def test_results_that_do_not_pickle_are_made_here():
    with pd.route("cluster"):
        made = pd.DataFrame(FRAME).apply(lambda row: Refusing(row.name), axis=1)
    assert [one.number for one in made] == list(FRAME.index)


@pytest.mark.parametrize("kind", ["list", "random", "numpy", "lock"])
def test_a_function_with_a_memory_stays(kind):
    import random

    seen, lock = [], threading.Lock()
    function = {
        "list": lambda row: seen.append(row.name),
        "random": lambda row: random.random(),
        "numpy": lambda row: numpy.random.rand(),
        "lock": lambda row: lock.locked(),
    }[kind]
    random.seed(1)
    numpy.random.seed(1)
    expected = FRAME.apply(function, axis=1)
    seen.clear()
    random.seed(1)
    numpy.random.seed(1)
    with pd.route("cluster"):
        found = pd.DataFrame(FRAME).apply(function, axis=1)
    pandas.testing.assert_series_equal(pandas.Series(found), expected)
    assert kind != "list" or seen == list(FRAME.index)
    table = pd.coverage()
    reason = "pickled" if kind == "lock" else "changes what it refers to"
    assert table[table.method == "DataFrame.apply"].reason.str.contains(reason).any()


def test_quick_functions_start_nothing():
    with unittest.mock.patch.object(python_functions, "run_parts", side_effect=AssertionError):
        pd.DataFrame(FRAME).apply(of_row, axis=1)
        with pd.route("pandas"):
            pd.DataFrame(FRAME).apply(where, axis=1)
    assert pd.coverage().empty


def test_in_a_worker_it_stays_there():
    import distpool

    def inside():
        import distpool.dataframe as pd

        with pd.route("cluster"):
            return set(pd.DataFrame({"a": range(9)}).apply(lambda row: os.getpid(), axis=1)) == {os.getpid()}

    with distpool.Pool(1) as pool:
        assert pool.apply(inside)
