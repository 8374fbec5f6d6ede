"""What workers have printed where this program does not see it, on the program's own stdout and stderr.

::

    prints, withheld ── of the worker itself ──┐
    ended ── the end of its log, by its agent ─┴─► Coverage: each byte once ─► Page: prefixes ─► sys.stdout, sys.stderr
                                                                         └─► in a worker: on to its own owner

``DISTPOOL_PRINTS`` is "auto" (lines from other nodes bear a prefix), "prefix" (all do), "plain" (none does), or "off"
(nothing comes: it is in the logs). "prefix" and "off" hold for a program's own node as well: workers there are
given logs then.

On the thread that handles remarks. Not here: what comes, and when (``reissue``); how lines are set
(``cores.printing``).
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from distpool.scheduler.cores.printing import STDERR, STDOUT, Coverage, Page, Piece
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.shells.remarks import pass_on
from distpool.scheduler.store.files import show_size

__all__ = ["PRINTS", "Show", "prints_wanted"]

PRINTS = ("auto", "prefix", "plain", "off")
#: Of so many streams of workers it is remembered what was seen; of more, those that something came by last.
FILES_MAX = 8192


def prints_wanted(environment: Mapping[str, str] = os.environ) -> str:
    """What ``DISTPOOL_PRINTS`` says. Raises ValueError if that is none of ``PRINTS``."""
    wanted = environment.get("DISTPOOL_PRINTS") or "auto"
    if wanted not in PRINTS:
        raise ValueError(f"DISTPOOL_PRINTS is {wanted!r}; it may be one of {', '.join(PRINTS)}")
    return wanted


class Show:
    """That of one owner, which is on ``node``."""

    def __init__(self, node: str) -> None:
        self.node = node  # "": on none
        self.wanted = "auto"
        self._seen: OrderedDict[tuple[str, int], Coverage] = OrderedDict()  # by lease and stream
        self._pages = {STDOUT: Page(), STDERR: Page()}

    @property
    def is_wanted(self) -> bool:
        """Whether workers are to send what they print."""
        return self.wanted != "off"

    def prints(self, lease: str, origin: str, stream: int, start: int, data: bytes) -> None:
        """What a worker has printed by a stream, from an offset on.

        ``origin``: the lease of the one that has, if it is a worker of that worker's.
        """
        if origin:
            self._write(origin, stream, start, data)
            return
        for first, last in self._coverage(lease, stream).add(start, start + len(data)):
            self._write(lease, stream, first, data[first - start : last - start])

    def withheld(self, lease: str, origin: str, parts: list[Piece]) -> None:
        """Those parts were too much."""
        if not origin:
            for stream, first, last in parts:
                self._coverage(lease, stream).add(first, last)
        self._say_withheld(origin or lease, parts)

    def ended(self, lease: str, stream: int, end: int, data: bytes) -> None:
        """The worker is gone, and this is the last that it has printed by a stream."""
        start, coverage = end - len(data), self._coverage(lease, stream)
        if coverage.end < start:
            self.withheld(lease, "", [(stream, coverage.end, start)])
        for first, last in coverage.add(start, end):
            self._write(lease, stream, first, data[first - start : last - start])

    def _coverage(self, lease: str, stream: int) -> Coverage:
        known = self._seen.get((lease, stream))
        if known is None:
            known = self._seen[lease, stream] = Coverage()
            if len(self._seen) > FILES_MAX:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end((lease, stream))
        return known

    def _write(self, lease: str, stream: int, start: int, data: bytes) -> None:
        if self.is_wanted and not pass_on(pickle.dumps(("prints", lease, stream, start, data), 5)):
            self._set(lease, stream, data)

    def _say_withheld(self, lease: str, parts: list[Piece]) -> None:
        if not self.is_wanted or pass_on(pickle.dumps(("withheld", lease, parts), 5)):
            return
        size = show_size(sum([last - first for _, first, last in parts]))
        node, _, number = lease.rsplit(".", 2)
        most, rate = show_size(DEFAULTS.prints_burst_bytes), show_size(DEFAULTS.prints_bytes_s)
        text = (
            f"distpool: {size} that worker {number} on node {node} has printed are not shown, but "
            f"may be in `distpool logs {node}/{number}`: of each worker {most} are shown, and then {rate} a second\n"
        )
        page = self._pages[STDERR]
        _write(sys.stderr, (b"\n" if page.whose else b"") + text.encode())
        page.whose = ""

    def _set(self, lease: str, stream: int, data: bytes) -> None:
        node, _, number = lease.rsplit(".", 2)
        is_prefixed = self.wanted == "prefix" or (self.wanted == "auto" and node != self.node)
        prefix = f"(worker {number}, node {node}) ".encode() if is_prefixed else b""
        text = self._pages[stream].set(lease, prefix, data)
        _write(sys.stderr if stream == STDERR else sys.stdout, text)


def _write(stream: Any, text: bytes) -> None:
    """As they are where that is possible; a stream of somebody's own gets text. One that is closed gets nothing."""
    try:
        if type(stream) is io.TextIOWrapper and stream.encoding.lower().replace("-", "") == "utf8":
            stream.flush()
            stream.buffer.write(text)
        elif stream is not None:
            stream.write(text.decode(errors="replace"))
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        pass
