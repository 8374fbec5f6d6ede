"""The block map of one tier: which blocks of its file are taken, free, or free with pages behind them.

One byte a block, in memory that all processes of the node share. Searches are those of ``bytes``, in C, over the
part of the map that was ever used. Pure: it knows no file.

::

    HOLE ── take (the caller reserves) ──► TAKEN ── free ──► WARM ── take ──► TAKEN
      ▲                                      │                │
      │     TAKEN ◄── take (reserves) ── LEFT ◄── leave       │
      │                                      │                │
      └───────────── given back ◄── GIVING ◄─┴─ start_giving ─┘
"""

from __future__ import annotations

HOLE = 0  # free; nothing lies behind it
WARM = 1  # free; its pages are still there, so writing to it is quick
TAKEN = 2
GIVING = 3  # free; its pages are being given back at this moment
LEFT = 4  # free; who had it died or gave up, perhaps before reserving it: there may be pages behind it or not

_STATES = 5
_ANY_FREE = bytes([WARM, WARM, TAKEN, GIVING, WARM]) + bytes(range(_STATES, 256))
_AS_WARM = bytes([HOLE, WARM, TAKEN, GIVING, WARM]) + bytes(range(_STATES, 256))


class Blocks:
    """``states`` is the shared map, ``counters`` a shared pair of words: [blocks taken, blocks ever used]."""

    __slots__ = ("_counters", "_states", "count")

    def __init__(self, states: memoryview, counters: memoryview) -> None:
        self._states = states
        self._counters = counters
        self.count = len(states)

    @property
    def taken(self) -> int:
        """How many blocks are taken."""
        return int(self._counters[0])

    @property
    def used(self) -> int:
        """So many blocks, from the first on, are taken or have pages; perhaps a few less."""
        return int(self._counters[1])

    def take(self, count: int) -> tuple[int, bool] | None:
        """Take ``count`` blocks in a row, the lowest that are free, warm ones first.

        Returns:
            The first block, and whether any of them is or may be a hole, which must be reserved before it is
            written; None if there are not so many in a row.
        """
        used = self._counters[1]
        data = bytes(self._states[:used])
        holes = False
        first = data.find(bytes([WARM]) * count)
        if first < 0:
            holes = True
            free = data.translate(_ANY_FREE)
            first = free.find(bytes([WARM]) * count)
            if first < 0:  # what is free at the end of the used part, and as much as it takes beyond
                first = len(free.rstrip(bytes([WARM])))
                if first + count > self.count:
                    return None
        self._states[first : first + count] = bytes([TAKEN]) * count
        self._counters[0] += count
        if first + count > used:
            self._counters[1] = first + count
        return first, holes

    def free(self, first: int, count: int) -> None:
        """Give blocks back that were taken and reserved; their pages stay for the next."""
        self._states[first : first + count] = bytes([WARM]) * count
        self._counters[0] -= count

    def leave(self, first: int, count: int) -> None:
        """Give blocks back that were taken, and perhaps never reserved."""
        self._states[first : first + count] = bytes([LEFT]) * count
        self._counters[0] -= count

    def start_giving(self, first: int, count: int) -> bool:
        """Keep these blocks from being taken while their pages are removed; False if one has none, or is in use."""
        if bytes(self._states[first : first + count]).translate(_AS_WARM) != bytes([WARM]) * count:
            return False
        self._states[first : first + count] = bytes([GIVING]) * count
        return True

    def end_giving(self, first: int, count: int) -> None:
        """Their pages are gone."""
        self._states[first : first + count] = bytes([HOLE]) * count
        used = self._counters[1]
        if first + count == used:
            self._counters[1] = len(bytes(self._states[:used]).rstrip(bytes([HOLE])))

    def warm_runs(self) -> list[tuple[int, int]]:
        """All runs of free blocks with pages behind them, as (first, count)."""
        data = bytes(self._states[: self._counters[1]]).translate(_AS_WARM)
        runs = []
        first = data.find(WARM)
        while first >= 0:
            rest = data[first:]
            count = len(rest) - len(rest.lstrip(bytes([WARM])))
            runs.append((first, count))
            first = data.find(WARM, first + count)
        return runs

    def forget_giving(self) -> None:
        """Who was giving pages back is dead: some may be gone, some not."""
        used = self._counters[1]
        self._states[:used] = bytes(self._states[:used]).replace(bytes([GIVING]), bytes([LEFT]))

    def rebuild(self, extents: list[tuple[int, int]]) -> None:
        """Somebody died half-way through a change: the objects' own ``(first, count)`` are what counts.

        Of taken blocks that nobody has it is not known whether they were reserved.
        """
        used = self._counters[1]
        states = bytearray(bytes(self._states[:used]).replace(bytes([TAKEN]), bytes([LEFT])))
        taken = 0
        for first, count in extents:
            states.extend(bytes(max(0, first + count - len(states))))
            states[first : first + count] = bytes([TAKEN]) * count
            taken += count
        self._states[: len(states)] = states
        self._counters[0] = taken
        self._counters[1] = len(states.rstrip(bytes([HOLE])))
