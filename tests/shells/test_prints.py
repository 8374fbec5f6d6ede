"""What of a worker's files is sent, when, and how much of it: with the files, and without a worker."""

from __future__ import annotations

import math
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distpool.scheduler.cores.printing import STDERR, STDOUT
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import Remarks, decode
from distpool.scheduler.shells import worker
from distpool.scheduler.shells.prints import FRAME_BYTES, Log, Prints, Text
from distpool.scheduler.shells.remarks import WINDOW_BYTES, Outbox

LIMITS = msgspec.structs.replace(DEFAULTS, prints_burst_bytes=100, prints_bytes_s=10)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(str(tmp_path), 1)
    yield made
    for fd in (made.stdout_fd, made.stderr_fd):
        os.close(fd)


def out(log: Log, text: str) -> None:
    os.write(log.stdout_fd, text.encode())


def err(log: Log, text: str) -> None:
    os.write(log.stderr_fd, text.encode())


def told(frames: list[bytes]) -> list[tuple[Any, ...]]:
    """Without the worker of a worker's, of which there is none here."""
    return [(kind, *rest) for kind, _, *rest in map(pickle.loads, frames)]


def look(prints: Prints, now: float = 0.0, room: float = math.inf, **how: bool) -> list[tuple[Any, ...]]:
    return told(prints.look(room, now, **{"whole": True, **how}))


def test_each_byte_is_sent_once_by_its_stream(log: Log) -> None:
    prints = Prints(log)
    assert not prints.has_grown
    assert look(prints) == []
    out(log, "one\n")
    err(log, "two\n")
    assert prints.has_grown
    assert look(prints) == [("prints", STDOUT, 0, b"one\n"), ("prints", STDERR, 0, b"two\n")]
    assert not prints.has_grown
    out(log, "three\n")
    assert look(prints) == [("prints", STDOUT, 4, b"three\n")]
    assert look(prints) == []


def test_what_pythons_streams_write_is_in_order(log: Log) -> None:
    prints = Prints(log)
    stdout = Text(STDOUT, log.stdout_fd, log, sys.__stdout__)
    stderr = Text(STDERR, log.stderr_fd, log, sys.__stderr__)
    for number in range(2):
        print("o", number, file=stdout)
        print("e", number, file=stderr)
        err(log, "c\n")
    assert look(prints) == [
        ("prints", STDOUT, 0, b"o 0\n"),
        ("prints", STDERR, 0, b"e 0\nc\n"),
        ("prints", STDOUT, 4, b"o 1\n"),
        ("prints", STDERR, 6, b"e 1\nc\n"),
    ]
    assert not log.cuts
    assert (stdout.name, stdout.encoding) == (sys.__stdout__.name, sys.__stdout__.encoding)


def test_part_of_a_line_waits_for_the_rest_but_not_for_long(log: Log) -> None:
    prints = Prints(log)
    out(log, "one\nha")
    err(log, "half")
    assert look(prints, whole=False) == [("prints", STDOUT, 0, b"one\n")]
    assert prints.owes
    assert not prints.more
    out(log, "lf\n")
    assert look(prints, whole=False) == [
        ("prints", STDOUT, 4, b"half\n"),
        ("prints", STDERR, 0, b"half"),
    ], "nothing was added to the other one"
    assert not prints.owes
    out(log, "end")
    assert look(prints) == [("prints", STDOUT, 9, b"end")], "before a result all goes"


def test_what_there_is_no_room_for_stays(log: Log) -> None:
    prints = Prints(log)
    out(log, "one\ntwo\nthree\n")
    assert look(prints, room=0) == []
    assert prints.more
    assert look(prints, room=10) == [("prints", STDOUT, 0, b"one\ntwo\n")], "whole lines"
    assert prints.more
    out(log, "x" * 20 + "\n")
    assert look(prints, room=9) == [("prints", STDOUT, 8, b"three\n")]
    assert look(prints, room=9) == [("prints", STDOUT, 14, b"x" * 9)], "unless it is one"
    assert look(prints) == [("prints", STDOUT, 23, b"x" * 11 + b"\n")]
    assert not prints.more


def test_frames_are_small(log: Log) -> None:
    prints = Prints(log)
    out(log, "line\n" * FRAME_BYTES)
    frames = look(prints)
    assert max(len(data) for *_, data in frames) <= FRAME_BYTES
    assert all(data.endswith(b"\n") for *_, data in frames)
    assert b"".join(data for *_, data in frames) == b"line\n" * FRAME_BYTES


def test_too_much_is_withheld_and_said_once_when_more_may_go(log: Log) -> None:
    prints = Prints(log, LIMITS)
    out(log, "nine....\n" * 20)
    assert look(prints) == [("prints", STDOUT, 0, b"nine....\n" * 11)]
    assert prints.owes
    out(log, "more\n")
    err(log, "x\n")
    assert look(prints, 0.5) == []
    assert look(prints, 1.0) == [("withheld", [(STDOUT, 99, 185), (STDERR, 0, 2)])], (
        "though nothing is printed"
    )
    assert not prints.owes
    out(log, "ten......\n")
    assert look(prints, 1.1) == [("prints", STDOUT, 185, b"ten......\n")]


def test_at_the_end_all_is_said(log: Log) -> None:
    prints = Prints(log, LIMITS)
    out(log, "nine....\n" * 20 + "end")
    assert look(prints, last=True) == [
        ("prints", STDOUT, 0, b"nine....\n" * 11),
        ("withheld", [(STDOUT, 99, 183)]),
    ]


def test_a_file_that_others_truncate_goes_on(log: Log) -> None:
    prints = Prints(log)
    out(log, "before\n")
    look(prints)
    os.ftruncate(log.stdout_fd, 0)
    out(log, "after\n")
    assert look(prints) == []
    out(log, "and more\n")
    assert look(prints) == [("prints", STDOUT, 6, b"and more\n")]


def test_the_program_has_a_window_of_it_and_the_rest_waits_in_the_file(log: Log) -> None:
    outbox = Outbox()
    outbox.prints = Prints(log)
    sent: list[bytes] = []
    out(log, "a line\n" * (3 * WINDOW_BYTES // 7))
    outbox.send_by(sent.append)
    remarks = [decode(message) for message in sent]
    assert all(isinstance(one, Remarks) and not one.dropped for one in remarks)
    size = sum(len(frame) for one in remarks for frame in one.frames)
    assert WINDOW_BYTES * 0.9 < size < WINDOW_BYTES * 1.1
    assert sum(map(len, outbox._frames)) < FRAME_BYTES, "next to nothing waits in memory"
    assert outbox.waiting
    outbox.send_by(sent.append)
    assert len(sent) == len(remarks)
    outbox.seen(size)
    assert outbox.rung, "there is room again, and the second thread is told"
    outbox.send_by(sent.append)
    assert len(sent) > len(remarks)


def test_what_was_printed_before_a_record_comes_before_it(log: Log) -> None:
    outbox = Outbox()
    outbox.prints = Prints(log)
    out(log, "one\n")
    outbox.put(pickle.dumps(("record", "", 1)))
    out(log, "two\n")
    sent: list[Any] = []
    outbox.send_by(lambda message: sent.extend(decode(message).frames))  # type: ignore[union-attr]
    assert [one[-1] for one in told(sent)] == [b"one\n", 1, b"two\n"]


def test_where_there_is_no_room_at_all_it_is_sent_when_there_is(log: Log) -> None:
    outbox = Outbox()
    outbox.prints = Prints(log)
    outbox._unseen_bytes = WINDOW_BYTES
    out(log, "one\n")
    outbox.send_by(lambda message: pytest.fail("there is no room"))
    assert not outbox.rung
    outbox.seen(WINDOW_BYTES)
    assert outbox.rung


def test_an_interrupt_waits_until_what_was_read_is_put_where_it_is_sent_from(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox()
    outbox.prints = Prints(log)
    during: list[bool] = []

    def look(*_: object, **__: object) -> list[bytes]:
        during.append(worker._is_delicate(sys._getframe()))
        return []

    monkeypatch.setattr(outbox.prints, "look", look)
    out(log, "one\n")
    outbox.put(b"a record")
    assert during == [True]
    assert not worker._is_delicate(sys._getframe())
