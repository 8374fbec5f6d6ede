"""One test's devices, and the programs that use them: see ``stand_in/cupy/cuda/ground.py`` for what lies there."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from pathlib import Path
from types import ModuleType

from tests.processes.harness import ROOT
from tests.processes.scene import run

STAND_IN = Path(__file__).parent / "stand_in"

HEAD = """
import os, signal, sys, time
import distpool

def ground():
    from cupy.cuda import ground
    return ground

def wait(condition, what="it", within_s=20):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.002)

def used():
    "Bytes of all devices that living processes have, but those of this one's own arrays."
    return sum(map(ground().used, "0123")) - OWN[0]

OWN = [0]

def array(value=1.0, count=1 << 18, own=True):
    import cupy
    made = cupy.full(count, value)
    if own:
        OWN[0] += made.data.mem.size
    return made

if __name__ == "__main__":
"""


class Ground:
    """A directory of devices."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def tell(self, body: str, head: str = "", **env: str) -> str:
        """What a program prints whose main part is ``body``; it has ``array``, ``used`` and ``wait``."""
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        text, _, main = HEAD.rpartition("if __name__")
        code = f"{text}{head}\nif __name__{main}{lines}"
        path = os.pathsep.join([str(STAND_IN), str(ROOT)])
        return run(
            code, env={"PYTHONPATH": path, "STAND_IN": str(self.place), "CUDA_VISIBLE_DEVICES": "0", **env}
        )

    def notes(self) -> Counter[str]:
        """What was done on the devices, without whom: what is called how often."""
        file = self.place / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(" ".join(line.split()[1:-1]) or line.split()[1] for line in lines)

    @property
    def opened(self) -> int:
        """How many handles were opened."""
        return self.notes()["opened"]

    def check(self) -> None:
        """Nothing was done that CUDA forbids; nothing is left."""
        file = self.place / "violations"
        assert not file.exists(), file.read_text()
        module = stand_in_ground(self.place)
        left = [path.name for gpu in "0123" for path in module.allocations(gpu, self.place)]
        assert not left, f"still allocated: {left}"


def stand_in_ground(place: Path) -> ModuleType:
    """The stand-in's account, without the stand-in."""
    os.environ.setdefault("STAND_IN", str(place))
    spec = importlib.util.spec_from_file_location("stand_in_ground", STAND_IN / "cupy" / "cuda" / "ground.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
