"""pandas' module-level functions: those with a native kernel, and all others, whose results become ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.header import NotNative, SchemaError
from distpool.dataframe.natives import TABLE
from distpool.dataframe.objects import adopt, header_of, is_lazy, wrap

# Functions whose first argument is a path, not a frame.
_READERS = frozenset(("read_parquet",))


def function(name: str) -> Callable[..., Any]:
    """Give pandas' function of this name, as ours."""
    original = getattr(pandas, name)
    native = TABLE["pandas"].get(name)

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        if native is not None and routes.forced != "pandas":
            subject = args[0] if args else None
            if name in _READERS or is_lazy(subject) or routes.forced:
                try:
                    result = native.run(
                        subject if name in _READERS else header_of(subject), *args[1:], **kwargs
                    )
                    coverage_counts.count("native", f"pandas.{name}")
                    return wrap(result)
                except SchemaError as error:
                    raise error.__cause__ from None  # type: ignore[misc]
                except (NotNative, TypeError, ValueError, AttributeError, OSError) as reason:
                    coverage_counts.count("fall-back", f"pandas.{name}", str(reason))
        return adopt(original(*args, **kwargs))

    return run


@functools.wraps(pandas.merge)
def merge(left: Any, right: Any, *args: Any, **kwargs: Any) -> Any:
    """Merge as the method does, for frames of ours."""
    if type(left) is not pandas.DataFrame and isinstance(left, pandas.DataFrame):
        return left.merge(right, *args, **kwargs)
    return adopt(pandas.merge(left, right, *args, **kwargs))
