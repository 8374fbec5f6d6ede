"""Polars itself: its module, nothing started."""

from __future__ import annotations

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Peer

PEER = Peer(
    name="polars",
    title="Polars",
    family="polars",
    module="polars",
    open=NamesAdapter.of,
    distribution="polars",
)
