"""distpool on several nodes. What it is compared with, its rows measure themselves, in turns with it."""

from benchmarks.model import Peer

PEER = Peer(name="cluster", title="distpool cluster", family="distpool", module="distpool", open=None)
