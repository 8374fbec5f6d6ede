"""joblib on distpool's backend."""

from benchmarks.adapters import JoblibAdapter
from benchmarks.model import Adapter, Peer


def _open(module: object, workers: int) -> Adapter:
    return JoblibAdapter("distpool", workers)


PEER = Peer(
    name="distpool-joblib", title="distpool backend", family="distpool", module="distpool.joblib", open=_open
)
