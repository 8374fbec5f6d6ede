"""How big fragments and what they exchange may be. One frozen value, so that tests can make everything small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, as rows lie in memory.

    A worker holds what a fragment reads and about as much again while it works: 64 MiB is long enough to spread the
    cost of a call (milliseconds), and small enough that a worker for each core fits next to nothing.
    """

    fragment_bytes: int = 64 << 20
    # Smaller ones are made where there are more CPUs than fragments, but none than this: a call costs as much.
    small_bytes: int = 8 << 20
    cpus: int = 1
    # The side of a join that every fragment of the other one gets whole: read by all of a node from one copy.
    broadcast_bytes: int = 64 << 20
    # What is brought together for one last step, where there would be a shuffle otherwise.
    gather_bytes: int = 64 << 20
    # A shuffle makes as many pieces of each of its fragments. More of them cost more than they save.
    pieces_max: int = 64
    # Rows of a run that are looked at to find the bounds of a sort.
    samples: int = 128
    # The rows of a top-n that are kept of each fragment; more are sorted as a whole.
    top_rows_max: int = 100_000

    def bytes_of_each(self, size: int) -> int:
        """How big the fragments are that read so much together: enough of them that each CPU has two."""
        return min(self.fragment_bytes, max(self.small_bytes, -(-size // (2 * self.cpus))))

    def pieces_for(self, size: int) -> int:
        """How many pieces rows of this size are made into."""
        return max(1, min(self.pieces_max, -(-size // self.bytes_of_each(size))))
