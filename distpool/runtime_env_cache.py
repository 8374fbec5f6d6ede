"""The folder on each machine that keeps what environments need: unpacked archives and virtual environments.

::

    ~/.cache/distpool/                 0700, the user's own
      work-3f2a....lock                {"size_bytes": ..., "session": ...}; empty: being made, or never finished
      work-3f2a...../                  what it is about
      venv-77c0....lock
      venv-77c0...../

    open ─► shared lock ─► whole? ── yes ──► used: the lock is held for as long as this process lives
                             └─ no ─► exclusive lock ─► make ─► write the lock file ─► shared lock

An entry is made once, by whoever has its lock alone; many may come at the same time and wait. The kernel drops the
lock of a process that dies, so an entry that was not finished is found as such, removed and made anew, at the place
where it will be used (a virtual environment cannot be moved). What an entry is made with, such as pip, inherits the
lock: as long as that writes, nobody else does.

Who has made an entry sweeps what no process holds: what was never finished, belongs to a session that is gone, or has
not been used for a month; then, as long as all is more than ``DISTPOOL_CACHE_SIZE_MAX`` bytes (10 GiB), what was used
longest ago.

Programs run from here, so a folder that belongs to somebody else, or that others may write to, is refused.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from typing import Any

from distpool.exceptions import RuntimeEnvSetupError

__all__ = ["Cache", "Deadline", "cache_directory"]

DIRECTORY_VARIABLE = "DISTPOOL_CACHE_DIR"
SIZE_VARIABLE = "DISTPOOL_CACHE_SIZE_MAX"
SIZE_BYTES_MAX = 10 << 30
AGE_S_MAX = 30 * 86400.0
#: How often a lock that somebody has is tried.
_POLL_S = 0.05
#: Locks that this process holds on entries that it uses, by path.
_held: dict[str, int] = {}


def cache_directory() -> str:
    """Where it is: ``DISTPOOL_CACHE_DIR``, else ``distpool`` in the user's folder for caches."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    if given:
        return os.path.abspath(os.path.expanduser(given))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.abspath(home), "distpool")


class Deadline:
    """When a set-up must be done; ``seconds`` of -1: never."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = None if seconds < 0 else time.monotonic() + seconds

    @property
    def left_s(self) -> float | None:
        """Seconds that are left, not below 0; None if there is no limit."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def error(self, doing: str) -> RuntimeEnvSetupError:
        """What to raise when it is over."""
        return RuntimeEnvSetupError(
            f"it was not ready within {self.seconds:g} s: {doing}; give it more time with "
            "config={'setup_timeout_seconds': ...}"
        )


class Cache:
    """The entries of one folder, which is made if it is not there.

    Raises:
        RuntimeEnvSetupError: the folder cannot be made, or is not safe.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            facts = os.stat(directory)
        except OSError as error:
            raise self._cannot(error) from error
        if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RuntimeEnvSetupError(
                f"others may write to {directory}, and programs would run from it: make it yours alone (chmod go-w), "
                f"or set {DIRECTORY_VARIABLE} to a folder of your own"
            )

    def use(self, name: str, make: Callable[[str, int], None], deadline: Deadline, session: str = "") -> str:
        """The folder of an entry, which stays at least until this process ends.

        Args:
            name: of the entry; another content has another name.
            make: fills the empty folder that it is given; the second argument is the lock, for its children.
            deadline: until when to wait for somebody else who makes it.
            session: the directory of a session without which the entry is of no use.

        Raises:
            RuntimeEnvSetupError: no room, no permission, or the deadline is over.
            What ``make`` raises, but for OSErrors.
        """
        path = f"{self.directory}/{name}"
        if path in _held:
            if os.path.isdir(path):
                return path
            os.close(_held.pop(path))
        made = False
        try:
            while True:
                lock = self._locked(path, fcntl.LOCK_SH, deadline)
                if _is_whole(lock, path):
                    os.utime(lock)
                    break
                if not os.path.isdir(path) and os.fstat(lock).st_size:
                    os.unlink(
                        f"{path}.lock"
                    )  # somebody removed the folder alone; its users may hold this lock for long
                os.close(lock)
                lock = self._locked(path, fcntl.LOCK_EX, deadline)
                try:
                    if not _is_whole(lock, path):
                        self._make(lock, path, make, session)
                        made = True
                finally:
                    os.close(lock)  # a sweeper may come before the lock is had again, hence the loop
        except OSError as error:
            raise self._cannot(error) from error
        _held[path] = lock
        if made:
            self.sweep()
        return path

    def _locked(self, path: str, kind: int, deadline: Deadline) -> int:
        """The lock of an entry, had in this manner; of the lock file that is there, not of one that was swept."""
        while True:
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                while not _tried(lock, kind):
                    left_s = deadline.left_s
                    if left_s is not None and left_s <= 0:
                        raise deadline.error(f"another worker is still making {path}")
                    time.sleep(_POLL_S if left_s is None else min(_POLL_S, left_s))
                if os.fstat(lock).st_nlink:
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def _make(self, lock: int, path: str, make: Callable[[str, int], None], session: str) -> None:
        os.ftruncate(lock, 0)
        _remove(path)
        os.mkdir(path, 0o700)
        try:
            make(path, lock)
        except BaseException:
            _remove(path)
            raise
        where = [_host(), session] if session else None
        facts = {"size_bytes": _size_bytes(path), "session": where}
        os.pwrite(lock, json.dumps(facts).encode(), 0)

    def _cannot(self, error: OSError) -> RuntimeEnvSetupError:
        place = f"{self.directory}, where runtime environments are kept"
        remedy = f"set {DIRECTORY_VARIABLE} to a folder on a disk with room, on every node"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return RuntimeEnvSetupError(f"there is no room in {place} ({error}): free some, or {remedy}")
        return RuntimeEnvSetupError(f"cannot write to {place} ({error}): {remedy}")

    # ---------------------------------------------------------------------------------- sweeping

    def sweep(self, now: float | None = None) -> list[str]:
        """Remove what is of no use any more, and what is too much. Returns the names. Raises nothing."""
        now = time.time() if now is None else now
        swept, entries = [], self._entries()
        for _, name, facts, used in entries:
            if (_is_useless(facts) or now - used > AGE_S_MAX) and self._sweep_one(name):
                swept.append(name)
        left = [entry for entry in entries if entry[1] not in swept]
        total, size_max = sum(entry[0] for entry in left), _size_max()
        for size, name, _, _ in sorted(left, key=lambda entry: entry[3]):
            if total <= size_max:
                break
            if self._sweep_one(name):
                swept.append(name)
                total -= size
        return swept

    def _entries(self) -> list[tuple[int, str, dict[str, Any], float]]:
        """Size, name, facts, and when it was last used, of each that is there."""
        found = []
        try:
            names = os.listdir(self.directory)
        except OSError:
            return []
        for name in names:
            if name.endswith(".lock"):
                try:
                    with open(f"{self.directory}/{name}", "rb") as file:
                        facts = _parsed(file.read())
                        used = os.fstat(file.fileno()).st_mtime
                except OSError:
                    continue
                found.append((int(facts.get("size_bytes", 0)), name.removesuffix(".lock"), facts, used))
        return found

    def _sweep_one(self, name: str) -> bool:
        path = f"{self.directory}/{name}"
        try:
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            if not _tried(lock, fcntl.LOCK_EX) or not os.fstat(lock).st_nlink:
                return False
            os.ftruncate(lock, 0)
            _remove(path)
            os.unlink(f"{path}.lock")
            return True
        except OSError:
            return False
        finally:
            os.close(lock)


def release_all() -> None:
    """Let go of what this process has used. For tests, and for a process that gives up its environment."""
    while _held:
        os.close(_held.popitem()[1])


def _tried(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _host() -> str:
    """Folders for caches are often shared by machines, session directories are not."""
    return os.uname().nodename


def _is_useless(facts: dict[str, Any]) -> bool:
    """Whether an entry was never finished, or its session is gone."""
    if not facts:
        return True
    where = facts.get("session")
    if not where:
        return False
    host, session = where
    return bool(host == _host() and not os.path.isdir(session))


def _is_whole(lock: int, path: str) -> bool:
    return bool(_parsed(os.pread(lock, 4096, 0))) and os.path.isdir(path)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _remove(path: str) -> None:
    """Remove a folder, also where folders in it were made read-only."""

    def allow_and_retry(function: Callable[[str], Any], name: str, _error: Any) -> None:
        if not os.path.lexists(name):
            return
        os.chmod(os.path.dirname(name), 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            _remove(name)
        else:
            os.unlink(name)

    shutil.rmtree(path, onerror=allow_and_retry)


def _size_bytes(path: str) -> int:
    """What a folder takes on the disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(f"{folder}/{name}").st_blocks * 512
            except OSError:
                continue
    return total


def _size_max() -> int:
    try:
        return int(os.environ.get(SIZE_VARIABLE) or SIZE_BYTES_MAX)
    except ValueError:
        return SIZE_BYTES_MAX
