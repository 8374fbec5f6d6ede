"""A copy on the disk of what was put, beside the one in the store: a file of its own, for as long as somebody needs it.

::

    DIR/distpool-durable-XXXX/      of one process, from its first copy to its last; it holds the lock
        lock                        whoever can lock it sees that the process is dead, and removes the folder
        1, 2, ...                   one copy each; gone when its DurableCopy is

DIR is DISTPOOL_DURABLE_DIR, or where the store's own file is. What is read back is what was written, or an error: its
digest is remembered with the copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from typing import Any

from distpool.errors import DiskFull, StoreError

DIRECTORY_VARIABLE = "DISTPOOL_DURABLE_DIR"
_PREFIX = "distpool-durable-"


class _Folder:
    """This process's."""

    def __init__(self, parent: str) -> None:
        _sweep(parent)
        self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        self._lock_fd = os.open(os.path.join(self.path, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.files = 0
        self.names = 0

    def remove(self) -> None:
        """Nothing is in it any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock_fd)


_folders: dict[str, _Folder] = {}  # by their parent
#: Reentrant: an allocation under it may run the ``__del__`` of a copy.
_lock = threading.RLock()


class DurableCopy:
    """One copy. Its file goes with this object, in the process that has made it."""

    def __init__(self, pieces: Iterable[Any], parent: str) -> None:
        """Write the pieces one behind the other, to a new file in a folder of ours in ``parent``.

        Raises:
            DiskFull: there is no room. StoreError: the folder cannot be written to.
        """
        self._pid = os.getpid()
        self._parent = parent
        self._path = ""
        digest = hashlib.blake2b(digest_size=16)
        try:
            with _lock:
                folder = _folders.get(parent) or _folders.setdefault(parent, _Folder(parent))
                folder.files += 1
                folder.names += 1
                self._path = os.path.join(folder.path, str(folder.names))
            with open(self._path, "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
        except OSError as error:
            raise _refused(error, parent) from error
        self._digest = digest.digest()

    def read(self) -> bytes:
        """What was written. Raises OSError if it is gone, ValueError if it is something else now."""
        with open(self._path, "rb") as file:
            data = file.read()
        if hashlib.blake2b(data, digest_size=16).digest() != self._digest:
            raise ValueError(f"{self._path} holds something else than was written to it")
        return data

    def __del__(self) -> None:
        if not self._path or self._pid != os.getpid():
            return
        with _lock:
            try:
                os.unlink(self._path)
            except OSError:
                pass  # somebody has removed it
            folder = _folders[self._parent]
            folder.files -= 1
            if not folder.files:
                del _folders[self._parent]
                folder.remove()


def _refused(error: OSError, parent: str) -> StoreError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            error.errno,
            f"the disk under {parent} has no room for a durable copy: make room, or set {DIRECTORY_VARIABLE}",
        )
    return StoreError(f"no durable copy can be written in {parent}: {error}; set {DIRECTORY_VARIABLE}")


def _sweep(parent: str) -> None:
    """Remove the folders of processes that were killed."""
    try:
        names = [name for name in os.listdir(parent) if name.startswith(_PREFIX)]
    except OSError:
        return  # making one will say so
    for name in names:
        path = os.path.join(parent, name)
        try:
            fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # somebody is about to make it, or to remove it; or it is not ours
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # in use
        finally:
            os.close(fd)


def _forget() -> None:
    """In a forked child: the files are its parent's."""
    _folders.clear()


os.register_at_fork(after_in_child=_forget)
