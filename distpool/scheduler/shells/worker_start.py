"""What the nursery hands to a worker that it has just forked."""

from __future__ import annotations

from dataclasses import dataclass

from distpool.scheduler.messages import Attach
from distpool.scheduler.shells.prints import Log
from distpool.scheduler.store.files import StoreFiles


@dataclass(frozen=True)
class WorkerStart:
    """``slot`` is two native uint64 of shared memory: attempt started, attempt finished; ``began`` is when, a float.

    ``driver_pid`` is the program whose embedded session this is (0 on a node of a standing cluster).
    """

    directory: str  # the session directory
    worker: int
    slot: memoryview  # cast to "Q", writable
    attach: Attach | None
    node: str
    host: str
    driver_pid: int
    agent_pid: int
    nursery_pid: int
    began: memoryview[float]  # cast to "d", writable
    log: Log | None = None  # what it prints goes there
    store: StoreFiles | None = None  # the descriptors are inherited; None: everything travels in messages


#: In a worker: how it was started. None in every other process.
this_worker: WorkerStart | None = None
