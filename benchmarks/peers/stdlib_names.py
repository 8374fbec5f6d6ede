"""The standard `multiprocessing` as a namespace of names: locks, values, queues, managers, processes."""

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Peer

PEER = Peer(
    name="stdlib-names",
    title="multiprocessing",
    family="stdlib",
    module="multiprocessing",
    open=NamesAdapter.of,
)
