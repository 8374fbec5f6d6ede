"""No library but a reference: how fast this machine copies into shared memory (`benchmarks/memcpy.py`)."""

from benchmarks.model import Peer

PEER = Peer(
    name="memcpy",
    title="memcpy to warm shared memory",
    family="memcpy",
    module="benchmarks.memcpy",
    open=None,
)
