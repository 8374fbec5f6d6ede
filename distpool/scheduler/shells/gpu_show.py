"""GPUs in words, for commands that print them: ``nodes``, ``status``, ``top``."""

from __future__ import annotations

from collections.abc import Iterable

from distpool.scheduler.messages import FactsReport
from distpool.scheduler.messages.insights import GpuLoad, unpack_machine
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.store.files import show_size

__all__ = ["gpu_rows", "gpus_of", "in_a_line"]

#: So often is asked who has only begun to look: each time the nodes wait a moment for an answer.
LOOKS_MAX = 4


def gpus_of(asker: Asker, report: FactsReport) -> dict[str, tuple[GpuLoad, ...]]:
    """Those of each node that tells of any; nobody is asked where there are none. Raises ClusterError."""
    if not any(node.total.get("GPU") for node in report.nodes):
        return {}
    found: dict[str, tuple[GpuLoad, ...]] = {}
    for _ in range(LOOKS_MAX):
        surveyed = asker.survey("load", owners=False)
        found = {node.node: unpack_machine(node.own).gpus for node in surveyed.nodes if node.own}
        if all(gpu.used_bytes is not None for gpus in found.values() for gpu in gpus):
            break
    return dict(sorted((node, gpus) for node, gpus in found.items() if gpus))


def gpu_rows(found: Iterable[tuple[str, Iterable[GpuLoad]]]) -> list[tuple[str, ...]]:
    """A table, with its head first."""
    rows: list[tuple[str, ...]] = [("NODE", "GPU", "MODEL", "BUSY", "MEMORY")]
    for node, gpus in found:
        for gpu in gpus:
            used = "?" if gpu.used_bytes is None else show_size(gpu.used_bytes)
            size = "?" if gpu.memory_bytes is None else show_size(gpu.memory_bytes)
            busy = "?" if gpu.busy is None else f"{gpu.busy:.0%}"
            rows.append((node, gpu.name, gpu.model or "?", busy, f"{used}/{size}"))
    return rows


def in_a_line(gpus: Iterable[GpuLoad]) -> str:
    """How busy all of them are, as far as that is known: ", 40% busy, 30 GiB of 160 GiB of their memory used"."""
    gpus = list(gpus)
    busy = [gpu.busy for gpu in gpus if gpu.busy is not None]
    memory = [
        (gpu.used_bytes, gpu.memory_bytes) for gpu in gpus if gpu.used_bytes is not None and gpu.memory_bytes
    ]
    said = f", {sum(busy) / len(busy):.0%} busy" if busy else ""
    if memory:
        used, size = (show_size(sum(amounts)) for amounts in zip(*memory, strict=True))
        said += f", {used} of {size} of their memory used"
    return said
