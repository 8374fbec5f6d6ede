"""pandas itself: its module, nothing started."""

from __future__ import annotations

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Peer

PEER = Peer(
    name="pandas",
    title="pandas",
    family="pandas",
    module="pandas",
    open=NamesAdapter.of,
    distribution="pandas",
)
