"""The standard `multiprocessing` as a namespace of names: locks, values, queues, managers, processes."""

from types import ModuleType
from typing import Any

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Adapter, Peer


def _open(module: ModuleType, workers: int, **options: Any) -> Adapter:
    return NamesAdapter(module)


PEER = Peer(
    name="stdlib-names", title="multiprocessing", family="stdlib", module="multiprocessing", open=_open
)
