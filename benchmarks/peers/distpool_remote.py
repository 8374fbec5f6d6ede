"""distpool as `import distpool as ray`: remote functions, objects and actors, in a session of its own."""

from __future__ import annotations

from types import ModuleType

from benchmarks.adapters import StartedAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int) -> Adapter:
    module.init(num_cpus=workers)
    return StartedAdapter(module, module.shutdown)


PEER = Peer(name="distpool-remote", title="distpool", family="distpool", module="distpool", open=_open)
