"""distpool as a namespace of `multiprocessing`'s names."""

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Peer

PEER = Peer(
    name="distpool-names", title="distpool", family="distpool", module="distpool", open=NamesAdapter.of
)
