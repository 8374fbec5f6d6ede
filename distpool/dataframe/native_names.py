"""Which methods of which class have a native operation, and in which module: known without importing one.

Written by tests/dataframe/test_native_names.py, which compares it with the decorators of the operations.
"""

from __future__ import annotations

NAMES: dict[str, dict[str, str]] = {
    "operations.arithmetic": {
        "DataFrame": (
            "__add__ __and__ __eq__ __floordiv__ __ge__ __gt__ __le__ __lt__ __mod__ __mul__ __ne__ "
            "__or__ __radd__ __rand__ __rfloordiv__ __rmod__ __rmul__ __ror__ __rsub__ __rtruediv__ "
            "__rxor__ __sub__ __truediv__ __xor__ add div divide eq floordiv ge gt le lt mod mul "
            "multiply ne radd rfloordiv rmod rmul rsub rtruediv sub subtract truediv"
        ),
        "Series": (
            "__abs__ __add__ __and__ __eq__ __floordiv__ __ge__ __gt__ __invert__ __le__ __lt__ __mod__ "
            "__mul__ __ne__ __neg__ __or__ __radd__ __rand__ __rfloordiv__ __rmod__ __rmul__ __ror__ "
            "__rsub__ __rtruediv__ __rxor__ __sub__ __truediv__ __xor__ abs add between div divide eq "
            "floordiv ge gt isin le lt mod mul multiply ne radd rfloordiv rmod rmul round rsub rtruediv "
            "sub subtract truediv"
        ),
    },
    "operations.asof": {
        "pandas": "merge_asof",
    },
    "operations.combining": {
        "pandas": "concat",
    },
    "operations.datetimes": {
        "DatetimeProperties": (
            "ceil day day_name day_of_week day_of_year dayofweek dayofyear floor hour is_leap_year "
            "is_month_end is_month_start is_quarter_end is_quarter_start is_year_end is_year_start "
            "minute month month_name normalize quarter round second strftime weekday year"
        ),
        "TimedeltaProperties": "days total_seconds",
        "pandas": "to_datetime",
    },
    "operations.grouping": {
        "DataFrame": "groupby",
        "DataFrameGroupBy": "__getitem__ agg aggregate count first last max mean median min nunique size std sum var",
        "Series": "groupby",
        "SeriesGroupBy": "agg aggregate count first last max mean median min nunique size std sum var",
    },
    "operations.joins": {
        "DataFrame": "join merge",
    },
    "operations.missing": {
        "DataFrame": "dropna fillna isna isnull notna notnull",
        "Series": "dropna fillna isna isnull mask notna notnull where",
    },
    "operations.querying": {
        "DataFrame": "query",
    },
    "operations.reductions": {
        "Series": "all any count max mean median min nunique quantile std sum unique var",
    },
    "operations.resampling": {
        "DataFrame": "resample",
        "Resampler": "__getitem__ agg aggregate count first last max mean median min ohlc size std sum var",
        "Series": "resample",
    },
    "operations.reshaping": {
        "DataFrame": "melt pivot_table sort_index",
        "Series": "sort_index",
    },
    "operations.rows": {
        "DataFrame": "drop_duplicates head sort_values tail",
        "Series": "__getitem__ drop_duplicates head sort_values tail",
    },
    "operations.selection": {
        "DataFrame": (
            "__getitem__ __setitem__ assign astype copy drop filter get rename rename_axis reset_index "
            "select_dtypes set_index"
        ),
        "Series": "astype copy rename rename_axis reset_index to_frame",
    },
    "operations.strings": {
        "StringMethods": (
            "__getitem__ capitalize casefold center contains count endswith extract find fullmatch get "
            "isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper len lower "
            "lstrip match pad removeprefix removesuffix repeat replace rfind rstrip slice slice_replace "
            "startswith strip swapcase title translate upper zfill"
        ),
    },
    "operations.summaries": {
        "DataFrame": "count max mean min nlargest nsmallest sum",
        "Series": "nlargest nsmallest value_counts",
    },
    "operations.transforming": {
        "DataFrameGroupBy": "cumcount cummax cummin cumsum diff head rank shift tail transform",
        "SeriesGroupBy": "cumcount cummax cummin cumsum diff head rank shift tail transform",
    },
    "operations.values": {
        "DataFrame": "abs clip isin round",
        "Series": "clip map",
        "pandas": "cut",
    },
    "operations.windows": {
        "DataFrame": "bfill cummax cummin cumsum diff expanding ffill pct_change rank rolling shift",
        "Expanding": "max mean median min sum",
        "Rolling": "max mean median min sum",
        "Series": "bfill cummax cummin cumsum diff expanding ffill pct_change rank rolling shift",
    },
    "readers": {
        "pandas": "read_parquet",
    },
}

HEAVY = frozenset(
    (
        "DataFrame.drop_duplicates",
        "DataFrame.groupby",
        "Series.drop_duplicates",
        "Series.groupby",
    )
)

MEETS = frozenset(
    (
        "DataFrame.join",
        "DataFrame.merge",
    )
)
