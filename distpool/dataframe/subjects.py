"""What helpers of a frame are about before it is said what is wanted: a grouping, a window."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import pandas

from distpool.dataframe.header import Field, Header, from_pandas, labels

NOTHING = pandas.api.extensions.no_default


@dataclass(frozen=True)
class Grouping:
    """A header with its keys, before it is said what is wanted of each group.

    `again` makes pandas' own GroupBy of any frame, so that pandas can be asked on the empty one, and do it itself.
    """

    header: Header
    keys: tuple[Field, ...]
    key_labels: tuple[Hashable, ...]
    key_dtypes: tuple[Any, ...]
    again: Callable[[Any], Any]
    options: dict[str, Any]
    selection: Any = NOTHING

    def proto(self) -> Any:
        """pandas' GroupBy of the empty frame."""
        grouped = self.again(self.header.proto)
        return grouped if self.selection is NOTHING else from_pandas(lambda: grouped[self.selection])

    def columns(self) -> list[tuple[Hashable, Field]]:
        """The columns that an aggregate is made of, with their labels."""
        header = self.header
        if header.is_series:
            return [(header.proto.name, header.fields[0])]
        if self.selection is not NOTHING:
            names = labels(self.selection)
        else:
            names = [name for name in header.proto.columns if name not in self.key_labels]
        return [(name, header.fields[header.position(name)]) for name in names]

    @property
    def selects(self) -> bool:
        """Whether columns of a frame were chosen, as by `g["a"]`."""
        return self.selection is not NOTHING

    @property
    def one_column(self) -> bool:
        """Whether the aggregate of it is a Series."""
        chosen = self.selects and not isinstance(self.selection, list)
        return self.header.is_series or chosen


@dataclass(frozen=True)
class RollingSubject:
    """A moving window (`window` rows), or one that only grows (`window` is None), before it is said what is wanted."""

    header: Header
    window: int | None
    least: int
    center: bool


@dataclass(frozen=True)
class ResampleSubject:
    """Rows with the time by which they are put into bins, before it is said what is wanted of each bin.

    `grouper` makes pandas' own grouper of times, which says where bins begin and what they are called.
    """

    header: Header
    time: Field
    time_dtype: Any
    time_name: Hashable
    grouper: Callable[[], Any]
    on: Hashable = None
    selection: Any = NOTHING

    @property
    def one_column(self) -> bool:
        """Whether the aggregate of it is a Series."""
        return self.header.is_series or (
            self.selection is not NOTHING and not isinstance(self.selection, list)
        )

    def columns(self) -> list[tuple[Hashable, Field]]:
        """The columns that an aggregate is made of, with their labels."""
        header = self.header
        if header.is_series:
            return [(header.proto.name, header.fields[0])]
        chosen = [name for name in header.proto.columns if name != self.on]
        names = chosen if self.selection is NOTHING else labels(self.selection)
        return [(name, header.fields[header.position(name)]) for name in names]
