"""distpool as pandas."""

from __future__ import annotations

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Peer

PEER = Peer(
    name="distpool-dataframe",
    title="distpool",
    family="distpool",
    module="distpool.dataframe",
    open=NamesAdapter.of,
)
