"""The tables of the questions, made of random numbers once for each size and kept as parquet files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

#: So many values have the columns of few values.
FEW = 100
_PARTNERS = 0.9


def generate(folder: Path, rows: int) -> Path:
    """Make the tables of this size below a folder, if they are not there; return where they are."""
    made = folder / f"{rows}"
    if not (made / "done").exists():
        os.makedirs(made, exist_ok=True)
        for name, table in {**_grouped(rows), **_joined(rows)}.items():
            table.to_parquet(made / f"{name}.parquet", index=False)
        (made / "done").touch()
    return made


def _grouped(rows: int) -> dict[str, Any]:
    """One table: keys of few and of many values, as text and as numbers, and three columns of values."""
    import numpy
    import pandas

    random = numpy.random.default_rng(108)
    many = max(1, rows // FEW)

    def text(pattern: str, count: int) -> Any:
        names = pandas.Series([pattern % number for number in range(1, count + 1)], dtype="str")
        return names.take(random.integers(0, count, rows)).reset_index(drop=True)

    def number(count: int) -> Any:
        return random.integers(1, count + 1, rows)

    table = {
        "id1": text("id%03d", FEW),
        "id2": text("id%03d", FEW),
        "id3": text("id%010d", many),
        "id4": number(FEW),
        "id5": number(FEW),
        "id6": number(many),
        "v1": number(5),
        "v2": number(15),
        "v3": (random.random(rows) * 100).round(6),
    }
    return {"grouped": pandas.DataFrame(table)}


def _joined(rows: int) -> dict[str, Any]:
    """A table of so many rows, and three that it is joined with: a millionth of it, a thousandth, and as many."""
    import numpy
    import pandas

    random = numpy.random.default_rng(108)
    sizes = {"small": max(10, rows // 1_000_000), "medium": max(10, rows // 1000), "big": rows}
    keys = dict(zip(("id1", "id2", "id3"), sizes.values(), strict=True))

    def columns(names: list[str], count: int, *, unique: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in names:
            # Nine keys of ten are on both sides.
            highest = round(keys[name] / _PARTNERS)
            if name == unique:
                made[name] = random.permutation(highest)[:count] + 1
            else:
                made[name] = random.integers(1, highest + 1, count)
        return made

    def with_text(table: dict[str, Any]) -> Any:
        frame = pandas.DataFrame(table)
        for name, other in zip(("id1", "id2", "id3"), ("id4", "id5", "id6"), strict=True):
            if name in frame:
                frame[other] = "id" + frame[name].astype("str")
        return frame

    left = with_text(columns(["id1", "id2", "id3"], rows))
    left["v1"] = (random.random(rows) * 100).round(6)
    tables = {"left": left}
    for at, (size, count) in enumerate(sizes.items()):
        names = ["id1", "id2", "id3"][: at + 1]
        table = with_text(columns(names, count, unique=names[-1]))
        table["v2"] = (random.random(count) * 100).round(6)
        tables[size] = table
    return tables
