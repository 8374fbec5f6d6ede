"""The life of a background process that ``launching`` has started: what it is asked, its first word, its end.

::

    who started us ── a JSON line ──► begin ──► serve, and the first word ── a JSON line ──► who started us
                                                  └── serve() ends, or anything goes wrong ──► all below us is ended
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import msgspec

from distpool.scheduler.shells import processes

#: What to do until the end (None: there is nothing to be done), and the first word.
Begun = tuple[Callable[[], None] | None, dict[str, object]]


def live(ask_fd: int, tell_fd: int, directory: str, begin: Callable[[bytes], Begun]) -> NoReturn:
    """Be such a process. Its ``directory`` is there, and ends with it, as does every process that it has started."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()  # our own session: no terminal's Ctrl-C, and a name for all that we start
        processes.become_subreaper()
        with open(ask_fd, "rb") as ask:
            asked = ask.readline()
        if asked:  # else who has started us died before it could ask
            serve, word = begin(asked)
            if tell(tell_fd, word):
                if serve is not None:
                    serve()
                status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        processes.end_descendants(directory)
        os._exit(status)


def tell(fd: int, word: dict[str, object]) -> bool:
    """Say the first word; whether anybody still waits for it."""
    try:
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(word) + b"\n")
    except BrokenPipeError:
        return False
    return True
