"""Where the threads of a process are, without stopping it.

::

    Inquire "stacks" ──► second thread of a worker, leader of a program ── sys._current_frames ──► Stack
    no answer in time (a call into C that keeps the GIL) ──► the agent's signal ──► faulthandler ──► worker-N.stacks

The first costs a worker a millisecond of one of its threads. The second is for who cannot answer: faulthandler writes
from within the signal, needs no GIL, and system calls that it meets go on.

Frames of ours are left out, where they are only the way to the user's code or the way that its call has taken in us.
"""

from __future__ import annotations

import faulthandler
import linecache
import os
import re
import selectors
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import zmq

from distpool.scheduler.messages.insights import Frame, Stack, ThreadStack
from distpool.scheduler.shells.slots import dump_path

if TYPE_CHECKING:
    import asyncio

__all__ = ["SIGNAL", "dump_on_signal", "own_stack", "take_dump"]

#: A real-time signal, which programs hardly ever use; none on systems that have no such.
SIGNAL: int = getattr(signal, "SIGRTMIN", -10) + 10
THREADS_MAX = 64
#: Of a stack that is deeper, the middle is left out.
FRAMES_MAX = 100
TEXT_CHARS_MAX = 200
DUMP_BYTES_MAX = 64 << 10

_PACKAGE = str(Path(__file__).parents[2]) + os.sep
#: What lies between us and the user's code: threads, loops, sockets.
_WAYS = (
    _PACKAGE,
    threading.__file__,
    selectors.__file__,
    str(Path(zmq.__file__).parent) + os.sep,
    str(Path(selectors.__file__).parent / "asyncio") + os.sep,
)
_LOADERS = ("<frozen runpy>",)


def own_stack(node: str, worker: int, loop: asyncio.AbstractEventLoop | None = None) -> Stack:
    """This process's, but for the thread that asks and those that are only ours; and the coroutines of ``loop``."""
    me = threading.get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    known = set(linecache.cache)
    threads = []
    for ident, innermost in sys._current_frames().items():
        is_main = ident == threading.main_thread().ident
        if ident == me and not is_main:
            continue
        told = _told(innermost)
        if told or is_main:
            name = "main thread" if is_main else names.get(ident, f"thread {ident}")
            threads.append((not is_main, name, told))
    for file in set(linecache.cache) - known:  # whoever is asked often must not keep what was read for it
        linecache.cache.pop(file, None)
    threads.sort(key=lambda row: row[:2])
    threads += [(True, name, told) for name, told in _coroutines(loop)]
    return Stack(
        os.getpid(), node, worker, tuple(_cut(name, told) for _, name, told in threads[:THREADS_MAX])
    )


def _coroutines(loop: asyncio.AbstractEventLoop | None) -> list[tuple[str, list[Frame]]]:
    """Those that wait; the one that runs is its thread's."""
    if loop is None:
        return []
    import asyncio

    found = []
    for task in list(asyncio.all_tasks(loop))[:THREADS_MAX]:
        told = _trimmed(_awaiting(task.get_coro()))
        if told and task is not asyncio.current_task(loop):
            found.append((f"coroutine {task.get_name()}, waits", told))
    return found


def _awaiting(coroutine: object) -> list[FrameType]:
    """The frames of a coroutine that waits, the outermost first."""
    frames: list[FrameType] = []
    while coroutine is not None and len(frames) < FRAMES_MAX:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames


def _told(innermost: FrameType) -> list[Frame]:
    """The frames of one thread that are worth telling, the outermost first."""
    frames = []
    frame: FrameType | None = innermost
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return _trimmed(frames)


def _trimmed(frames: list[FrameType]) -> list[Frame]:
    """Without our own, on the way to the user's code and beyond our first one that it has called."""
    files = [frame.f_code.co_filename for frame in frames]
    first = next((place for place, file in enumerate(files) if not _is_way(file)), len(files))
    last = next(
        (place for place in range(first, len(files)) if files[place].startswith(_PACKAGE)), len(files)
    )
    return [_frame(frame) for frame in frames[first : last + 1]]


def _is_way(file: str) -> bool:
    return file.startswith(_WAYS) or file in _LOADERS


def _frame(frame: FrameType) -> Frame:
    code = frame.f_code
    line = frame.f_lineno or 0
    text = linecache.getline(code.co_filename, line).strip()[:TEXT_CHARS_MAX]
    return Frame(code.co_filename, line, code.co_qualname, text)


def _cut(name: str, frames: list[Frame]) -> ThreadStack:
    surplus = max(0, len(frames) - FRAMES_MAX)
    kept = [*frames[: FRAMES_MAX // 2], *frames[len(frames) - FRAMES_MAX // 2 :]] if surplus else frames
    return ThreadStack(name, tuple(kept), surplus)


# ---------------------------------------------------------------------------------------- without its help


def dump_on_signal(directory: str, worker: int) -> None:
    """Have this worker's threads written down when the agent's signal comes."""
    if SIGNAL <= 0:
        return
    try:
        file = open(dump_path(directory, worker), "ab")  # noqa: SIM115  # it is open for as long as the process lives
    except OSError:
        return
    faulthandler.register(SIGNAL, file=file, all_threads=True, chain=False)
    _kept.append(file)


_kept: list[object] = []


def can_dump(pid: int) -> bool:
    """Whether this process would survive the signal: it has a handler for it."""
    if SIGNAL <= 0:
        return False
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (SIGNAL - 1) & 1)


def state_of(pid: int) -> str:
    """What the kernel says that a process does: "R" runs, "S" sleeps, "D" reads, "T" is stopped, "" has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def take_dump(directory: str, worker: int) -> str:
    """What the signal has made a worker write, which is removed from its file."""
    try:
        with open(dump_path(directory, worker), "r+b") as file:
            data = file.read(DUMP_BYTES_MAX)
            file.truncate(0)
    except OSError:
        return ""
    return "\n".join(_worth_telling(data.decode(errors="replace").splitlines()))


_IN_FILE = re.compile(r'  File "([^"]*)"')


def _worth_telling(lines: list[str]) -> list[str]:
    """Of what faulthandler has written, the threads that are somewhere in the user's code."""
    threads: list[list[str]] = []
    for line in lines:
        found = _IN_FILE.match(line)
        if found is None and line:
            threads.append([line])
        elif found is not None and threads and not _is_way(found[1]):
            threads[-1].append(line)
    return [line for thread in threads if len(thread) > 1 for line in thread]
