"""What the answers of a survey are made of, by its topic. Plain structs: nothing here is ever unpickled.

    topic     who answers            with
    stacks    workers, programs      Stack
              agents                 Dump, of each worker that has not answered
    load      owners                 OwnerView, its pools only
              agents                 MachineLoad
    why       owners                 OwnerView, and what they know of the tasks in question
    logs      agents                 LogPart, or LogList
    store     agents                 StoreReport (``cluster``)

What is told is bounded where it is made. Agents and head pass it on as bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from distpool.scheduler.messages.placing import Strategy


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """A part of an answer."""


# ------------------------------------------------------------------------------------------------ stacks


class Frame(_Part, frozen=True):
    """Where a function is at this moment; ``text`` is that line, "" if it cannot be read there."""

    file: str
    line: int
    function: str
    text: str = ""


class ThreadStack(_Part, frozen=True):
    """A thread, its outermost frame first. ``left_out``: so many frames in the middle are not told."""

    name: str
    frames: tuple[Frame, ...]
    left_out: int = 0


class Stack(_Part, frozen=True):
    """A process. ``worker`` is its number on the node, 0 for a program. Threads that do nothing are left out."""

    pid: int
    node: str
    worker: int
    threads: tuple[ThreadStack, ...]


class Dump(_Part, frozen=True):
    """A worker that has not answered: the state that the kernel gives it, and what a signal made it write."""

    worker: int
    pid: int
    state: str
    text: str


# -------------------------------------------------------------------------------------- what owners wait for


class Needed(_Part, frozen=True):
    """A value that a task waits for, by the call that makes it."""

    task: str
    name: str


class Waiting(_Part, frozen=True):
    """A task that has not ended.

    ``state``: "arguments" (they are not all there), "line" (calls of the same actor come first), "arriving", "resting"
    (it is tried again in a moment), "queued" (for a worker), "offered" (it lies with one, or runs there). ``before``:
    how many come first, in the line, in the queue, or on the worker. ``pool`` is its owner's number.
    """

    task: str
    name: str
    state: str
    pool: int = 0
    before: int = 0
    lease: str = ""
    attempt: int = 0
    needs: tuple[Needed, ...] = ()
    needs_more: int = 0


class Ended(_Part, frozen=True):
    """A task that has ended: well, or why not."""

    task: str
    name: str
    failure: str = ""


class LeaseView(_Part, frozen=True):
    """A worker as its owner sees it. ``state``: "setting up", "ready", "retiring" or "lost".

    ``running`` is what the oldest call is called that lies there.
    """

    lease: str
    pid: int
    node: str
    state: str
    offered: int
    running: str = ""


class PoolView(_Part, frozen=True):
    """A pool: ``kind`` is "pool", "shared" (of remote functions), "actor" or "borrowed" (another owner's actor)."""

    pool: int
    kind: str
    name: str
    resources: dict[str, float]
    strategy: Strategy
    size: int
    pending: int
    resting: int
    offered: int
    ready: int
    staying: int
    done: int
    wanted: dict[str, int]
    setup_failures: int
    mean_s: float
    failure: str
    leases: tuple[LeaseView, ...]
    leases_more: int = 0
    actor: str = ""  # its id


class OwnerView(_Part, frozen=True):
    """An owner, its pools, and the tasks that were asked for. ``worker``: which one of its node it is; 0: a program.

    ``cut``: it has more tasks than were looked through.
    """

    owner: str
    pid: int
    node: str
    worker: int
    pools: tuple[PoolView, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    ended: tuple[Ended, ...] = ()
    more: int = 0
    cut: bool = False


# ----------------------------------------------------------------------------------------------- machines


class ProcessLoad(_Part, frozen=True):
    """A worker's process: CPU time since it began, and resident memory."""

    worker: int
    pid: int
    cpu_s: float
    memory_bytes: int


class GpuLoad(_Part, frozen=True):
    """A GPU that a node gives out. ``name``: what CUDA_VISIBLE_DEVICES calls it; None: not known at the moment.

    ``busy`` is the share of the last moments in which something ran there, whosever it was.
    """

    name: str
    model: str
    memory_bytes: int | None = None
    used_bytes: int | None = None
    busy: float | None = None


class MachineLoad(_Part, frozen=True):
    """A node's machine. ``store`` is used and size, in bytes of memory."""

    time_s: float
    cpu_busy_s: float
    cpus: int
    load: float
    memory_used_bytes: int
    memory_bytes: int
    store: tuple[int, int]
    processes: tuple[ProcessLoad, ...]
    gpus: tuple[GpuLoad, ...] = ()


# -------------------------------------------------------------------------------------------------- logs


class LogWanted(_Part, frozen=True):
    """Part of a log: of ``worker``, 0 for the agent's own; or of ``job``. ``offset`` -1: the last ``bytes``."""

    worker: int
    offset: int
    bytes: int
    job: str = ""


class LogFacts(_Part, frozen=True):
    """A log that there is. ``ended``: its process has."""

    worker: int
    pid: int
    size: int
    ended: bool


class LogList(_Part, frozen=True):
    """All of a node's. ``elsewhere``: there are none, what is printed goes where this program's own words go."""

    logs: tuple[LogFacts, ...]
    elsewhere: int = 0


class LogPart(_Part, frozen=True):
    """``data`` begins at ``offset``; what was before it may be gone. ``refusal``: there is no such log."""

    offset: int
    data: bytes
    size: int
    ended: bool
    refusal: str = ""


pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
unpack_stack = msgspec.msgpack.Decoder(Stack).decode
unpack_dumps = msgspec.msgpack.Decoder(tuple[Dump, ...]).decode
unpack_owner = msgspec.msgpack.Decoder(OwnerView).decode
unpack_machine = msgspec.msgpack.Decoder(MachineLoad).decode
unpack_logs = msgspec.msgpack.Decoder(LogList).decode
unpack_log = msgspec.msgpack.Decoder(LogPart).decode
