"""The session directory: where a session's sockets and mailboxes are, and how one tells that a session is dead.

Whoever starts a session makes the directory and locks ``lock`` in it; every process of the session inherits that
descriptor, and with it the lock. The kernel drops the lock with the last of them, however they end. So a directory
whose lock can be had is a dead session's, and the next session's start removes it: its own user's only.

A start and a sweep may meet: the sweeper takes the lock of a directory that is being made. The maker sees, once
it has the lock, that the directory is gone, and makes another.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

PREFIX = "distpool"
#: The longest name in the directory ("/owner-" and an owner's id) may have so many bytes, ...
NAME_BYTES_MAX = 40
#: ... because the path of a unix socket may have no more than this many.
SOCKET_PATH_BYTES_MAX = 107
#: A directory without a lock file is being made at this moment, unless it is older than this.
LOCKLESS_AGE_S = 3600.0


def create() -> tuple[str, int]:
    """Make a session directory. Returns its path and the descriptor of its lock, which children may inherit.

    Raises OSError if no candidate directory is writable and short enough.
    """
    for parent in _parents():
        while True:
            path = f"{parent}/{PREFIX}-{os.getuid()}-{os.urandom(5).hex()}"
            if len(os.fsencode(path)) + NAME_BYTES_MAX > SOCKET_PATH_BYTES_MAX:
                break
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            except OSError:
                break
            lock = _lock(path)
            if lock is not None:
                return path, lock
    places = ", ".join(_parents())
    raise OSError(
        f"no place for a session directory: none of {places} is writable and has a short enough path; set TMPDIR"
    )


def _lock(path: str) -> int | None:
    """Take the lock of a new directory; None if a sweeper was faster and has removed it."""
    try:
        lock = os.open(f"{path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None


def remove(path: str) -> None:
    """Remove a session directory with all in it, as far as it is there. The only directories in it are empty ones."""
    try:
        for name in os.listdir(path):
            for away in (os.unlink, os.rmdir):
                try:
                    away(f"{path}/{name}")
                    break
                except OSError:
                    pass
        os.rmdir(path)
    except OSError:
        pass


def sweep() -> list[str]:
    """Remove our own dead sessions' directories. Returns their paths."""
    swept = []
    mine = f"{PREFIX}-{os.getuid()}-"
    for parent in _parents():
        try:
            names = os.listdir(parent)
        except OSError:
            continue
        for name in names:
            path = f"{parent}/{name}"
            if name.startswith(mine) and _is_own_directory(path) and sweep_one(path):
                swept.append(path)
    return swept


def living() -> list[str]:
    """Our own sessions' directories, those of which a process is alive."""
    mine = f"{PREFIX}-{os.getuid()}-"
    found = []
    for parent in _parents():
        try:
            names = os.listdir(parent)
        except OSError:
            continue
        found += [path for name in names if name.startswith(mine) and _is_alive(path := f"{parent}/{name}")]
    return sorted(found)


def _is_alive(path: str) -> bool:
    """Whether somebody has the lock of this session."""
    try:
        lock = os.open(f"{path}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return _is_own_directory(path)
    finally:
        os.close(lock)


def _is_own_directory(path: str) -> bool:
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()


def sweep_one(path: str) -> bool:
    """Remove this session's directory if no process of the session is left. Says whether it did."""
    try:
        lock = os.open(f"{path}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _sweep_lockless(path)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def _sweep_lockless(path: str) -> bool:
    try:
        if time.time() - os.stat(path).st_mtime < LOCKLESS_AGE_S:
            return False
    except OSError:
        return False
    remove(path)
    return True


def _parents() -> list[str]:
    """Where session directories may be, best first."""
    parents = [os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"]
    return list(dict.fromkeys(os.path.realpath(parent) for parent in parents if parent))
