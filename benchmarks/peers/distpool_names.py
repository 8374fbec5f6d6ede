"""distpool as a namespace of `multiprocessing`'s names."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return NamesAdapter(module)


PEER = Peer(name="distpool-names", title="distpool", family="distpool", module="distpool", open=_open)
