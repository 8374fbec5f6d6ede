"""Which GPUs a node has to give out: what its driver lists, as far as CUDA_VISIBLE_DEVICES shows it.

::

    Listing (``gpu_probe``, of NVML) ──► inventory ──► Inventory: what workers name each one by, and what kind they are
    CUDA_VISIBLE_DEVICES ───────────────────┘
    /proc/driver/nvidia (without NVML) ─► counted

A GPU that is divided (MIG) counts as its instances, and each of those has its UUID for a name: numbers name whole
GPUs only. Pure but for ``counted``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

__all__ = ["Device", "Gpu", "Inventory", "Listing", "counted", "inventory", "kind_of", "named"]

_PROC = "/proc/driver/nvidia/gpus"
_LEADING = re.compile("[A-Z0-9]*")


class Gpu(msgspec.Struct, frozen=True, array_like=True):
    """A GPU, or an instance of one, as NVML has it at this moment; None: it does not say.

    ``busy`` is the share of the last moments in which a kernel ran. ``parts``: its instances, if it is divided.
    """

    uuid: str
    model: str = ""
    memory_bytes: int | None = None
    used_bytes: int | None = None
    busy: float | None = None
    parts: tuple[Gpu, ...] | None = None


class Listing(msgspec.Struct, frozen=True, array_like=True):
    """All that can be used here, in the order of their numbers; or why that is not known."""

    gpus: tuple[Gpu, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Device:
    """One to give out. ``name``: what CUDA_VISIBLE_DEVICES calls it; ``uuid`` is "" where that is not known."""

    name: str
    uuid: str = ""
    model: str = ""
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Inventory:
    """A node's. ``count`` may be more than there are names for."""

    devices: tuple[Device, ...] = ()
    count: int = 0

    @property
    def names(self) -> list[str]:
        """In the order in which they are given out."""
        return [device.name for device in self.devices]

    @property
    def kind(self) -> str:
        """The type that all of them are of, as Ray calls it; "" if it is not known, or there are several."""
        kinds = {kind_of(device.model) for device in self.devices}
        return kinds.pop() if len(kinds) == 1 else ""


def named(visible: str) -> list[str]:
    """What CUDA_VISIBLE_DEVICES names."""
    # CUDA stops at the first that it does not know, and -1 is how people say "none".
    names = [name.strip() for name in visible.split(",")]
    stop = next((place for place, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return list(dict.fromkeys(names[:stop]))


def inventory(gpus: Sequence[Gpu], visible: str | None) -> Inventory:
    """What NVML lists, as far as CUDA would show it with CUDA_VISIBLE_DEVICES (None: not set)."""
    gpus = [gpu for gpu in gpus if gpu.uuid]  # what does not say who it is cannot be used
    if visible is None:
        by_uuid = any(gpu.parts is not None for gpu in gpus)  # a list of both kinds of names is none to CUDA
        found = [
            _device(one.uuid if by_uuid else str(number), one)
            for number, gpu in enumerate(gpus)
            for one in ((gpu,) if gpu.parts is None else gpu.parts)
        ]
        return Inventory(tuple(found), len(found))
    chosen: dict[str, Device] = {}
    for name in named(visible):
        one = _called(name, gpus)
        if one is None:
            break
        chosen.setdefault(one.uuid, _device(name, one))
    return Inventory(tuple(chosen.values()), len(chosen))


def _device(name: str, gpu: Gpu) -> Device:
    return Device(name, gpu.uuid, gpu.model, gpu.memory_bytes)


def _called(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """What CUDA takes this name for: a number, or the beginning of a UUID that no other has."""
    if name.isdecimal():
        meant = [gpus[int(name)]] if int(name) < len(gpus) else []
    else:
        meant = [one for one in _all(gpus) if one.uuid.startswith(name)]
    if len(meant) != 1:
        return None
    (one,) = meant
    return one if one.parts is None else next(iter(one.parts), None)  # of a divided one, CUDA takes the first


def _all(gpus: Sequence[Gpu]) -> Iterator[Gpu]:
    for gpu in gpus:
        yield gpu
        yield from gpu.parts or ()


def counted(visible: str | None, proc: str = _PROC) -> Inventory:
    """Without NVML: what CUDA_VISIBLE_DEVICES names, else what the driver's files tell."""
    names = None if visible is None else named(visible)
    if names == []:
        return Inventory()
    try:
        models = [_model(f"{proc}/{gpu}/information") for gpu in sorted(os.listdir(proc))]
    except OSError:
        models = []
    model = models[0] if len(set(models)) == 1 else ""  # which number is which, the files do not tell
    if names is None:
        names = [str(number) for number in range(len(models))]
    return Inventory(tuple(Device(name, model=model) for name in names), len(names))


def _model(path: str) -> str:
    try:
        with open(path) as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        return ""
    return next((value.strip() for key, _, value in lines if key.strip() == "Model"), "")


def kind_of(model: str) -> str:
    """What Ray calls the type of a model: H100 for "NVIDIA H100 80GB HBM3", TITAN-V for "NVIDIA TITAN V".

    It is the first word behind the brand that has a figure, with the words in capitals that lead to it; where there is
    no such word, all that is not NVIDIA.
    """
    brand, *words = model.split() or [""]
    taken: list[str] = []
    for word in words:
        found = _LEADING.match(word)
        leading = found[0] if found is not None else ""
        if any(letter.isdigit() for letter in leading):
            kind = "-".join([*taken, leading])
            if len(kind) > 1:
                return kind
            break
        if leading != word:
            break
        taken.append(word)
    return "-".join(words if brand == "NVIDIA" else [brand, *words])
