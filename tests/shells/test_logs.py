"""A node's logs: parts of them, their bounds, and what is kept of workers that have ended."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from distpool.scheduler.messages.insights import LogFacts, LogPart, LogWanted, unpack_log, unpack_logs
from distpool.scheduler.shells import logs
from distpool.scheduler.shells.logs import Logs


def part(
    of: Logs, worker: int, offset: int, size: int = 100, living: dict[int, int] | None = None
) -> LogPart:
    about = msgspec.json.encode(LogWanted(worker, offset, size)).decode()
    return unpack_log(of.answer(about, {1: 11} if living is None else living))


def test_parts(tmp_path: Path) -> None:
    (tmp_path / "worker-1.log").write_bytes(b"0123456789")
    there = Logs(str(tmp_path), 0)
    assert part(there, 1, 0) == LogPart(0, b"0123456789", 10, False)
    assert part(there, 1, 4, 3) == LogPart(4, b"456", 10, False)
    assert part(there, 1, -1, 3) == LogPart(7, b"789", 10, False)
    assert part(there, 1, 10) == LogPart(10, b"", 10, False)
    assert part(there, 1, 0, living={}) == LogPart(0, b"0123456789", 10, True)
    assert "has printed nothing" in part(there, 2, 0).refusal
    assert "does not understand" in unpack_log(there.answer("rubbish", {})).refusal


def test_what_came_by_both_streams_is_one_log(tmp_path: Path) -> None:
    """In the order of the looks, whose offsets stay; a reader who follows gets each byte once."""
    there, read = Logs(str(tmp_path), 0), b""
    for number in range(5):
        with open(tmp_path / "worker-1.log", "ab") as out, open(tmp_path / "worker-1.err", "ab") as err:
            out.write(b"o%d\n" % number)
            err.write(b"e%d\n" % number if number % 2 else b"")
        assert there.grown([1]) == [1]
        assert there.grown([1]) == []
        if number != 3:
            read += part(there, 1, len(read)).data
    assert read == b"o0\no1\ne1\no2\no3\ne3\no4\n"
    assert part(there, 1, 0, 4) == LogPart(0, b"o0\no", 21, False)
    assert part(there, 1, 4, 6) == LogPart(4, b"1\ne1\no", 21, False)
    assert part(there, 1, -1, 5) == LogPart(16, b"3\no4\n"[-5:], 21, False)
    assert unpack_logs(there.answer("", {1: 11})).logs[1] == LogFacts(1, 11, 21, False)
    there.bury(1, 11)
    assert part(there, 1, 0, living={}).data == read
    assert [(one.stream, one.end, one.data) for one in there.last_printed(1)] == [
        (1, 15, b"o0\no1\no2\no3\no4\n"),
        (2, 6, b"e1\ne3\n"),
    ]


def test_what_others_can_ask_for_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(2 * logs.PART_BYTES_MAX))
    assert len(part(Logs(str(tmp_path), 0), 0, 0, 1 << 40).data) == logs.PART_BYTES_MAX


def test_the_list_names_who_has_ended(tmp_path: Path) -> None:
    there = Logs(str(tmp_path), 0)
    (tmp_path / "log").write_bytes(b"x")
    (tmp_path / "worker-1.log").write_bytes(b"xx")
    (tmp_path / "worker-2.log").write_bytes(b"")
    (tmp_path / "worker-3.log").write_bytes(b"xxx")
    there.bury(2, 12)
    there.bury(3, 13)
    assert not (tmp_path / "worker-2.log").exists(), "it has printed nothing"
    assert unpack_logs(there.answer("", {1: 11})).logs == (
        LogFacts(0, os.getpid(), 1, False),
        LogFacts(3, 13, 3, True),
        LogFacts(1, 11, 2, False),
    )


def test_the_logs_of_the_latest_that_have_ended_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "ENDED_MAX", 2)
    there = Logs(str(tmp_path), 0)
    for worker in range(1, 5):
        (tmp_path / f"worker-{worker}.log").write_text("x")
        (tmp_path / f"worker-{worker}.err").write_text("x" if worker % 2 else "")
        there.bury(worker, 10 + worker)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"worker-{worker}.{kind}" for worker in (3, 4) for kind in ("err", "log")
    ]


def test_what_is_too_long_loses_its_beginning_and_keeps_its_offsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "TOTAL_BYTES_MAX", 0)
    path = tmp_path / "worker-1.log"
    text = b"".join(b"%07d\n" % number for number in range(1 << 17))
    with open(path, "ab") as writer:
        writer.write(text)
        writer.flush()
        there = Logs(str(tmp_path), 0)
        there.tidy({1: 11})
        facts = path.stat()
        assert facts.st_blocks * 512 <= logs.ONE_BYTES_MIN
        writer.write(b"goes on\n")
        writer.flush()
    if facts.st_size < len(text):
        pytest.skip("this file system has no holes")
    text += b"goes on\n"
    first = part(there, 1, 0, 1 << 20)
    assert 0 < first.offset < len(text)
    assert first.data == text[first.offset : first.offset + len(first.data)]
    assert part(there, 1, -1, 8).data == b"goes on\n"


def test_a_programs_own_node_has_none(tmp_path: Path) -> None:
    there = Logs(str(tmp_path), 99)
    there.bury(1, 11)
    assert unpack_logs(there.answer("", {1: 11})).elsewhere == 99
