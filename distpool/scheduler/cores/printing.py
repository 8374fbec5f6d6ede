"""What a worker prints, on its way to its program: in which order, how much may go, how lines are set.

::

    stdout:  ███████|██|████|█          a file each, so that it is certain what came by which
    stderr:  ▒▒|▒▒▒▒▒▒▒|▒|▒▒            cuts, where both were so long: so each stretch comes before the next
                 │
    ``interleave`` ─► pieces ── ``Meter`` ─► to the owner ── ``Coverage``, ``Page`` ─► its own stdout, stderr

Pure: offsets, bytes and times come in. Not here: who reads the files (``shells.prints``), who writes (``shells.show``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distpool.scheduler.limits import Limits

__all__ = ["STDERR", "STDOUT", "Coverage", "Cut", "Meter", "Order", "Page", "Piece", "interleave"]

STDOUT, STDERR = 1, 2
#: A stream, and from where to where in its file: [start, end).
Piece = tuple[int, int, int]
#: How long the files of stdout and stderr were at one moment.
Cut = tuple[int, int]


def interleave(start: Cut, cuts: Iterable[Cut], end: Cut) -> Iterator[Piece]:
    """What both streams have between two moments, in the order that the cuts between them tell; stdout first."""
    out, err = start
    piece: Piece | None = None
    for cut in (*cuts, end):
        for stream, at, to in ((STDOUT, out, min(cut[0], end[0])), (STDERR, err, min(cut[1], end[1]))):
            if to <= at:
                continue
            if piece is not None and piece[0] == stream:
                piece = stream, piece[1], to
            else:
                if piece is not None:
                    yield piece
                piece = stream, at, to
            if stream == STDOUT:
                out = to
            else:
                err = to
    if piece is not None:
        yield piece


class Order:
    """Both files as one, whose offsets are the sums of theirs: what was seen so far stays where it is."""

    #: Of so many moments the order is known; of the older half of more, of every other.
    CUTS_MAX = 4096

    def __init__(self) -> None:
        self._cuts: list[Cut] = [(0, 0)]

    @property
    def size(self) -> int:
        """The length of the whole, as it was seen last."""
        return sum(self._cuts[-1])

    def see(self, out: int, err: int) -> None:
        """So long they are now. A file that has become shorter is taken to be as long as it was."""
        last = self._cuts[-1]
        now = max(out, last[0]), max(err, last[1])
        if now == last:
            return
        before = self._cuts[-2] if len(self._cuts) > 1 else None
        if before is not None and any(before[place] == last[place] == now[place] for place in (0, 1)):
            self._cuts[-1] = now  # one stream alone went on
        else:
            self._cuts.append(now)
        if len(self._cuts) > self.CUTS_MAX:
            half = self.CUTS_MAX // 2
            self._cuts = [*self._cuts[:half:2], *self._cuts[half:]]

    def pieces(self, offset: int) -> Iterator[tuple[int, Piece]]:
        """What there is from this offset on, each with where it begins in the whole."""
        for (out, err), (next_out, next_err) in zip(self._cuts, self._cuts[1:], strict=False):
            for at, piece in (
                (out + err, (STDOUT, out, next_out)),
                (next_out + err, (STDERR, err, next_err)),
            ):
                stream, first, last = piece
                skip = max(0, offset - at)
                if first + skip < last:
                    yield at + skip, (stream, first + skip, last)


class Meter:
    """How much of what a worker prints may go: a burst, and then so many bytes a second; the rest is withheld.

    Once something was withheld nothing goes until a second's worth may: so what goes comes in runs of lines, and how
    much was withheld is said once before each.
    """

    def __init__(self, limits: Limits) -> None:
        self._burst = float(limits.prints_burst_bytes)
        self._rate_s = float(limits.prints_bytes_s)
        self._left = self._burst
        self._at_s: float | None = None
        self._is_closed = False

    def allow(self, now: float) -> int:
        """How many bytes may go now; what goes of them is told by ``spend``."""
        if self._at_s is not None:
            self._left = min(self._burst, self._left + (now - self._at_s) * self._rate_s)
        self._at_s = now
        if self._is_closed and self._left < min(self._rate_s, self._burst):
            return 0
        self._is_closed = False
        return int(self._left)

    def spend(self, count: int) -> None:
        """So many bytes go."""
        self._left -= count

    def close(self) -> None:
        """Something is being withheld."""
        self._is_closed = True


class Coverage:
    """Which parts of a file have been seen: they come by two links, and the last of them once more, by the agent."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []  # in order, with gaps between them

    @property
    def end(self) -> int:
        """Behind all that has been seen."""
        return self._seen[-1][1] if self._seen else 0

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """What of [start, end) is new, in order."""
        new, at = list[tuple[int, int]](), start
        before = [one for one in self._seen if one[1] < start]
        touching = [one for one in self._seen if one[1] >= start and one[0] <= end]
        behind = [one for one in self._seen if one[0] > end]
        for first, last in touching:
            if at < first:
                new.append((at, first))
            at = max(at, last)
        if at < end:
            new.append((at, end))
        if start < end:
            joined = min([start, *(one[0] for one in touching)]), max([end, *(one[1] for one in touching)])
            self._seen = [*before, joined, *behind]
        return new


@dataclass(slots=True)
class Page:
    """What has been written to one stream of the program: whose line is unfinished, if one is."""

    whose: str = ""
    is_prefixed: bool = False

    def set(self, who: str, prefix: bytes, data: bytes) -> bytes:
        """What to write so that ``data`` of this worker stands there, each of its lines behind the prefix.

        Where others had begun a line the first of them ends that one, unless neither has a prefix: then all is as if
        both wrote here themselves.
        """
        if not data:
            return b""
        goes_on = self.whose == who
        out = b"\n" if self.whose and not goes_on and (prefix or self.is_prefixed) else b""
        ends = data.endswith(b"\n")
        if prefix:
            body = data[:-1] if ends else data
            out += b"" if goes_on else prefix
            out += body.replace(b"\n", b"\n" + prefix)
            out += b"\n" if ends else b""
        else:
            out += data
        self.whose, self.is_prefixed = ("", False) if ends else (who, bool(prefix))
        return out
