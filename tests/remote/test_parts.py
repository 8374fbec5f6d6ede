"""A call that gives several values and raises after some of them: what stays, and what is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import distpool


@distpool.remote(num_returns=2, max_retries=1)
def count(log: str, failures: int) -> Iterator[Any]:
    with open(log, "a") as file:
        file.write("try\n")
    tried = len(Path(log).read_text().splitlines())
    yield [tried] * 100
    if tried <= failures:
        raise KeyError(f"try {tried}")
    yield "done"


def test_it_is_tried_again_and_gives_the_values_of_the_last_attempt(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    retrying = count.options(retry_exceptions=True)
    assert distpool.get(retrying.remote(log, failures=1)) == [[2] * 100, "done"]


@pytest.mark.parametrize(
    ("options", "tried"), [({}, 1), ({"retry_exceptions": True}, 2)], ids=["not", "in vain"]
)
def test_what_it_gave_before_it_raised_stays(tmp_path: Path, options: dict[str, bool], tried: int) -> None:
    first, second = count.options(**options).remote(str(tmp_path / "log"), failures=5)
    assert distpool.get(first) == [tried] * 100
    with pytest.raises(KeyError, match=f"try {tried}"):
        distpool.get(second)


@distpool.remote(retry_exceptions=True, max_retries=1)
def fewer_each_time(log: str) -> Iterator[int]:
    with open(log, "a") as file:
        file.write("try\n")
    left = 3 - len(Path(log).read_text().splitlines())
    yield from range(left)
    raise KeyError(f"after {left}")


def test_an_attempt_that_raises_earlier_than_the_one_before_is_heard(tmp_path: Path) -> None:
    *good, bad = fewer_each_time.remote(str(tmp_path / "log"))
    assert distpool.get(good) == [0, 1]
    with pytest.raises(KeyError, match="after 1"):
        distpool.get(bad)
