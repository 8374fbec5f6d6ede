"""Where a head keeps what must outlive it: a table of records, each durable before the head says what depends on it.

::

    HeadCore.restore ◄── load ── SqliteJournal (a file, WAL)      one transaction for each step of the head
    HeadCore ── Record ── keep ──►   or MemoryJournal (tests)      a kill at any moment: all of a step, or nothing

It is no log to be read from the start: a record replaces the former one of its key, so its size follows what is kept.
Not here: what is kept (``cores.head``), and who starts a head again (``head_keeper``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Protocol

from distpool.errors import ClusterError
from distpool.scheduler.messages import Record

__all__ = ["Journal", "MemoryJournal", "SqliteJournal"]

#: What is written here is read by whoever knows this number.
FORMAT = 1
#: A former head that has been killed may be dying still.
BUSY_S = 5.0


class Journal(Protocol):
    """What a head's shell needs of one."""

    def load(self) -> Iterator[Record]:
        """What is kept, the latest last."""
        ...

    def keep(self, records: Iterable[Record]) -> None:
        """Keep all of them, or none; durable on return. Raises ClusterError if that cannot be done."""
        ...


class MemoryJournal:
    """One that lives as long as its maker: for tests and the simulator."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def load(self) -> Iterator[Record]:
        """See ``Journal``."""
        for (table, key), value in list(self._kept.items()):
            yield Record(table, key, value)

    def keep(self, records: Iterable[Record]) -> None:
        """See ``Journal``."""
        for record in records:
            self._kept.pop((record.table, record.key), None)
            if record.value is not None:
                self._kept[record.table, record.key] = record.value


class SqliteJournal:
    """One in a file, which is made if it is not there, for this user's eyes only.

    Raises ClusterError: it is damaged, of another version, in use by a living head, or cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from None
        try:
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._base.execute(f"PRAGMA {setting}").fetchall()
            self._open_format()
        except BaseException as error:
            self._base.close()
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from None
            raise

    def _open_format(self) -> None:
        base = self._base
        base.execute("BEGIN IMMEDIATE")  # from here on the file is ours
        ((found,),) = base.execute("PRAGMA user_version")
        if found not in (0, FORMAT):
            raise ClusterError(
                f"the head's journal {self.path} is of another version of distpool ({found}, and this is {FORMAT}): "
                "use that version, or move the file away to begin anew"
            )
        base.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(number INTEGER PRIMARY KEY, kind TEXT, name TEXT, value BLOB, UNIQUE (kind, name))"
        )
        base.execute(f"PRAGMA user_version = {FORMAT}")
        base.execute("COMMIT")

    def load(self) -> Iterator[Record]:
        """See ``Journal``."""
        try:
            for table, key, value in self._base.execute(
                "SELECT kind, name, value FROM records ORDER BY number"
            ):
                yield Record(table, key, value)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def keep(self, records: Iterable[Record]) -> None:
        """See ``Journal``."""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            for record in records:
                if record.value is None:
                    self._base.execute(
                        "DELETE FROM records WHERE kind = ? AND name = ?", (record.table, record.key)
                    )
                else:
                    self._base.execute(
                        "INSERT OR REPLACE INTO records (kind, name, value) VALUES (?, ?, ?)",
                        (record.table, record.key, record.value),
                    )
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def _error(self, error: Exception) -> ClusterError:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return ClusterError(
                f"the head's journal {self.path} is in use: a head with it is running already"
            )
        remedy = ""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            remedy = "; move the file away to begin anew, without what was kept there"
        return ClusterError(f"the head's journal {self.path} cannot be used: {error}{remedy}")
