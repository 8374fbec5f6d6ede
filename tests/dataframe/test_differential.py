"""Random programs give on distpool what they give on pandas, whichever way they run."""

import os
import warnings

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distpool.dataframe as pd
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


@pytest.mark.parametrize("route", ["polars", ""])
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES <= 50
)
@given(frame=frames(), program=st.lists(steps(), min_size=1, max_size=5))
def test_random_programs(route, frame, program):
    expected = outcome(pandas, frame, program)
    with pd.route(route):
        found = outcome(pd, frame, program)
    text = " -> ".join(name for name, _ in program)
    if isinstance(expected, type):
        assert found is expected, text
    else:
        assert not isinstance(found, type), f"{text}: {found}"
        pandas.testing.assert_frame_equal(found, expected, obj=text)
