"""Further views of a store that a test has, in the same process."""

from __future__ import annotations

from typing import TypeVar

from distpool.scheduler.store import forks
from distpool.scheduler.store.store import ObjectStore

_Store = TypeVar("_Store", bound=ObjectStore)


def unwatched(store: _Store) -> _Store:
    """It hears of no forks of this process: those come also when the files below it are closed."""
    forks.leave(store)
    return store
