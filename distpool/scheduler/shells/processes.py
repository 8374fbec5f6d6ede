"""Facts about processes, and their ends: start times, descendants, sessions.

A pid alone names nobody for long: it is reused. A process is named by its pid and start time, or watched by a pidfd.
On Linux all of it comes from /proc; elsewhere psutil is asked (and only then imported: it takes 10 ms).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

LINUX = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def become_subreaper() -> None:
    """Orphans among our descendants become our children, instead of init's. Linux only."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have a signal sent to us when the thread that has started us ends, also if it has ended already. Linux only."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def start_time(pid: int) -> float | None:
    """When the process started, in a unit that only compares; None if there is none (or only a zombie)."""
    if LINUX:
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else float(fields[19])
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def open_pidfd(pid: int) -> int | None:
    """A descriptor that is readable once the process is dead; None if it is dead already.

    Raises OSError where pidfds do not exist (Linux before 5.3, other systems).
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def threads() -> int:
    """How many threads this process has, as the kernel counts them: also those that Python knows nothing of."""
    if LINUX:
        return len(os.listdir("/proc/self/task"))
    import threading

    return threading.active_count()


def descendants(root: int) -> list[int]:
    """All living processes below ``root``, parents first, without ``root``; zombies are left out."""
    children: dict[int, list[int]] = {}
    dead: set[int] = set()
    for pid, state, parent, _ in _processes():
        children.setdefault(parent, []).append(pid)
        if state in "ZX":
            dead.add(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        todo += below
        found += below
    return [pid for pid in found if pid not in dead]


def end_descendants(directory: str | None = None, within_s: float = 2.0) -> bool:
    """SIGKILL everything below this process and reap what becomes our child, until nothing is left.

    New ones that are forked meanwhile go in the next round. A session ``directory`` is removed as soon as the first
    round has hit everybody: we may be killed ourselves at any moment. False if something is left after ``within_s``.
    """
    from distpool.scheduler.shells.session_dir import remove

    give_up_s = time.monotonic() + within_s
    while True:
        below = descendants(os.getpid())
        for pid in below:
            kill(pid)
        if directory is not None:
            remove(directory)
        _reap_all()
        if not below:
            return True
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.001)


def end_session(directory: str, session: int) -> None:
    """For a worker whose agent, nursery and driver are all dead: kill the rest of the session, remove its directory.

    ``session`` is the kernel's session id, which the agent made its own (``setsid``) and its descendants inherit.
    """
    from distpool.scheduler.shells.session_dir import remove

    # First the directory: another worker may do the same at this moment, and each kill the other.
    remove(directory)
    me = os.getpid()
    for pid, state, _, its_session in _processes():
        if its_session == session and pid != me and state not in "ZX":
            kill(pid)
    remove(directory)  # again, if one of them has put something there meanwhile


def kill(pid: int) -> None:
    """SIGKILL, if it is still there and ours."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def terminate(pid: int) -> None:
    """SIGTERM, if it is still there and ours."""
    try:
        os.kill(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        pass


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Every living process that we may look at, and the words that it was started with."""
    for pid, state, _, _ in _processes():
        if state in "ZX":
            continue
        if not LINUX:
            import psutil

            try:
                yield pid, psutil.Process(pid).cmdline()
            except psutil.Error:
                pass
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                yield pid, file.read().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            pass


def _reap_all() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _processes() -> Iterator[tuple[int, str, int, int]]:
    """(pid, state, parent, session) of every process that we may look at."""
    if LINUX:
        for name in os.listdir("/proc"):
            if name.isdigit() and (fields := _stat(int(name))) is not None:
                yield int(name), fields[0], int(fields[1]), int(fields[3])
        return
    import psutil

    for process in psutil.process_iter():
        try:
            state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "R"
            yield process.pid, state, process.ppid(), os.getsid(process.pid)
        except (psutil.Error, OSError):
            continue


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold blanks and brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None
