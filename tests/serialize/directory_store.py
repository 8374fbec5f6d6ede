"""A store for tests, with the promises of the real one: each object is a file of a directory that both processes see.

An object goes when its last ``Held`` and its last view have gone. It counts what a test wants to know.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Gone(Exception):
    pass


class Full(MemoryError):
    pass


class Held:
    def __init__(self, store: DirectoryStore, ids: tuple[int, ...]) -> None:
        self.ids = ids
        self._store = store
        store.held.update(ids)
        store.owned.update(ids)

    def __del__(self) -> None:
        self._store.let_go(self._store.held, self.ids)


class Sent:
    """What ``put`` returns for objects that are another's: it drops nothing."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.ids = ids


class DirectoryStore:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.put_sizes: list[int] = []
        self.parts_of_largest: list[type] = []
        self.mapped_ids: list[int] = []
        self.held: Counter[int] = Counter()
        self.viewed: Counter[int] = Counter()
        self.owned: set[int] = set()  # what this process, and no other, removes
        self.room = 1 << 62
        self._watch: dict[weakref.ref[mmap.mmap], int] = {}

    def put(self, objects: Sequence[Sequence[Any]], *, holder: int = 0, label: str = "") -> Held | Sent:
        ids = []
        for parts in objects:
            size = sum(memoryview(part).nbytes for part in parts)
            if size > self.room:
                raise Full("the store is full")
            number = int.from_bytes(os.urandom(8), "big") | 1 << 63
            with open(self._path(number), "wb") as file:
                for part in parts:
                    file.write(part)
            if not self.put_sizes or size > max(self.put_sizes):
                self.parts_of_largest = [type(part) for part in parts]
            self.put_sizes.append(size)
            ids.append(number)
        return Sent(tuple(ids)) if holder else Held(self, tuple(ids))

    def map(self, ids: Sequence[int], *, again: bool = False) -> list[memoryview]:
        return [self._map(number) for number in ids]

    def _map(self, number: int) -> memoryview:
        try:
            file = os.open(self._path(number), os.O_RDONLY)
        except FileNotFoundError:
            raise Gone(f"object {number:x} is gone") from None
        made = mmap.mmap(
            file, os.fstat(file).st_size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
        os.close(file)
        self.mapped_ids.append(number)
        self.viewed[number] += 1
        self._watch[weakref.ref(made, self._unmapped)] = number
        return memoryview(made)

    def _unmapped(self, reference: weakref.ref[mmap.mmap]) -> None:
        self.let_go(self.viewed, (self._watch.pop(reference),))

    @contextmanager
    def reading(self, number: int) -> Iterator[memoryview]:
        with self._map(number) as view:
            yield view

    def put_brief(self, pieces: Sequence[Any], size: int) -> None:
        """There are no slabs here."""

    def read_brief(self, spot: Any) -> bytes:
        raise AssertionError("there are no slabs here")

    def hold(self, ids: Sequence[int]) -> Held:
        return Held(self, tuple(ids))

    def hand(self, ids: Sequence[int], holder: int) -> None:
        raise AssertionError("references are tested with the real store")

    def claim(self, ids: Sequence[int]) -> Held:
        return Held(self, tuple(ids))

    def let_go(self, counter: Counter[int], ids: Sequence[int]) -> None:
        for number in ids:
            counter[number] -= 1
            if not counter[number]:
                del counter[number]
            if number in self.owned and number not in self.held and number not in self.viewed:
                os.unlink(self._path(number))

    def is_empty(self) -> bool:
        return not self.held and not self.viewed and not os.listdir(self.directory)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:016x}"
