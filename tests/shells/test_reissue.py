"""What workers remark reaches the program's handlers in each worker's order, though it comes by two links."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from distpool.scheduler.messages import Remarks, decode
from distpool.scheduler.shells.reissue import Reissue
from distpool.scheduler.shells.remarks import Outbox
from distpool.scheduler.shells.show import Show
from distpool.scheduler.shells.worker import Worker


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logging.getLogger("remarked").addHandler(handler)
    yield handler
    logging.getLogger("remarked").removeHandler(handler)


@pytest.fixture
def reissue() -> Iterator[Reissue]:
    reissue = Reissue(lambda lease, count: None, lambda: None, Show(""))
    yield reissue
    reissue.drain()


def remarks(number: int, text: str) -> Remarks:
    record = {"name": "remarked", "levelno": logging.ERROR, "msg": text, "args": None}
    return Remarks([pickle.dumps(("record", record, {}, []), 5)], 0, number)


def test_one_that_has_overtaken_others_waits_for_them(reissue: Reissue, kept: Kept) -> None:
    for number in (3, 1, 4, 2):
        last = reissue.put("a", remarks(number, f"a{number}"))
    reissue.put("b", remarks(1, "b1"))
    reissue.wait_handled()
    assert [text for text in kept.texts if text[0] == "a"] == ["a1", "a2", "a3", "a4"]
    assert "b1" in kept.texts
    assert reissue.is_past(last)


def test_a_result_behind_an_early_one_waits_for_what_that_waits_for(reissue: Reissue, kept: Kept) -> None:
    number = reissue.put("a", remarks(2, "a2"))
    assert not reissue.is_past(number)
    assert kept.texts == []
    reissue.put("a", remarks(1, "a1"))
    reissue.wait_handled()
    assert reissue.is_past(number)
    assert kept.texts == ["a1", "a2"]


def test_of_a_worker_that_has_ended_all_that_came_is_handled(reissue: Reissue, kept: Kept) -> None:
    reissue.put("a", remarks(3, "a3"))
    reissue.put("a", remarks(2, "a2"))
    reissue.forget("a")
    reissue.wait_handled()
    assert kept.texts == ["a2", "a3"]
    reissue.put("a", remarks(2, "never claimed"))
    reissue.drain()
    assert kept.texts == ["a2", "a3", "never claimed"]


def test_what_follows_by_the_other_link_tells_that_something_went_aside() -> None:
    """Else a result could overtake what its own task has logged."""
    outbox = Outbox()
    by: dict[str, list[Any]] = {"data": [], "control": []}

    def send(link: str, *, aside: bool = False) -> None:
        outbox.send_by(lambda frame: by[link].append(decode(frame)), aside=aside)

    send("control", aside=True)
    assert not outbox.is_due, "nothing was sent, so nothing has to be told"
    outbox._put(b"first")
    send("control", aside=True)
    assert outbox.is_due
    send("data")
    send("data")
    outbox._put(b"second")
    send("data")
    assert by["control"] == [Remarks([b"first"], 0, 1)]
    assert by["data"] == [Remarks([], 0, 2), Remarks([b"second"], 0, 3)]


def test_a_workers_results_tell_of_what_went_aside_though_nothing_else_is_to_be_said() -> None:
    outbox, sent = Outbox(), list[bytes]()
    outbox._put(b"of a task that still runs")
    outbox.send_by(lambda frame: None, aside=True)
    worker: Any = SimpleNamespace(outbox=outbox, finished=lambda busy_s: b"results", _send=sent.append)
    worker._send_remarks = lambda: Worker._send_remarks(worker)
    Worker._flush(worker, 0.0)
    assert decode(sent[0]) == Remarks([], 0, 2)
    assert sent[1:] == [b"results"]
