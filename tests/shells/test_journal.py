"""The journal's file: what is kept is there again, whole steps or nothing, and what is wrong with it is said."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from distpool.errors import ClusterError
from distpool.scheduler.messages import Record
from distpool.scheduler.shells.journal import MemoryJournal, SqliteJournal

STEPS = [
    [Record("key", "a", b"1"), Record("key", "b", b"2")],
    [Record("node", "a", b"3"), Record("key", "a", b"4")],
    [Record("key", "b", None), Record("key", "none", None)],
]
LEFT = [Record("node", "a", b"3"), Record("key", "a", b"4")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def test_the_latest_of_each_key_is_there_again_in_the_order_of_writing(path: str) -> None:
    journal = SqliteJournal(path)
    in_memory = MemoryJournal()
    for step in STEPS:
        journal.keep(step)
        in_memory.keep(step)
    assert list(journal.load()) == list(in_memory.load()) == LEFT
    journal.close()
    again = SqliteJournal(path)
    assert list(again.load()) == LEFT
    again.close()


def test_nobody_else_may_read_it(path: str) -> None:
    journal = SqliteJournal(path)
    journal.keep(STEPS[0])
    modes = {stat.S_IMODE(os.stat(file).st_mode) for file in Path(path).parent.iterdir()}
    assert modes == {0o600}
    journal.close()


def test_a_kill_leaves_whole_steps_and_all_that_were_promised(path: str) -> None:
    code = f"""
from distpool.scheduler.messages import Record
from distpool.scheduler.shells.journal import SqliteJournal
journal, number = SqliteJournal({path!r}), 0
while True:
    number += 1
    journal.keep([Record("key", "one", b"%d" % number), Record("key", "other", b"%d" % number)])
    print(number, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(20):
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    said = child.communicate()[0].split()
    promised = int(said[-1]) if said else 20
    journal = SqliteJournal(path)
    one, other = [int(record.value or b"") for record in journal.load()]
    assert one == other >= promised
    journal.close()


def test_a_living_head_keeps_others_out(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distpool.scheduler.shells.journal.BUSY_S", 0.01)
    journal = SqliteJournal(path)
    with pytest.raises(ClusterError, match="is in use: a head with it is running already"):
        SqliteJournal(path)
    journal.close()


def test_one_of_another_version(path: str) -> None:
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(ClusterError, match=r"of another version of distpool \(99, and this is 1\)"):
        SqliteJournal(path)


def test_one_that_is_damaged(path: str) -> None:
    Path(path).write_bytes(b"no journal at all" * 1000)
    with pytest.raises(ClusterError, match="cannot be used: file is not a database; move the file away"):
        SqliteJournal(path)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot be used: .*No such file or directory"):
        SqliteJournal(str(tmp_path / "no" / "folder"))
