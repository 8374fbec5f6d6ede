"""joblib on its own default backend, loky."""

from benchmarks.adapters import JoblibAdapter
from benchmarks.model import Adapter, Peer


def _open(module: object, workers: int) -> Adapter:
    return JoblibAdapter("loky", workers)


PEER = Peer(
    name="loky-joblib",
    title="loky backend",
    family="loky",
    module="joblib",
    open=_open,
    distribution="joblib",
)
