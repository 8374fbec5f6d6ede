"""Random programs give on distpool what they give on pandas, whichever way they run."""

import contextlib
import os
import unittest.mock
import warnings

import pandas
import polars
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distpool.dataframe as pd
from distpool.dataframe import polars_route, routes
from distpool.dataframe.plan import Memory, Project
from tests.dataframe.in_process import CLOSE, TINY, fragments
from tests.dataframe.random_programs import frames, steps

EXAMPLES = int(os.environ.get("DISTPOOL_DF_EXAMPLES", "50"))


def outcome(library, frame, program):
    """What a program gives: a frame, or the type of its error."""
    made = library.DataFrame(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for _, step in program:
                made = step(library, made)
            return made if library is pandas else pandas.DataFrame(made)
        except Exception as error:
            return type(error)


@contextlib.contextmanager
def chosen(route):
    """Everything by Polars, or as shipped, but with every frame big enough for the calls that start a plan."""
    if route == "mixed":
        with unittest.mock.patch.object(routes, "pays", return_value=True):
            yield
    elif route == "batches":
        with (
            pd.route("polars"),
            unittest.mock.patch.object(polars_route, "STREAMED_BYTES_MIN", 0),
            unittest.mock.patch.object(routes, "has_cores", return_value=True),
        ):
            yield
    elif route in ("shuffled", "gathered"):
        with fragments(TINY if route == "shuffled" else CLOSE):
            yield
    elif route == "failing":
        with pd.route("polars"), unittest.mock.patch.object(polars_route, "_run", failing(polars_route._run)):
            yield
    else:
        with pd.route(route):
            yield


def failing(run):
    """Let every second plan fail, as one does for a value in its rows; a source by itself does not."""

    def fails(root):
        source = isinstance(root, Project) and isinstance(root.input, Memory)
        if not source and root.content_name[0] % 2:
            raise polars.exceptions.ComputeError("planted")
        return run(root)

    return fails


@pytest.mark.parametrize("route", ["polars", "batches", "mixed", "failing", "shuffled", "gathered"])
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES <= 50
)
@given(frame=frames(), program=st.lists(steps(), min_size=1, max_size=5))
def test_random_programs(route, frame, program):
    expected = outcome(pandas, frame, program)
    with chosen(route):
        found = outcome(pd, frame, program)
    text = " -> ".join(name for name, _ in program)
    if expected is pyarrow.ArrowInvalid:
        # pandas cannot take rows of an array of Arrow's that has no chunk; a plan has no such array.
        return
    if isinstance(expected, type):
        assert found is expected, text
    else:
        assert not isinstance(found, type), f"{text}: {found}"
        pandas.testing.assert_frame_equal(found, expected, obj=text)
