"""Who a process is, in one word of shared memory, and whether that one is dead.

A word is the pid in the upper half and the start time (its lower 32 bits, in clock ticks) in the lower, since a pid
alone is reused. 0 is nobody.
"""

from __future__ import annotations

import os

NOBODY = 0
_LOW = 0xFFFFFFFF


def _word(pid: int) -> int:
    """The word of a living process, NOBODY if there is none by this pid or it is only a zombie.

    Raises OSError if that cannot be told, as no descriptor is left: this says nothing about that process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name before the fields may hold blanks and brackets.
            fields = file.read(1024).rpartition(b")")[2].split(None, 20)
    except (FileNotFoundError, ProcessLookupError):
        return NOBODY
    return NOBODY if fields[0] in (b"Z", b"X") else pid << 32 | int(fields[19]) & _LOW


def is_dead(word: int) -> bool:
    """Whether the process of this word has ended. It costs about 20 us; nobody (0) is taken for dead."""
    if word == NOBODY:
        return True
    try:
        return word != _word(word >> 32)
    except OSError:
        try:
            os.kill(word >> 32, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def pid_of(word: int) -> int:
    """The pid in a word."""
    return word >> 32


def _refresh() -> None:
    global me
    try:
        me = _word(os.getpid())
    except OSError:
        pass  # no descriptor is left: to pass for the parent is better than to pass for dead


#: This process. Read it as ``identity.me``, never by ``from``: a fork changes it.
me = _word(os.getpid())
os.register_at_fork(after_in_child=_refresh)
