"""One test's GPUs, as NVML would tell of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec._core

from tests.processes.harness import ROOT

STAND_IN = Path(__file__).parent / "stand_in"
GIB = 1 << 30
H100 = "NVIDIA H100 80GB HBM3"


def gpu(number: int, model: str = H100, **more: Any) -> dict[str, Any]:
    """GPU-0000..., GPU-1111..., ..."""
    digit = f"{number:x}"
    uuid = f"GPU-{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}"
    return {"uuid": uuid, "model": model, "memory": 80 * GIB, "used": GIB, "busy": 10 * number, **more}


def part(number: int, model: str = f"{H100} MIG 1g.10gb") -> dict[str, Any]:
    return gpu(number, model) | {"uuid": gpu(number)["uuid"].replace("GPU", "MIG"), "memory": 10 * GIB}


class Driver:
    """A directory that says what there is, and the environment of processes that are to believe it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        # That the library loads is all that is asked of it: so any will do.
        shutil.copy(msgspec._core.__file__, place / "libnvidia-ml.so.1")

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(ROOT)]),
            "LD_LIBRARY_PATH": str(self.place),
            "STAND_IN_NVML": str(self.place),
        }

    def say(self, *gpus: dict[str, Any]) -> None:
        self._say(list(gpus))

    def fail(self, init: str) -> None:
        self._say({"init": init})

    def _say(self, said: Any) -> None:
        file = self.place / "gpus.json.new"
        file.write_text(json.dumps(said))
        file.rename(self.place / "gpus.json")

    def asked(self) -> list[tuple[int, str, float]]:
        """Who has asked how busy which GPU is, and when."""
        file = self.place / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(pid), uuid, float(at)) for pid, uuid, at in map(str.split, lines)]
