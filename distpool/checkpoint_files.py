"""The files of a checkpoint: results that were appended one by one, each recognisable as whole.

::

    DIR/                                        0700, or at least nobody else's to write to
      square-<function's digest>-<pid>-<random>.results          0600, one for each run that had something to add
        "distpool checkpoint 1\\n"
        length · item's digest · which of several equal items · checksum · pickle
        ...

One run writes one file, and reads those of the others: so there is nothing to lock, and runs at the same time do not
disturb each other. Each record is one write, so the death of the program (SIGKILL) loses none whose result it had
seen; it may leave the last one cut off, which its length or checksum shows, and it is not used. Nothing is synced to
the disk: after a power failure the records of the last half minute may be missing or torn, which costs their work once
more, whereas a sync for each would cost milliseconds every time.

To load a pickle is to run code. So only files are read that belong to the user and that no other may write to.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Checkpoint", "Key", "Place", "Reader", "Writer", "open_directory"]

#: What ``checkpoint=`` takes: a folder, or None.
Checkpoint = str | os.PathLike[str] | None

#: An item: the digest of its arguments, and which of those that are equal.
Key = tuple[bytes, int]

_MAGIC = b"distpool checkpoint 1\n"
_HEAD = struct.Struct(">Q16sI")
_CHECKSUM_BYTES = 4
_START = _HEAD.size + _CHECKSUM_BYTES
#: Files that are held open for reading.
_OPEN_MAX = 16
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Place(NamedTuple):
    """Where a result lies."""

    path: str
    offset: int
    length: int


def open_directory(path: str | os.PathLike[str]) -> str:
    """The folder, made if it is not there.

    Raises:
        PermissionError: it is another user's, or others may write to it.
        OSError: it cannot be made, or is no folder.
    """
    directory = os.path.abspath(os.fspath(path))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    _refuse_others(directory, os.stat(directory))
    return directory


def _refuse_others(path: str, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        raise PermissionError(
            f"checkpoint {path} belongs to another user, whose code would run here: use a folder of your own"
        )
    if facts.st_mode & _OTHERS_WRITE:
        raise PermissionError(
            f"checkpoint {path} can be written to by others, whose code would run here: chmod go-w {path}"
        )


def _checksum(head: bytes, blob: bytes) -> bytes:
    """Against accidents; against others there are the permissions."""
    return zlib.crc32(blob, zlib.crc32(head)).to_bytes(_CHECKSUM_BYTES, "big")


class Reader:
    """What other runs have left for one function. Only whole records are known; close it when done."""

    def __init__(self, directory: str, function: bytes) -> None:
        self.places: dict[Key, Place] = {}
        self._files: dict[str, int] = {}
        pattern = re.compile(rf".*-{function.hex()}-\d+-[0-9a-f]+\.results")
        for name in sorted(os.listdir(directory)):
            if pattern.fullmatch(name):
                self._index(os.path.join(directory, name))
        self.close()

    def load(self, place: Place) -> bytes:
        """The pickle that lies there. Raises OSError."""
        blob = os.pread(self._file(place.path), place.length, place.offset)
        while len(blob) < place.length:
            more = os.pread(self._file(place.path), place.length - len(blob), place.offset + len(blob))
            if not more:
                raise OSError(f"checkpoint {place.path} was cut off while it was being read")
            blob += more
        return blob

    def close(self) -> None:
        """Give the descriptors back."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _file(self, path: str) -> int:
        fd = self._files.get(path)
        if fd is None:
            while len(self._files) >= _OPEN_MAX:
                os.close(self._files.pop(next(iter(self._files))))
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                facts = os.fstat(fd)
                _refuse_others(path, facts)
                if not stat.S_ISREG(facts.st_mode):
                    raise OSError(f"checkpoint {path} is no file")
            except BaseException:
                os.close(fd)
                raise
            self._files[path] = fd
        return fd

    def _index(self, path: str) -> None:
        with open(self._file(path), "rb", closefd=False) as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return
            offset = len(_MAGIC)
            size = os.fstat(file.fileno()).st_size
            while offset + _START <= size:
                head = file.read(_HEAD.size)
                checksum = file.read(_CHECKSUM_BYTES)
                if len(checksum) < _CHECKSUM_BYTES:
                    return
                length, digest, number = _HEAD.unpack(head)
                if offset + _START + length > size or _checksum(head, file.read(length)) != checksum:
                    return  # cut off; nobody appends behind it
                self.places[digest, number] = Place(path, offset + _START, length)
                offset += _START + length


class Writer:
    """This run's file; it is made with the first record. Call one at a time."""

    def __init__(self, directory: str, name: str, function: bytes) -> None:
        plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name)[:60]
        self._path = os.path.join(
            directory, f"{plain}-{function.hex()}-{os.getpid()}-{os.urandom(6).hex()}.results"
        )
        self._fd = -1
        self._size = 0
        self._over = False

    def write(self, results: Sequence[tuple[Key, bytes]]) -> OSError | None:
        """Append results. If that cannot be, returns why, once, and nothing more is written."""
        if self._over:
            return None
        pieces: list[bytes] = []
        for key, blob in results:
            head = _HEAD.pack(len(blob), *key)
            pieces += (head, _checksum(head, blob), blob)
        try:
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
                self._append(_MAGIC)
            self._append(b"".join(pieces))
        except OSError as error:
            if self._fd >= 0:
                try:
                    os.ftruncate(self._fd, self._size)
                except OSError:
                    pass  # the reader sees that it is cut off
            self.close()
            return error
        return None

    def _append(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, memoryview(data)[written:])
        self._size += len(data)

    def close(self) -> None:
        """Write no more."""
        self._over = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()
