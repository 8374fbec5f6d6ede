"""Stands in for nvidia-ml-py where there is no GPU: what it says lies in a file, which a test may rewrite at any time.

STAND_IN_NVML is a directory. ``gpus.json`` there is a list of GPUs, {"uuid", "model", "memory", "used", "busy"}, and:

    "parts": [...]          it is divided into these instances
    "lost": true            whatever is asked of it: NVMLError_GpuIsLost
    "forbidden": true       this process may not use it: NVMLError_NoPermission, and no handle

or else {"init": "LibRmVersionMismatch"}: that is what comes of ``nvmlInit``; "hang": nothing does; "die": the process
ends. Names, signatures and errors are the module's own. ``asked`` has a line for each answer about utilisation.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_PLACE = Path(os.environ["STAND_IN_NVML"])
_WORDS = {
    "LibRmVersionMismatch": "RM has detected an NVML/RM version mismatch.",
    "DriverNotLoaded": "Driver Not Loaded",
    "GpuIsLost": "GPU is lost",
    "NotSupported": "Not Supported",
    "NoPermission": "Insufficient Permissions",
    "NotFound": "Not Found",
    "InvalidArgument": "Invalid Argument",
    "Uninitialized": "Uninitialized",
}

_initialised = False


class NVMLError(Exception):
    def __str__(self) -> str:
        return _WORDS[type(self).__name__.partition("_")[2]]


_ERRORS = {name: type(f"NVMLError_{name}", (NVMLError,), {}) for name in _WORDS}
globals().update({error.__name__: error for error in _ERRORS.values()})


def _said() -> Any:
    return json.loads((_PLACE / "gpus.json").read_text())


def nvmlInit() -> None:
    global _initialised
    said = _said()
    if isinstance(said, dict):
        if said["init"] == "hang":
            time.sleep(600)
        if said["init"] == "die":
            print("a library that prints", flush=True)
            os.abort()
        raise _ERRORS[said["init"]]
    _initialised = True


def _gpus() -> list[dict[str, Any]]:
    if not _initialised:
        raise _ERRORS["Uninitialized"]
    said = _said()
    if isinstance(said, dict):  # the driver has gone away since
        raise _ERRORS["GpuIsLost"]
    return said


def _gpu(handle: tuple[int, ...]) -> dict[str, Any]:
    gpu = _gpus()[handle[0]]
    if gpu.get("lost"):
        raise _ERRORS["GpuIsLost"]
    return gpu["parts"][handle[1]] if len(handle) == 2 else gpu


def nvmlDeviceGetCount() -> int:
    return len(_gpus())


def nvmlDeviceGetHandleByIndex(index: int) -> tuple[int, ...]:
    gpus = _gpus()
    if index >= len(gpus):
        raise _ERRORS["InvalidArgument"]
    if gpus[index].get("forbidden"):
        raise _ERRORS["NoPermission"]
    return (index,)


def nvmlDeviceGetUUID(handle: tuple[int, ...]) -> str:
    return str(_gpu(handle)["uuid"])


def nvmlDeviceGetName(handle: tuple[int, ...]) -> bytes:
    """Bytes, as releases before 11.5 had it."""
    return str(_gpu(handle)["model"]).encode()


def nvmlDeviceGetMemoryInfo(handle: tuple[int, ...], version: int | None = None) -> SimpleNamespace:
    gpu = _gpu(handle)
    return SimpleNamespace(total=gpu["memory"], used=gpu["used"], free=gpu["memory"] - gpu["used"])


def nvmlDeviceGetUtilizationRates(handle: tuple[int, ...]) -> SimpleNamespace:
    gpu = _gpu(handle)
    if len(handle) == 2:
        raise _ERRORS["NotSupported"]
    with (_PLACE / "asked").open("a") as file:
        file.write(f"{os.getpid()} {gpu['uuid']} {time.monotonic()}\n")
    return SimpleNamespace(gpu=gpu["busy"], memory=0)


def nvmlDeviceGetMigMode(device: tuple[int, ...]) -> list[int]:
    gpu = _gpu(device)
    if "parts" not in gpu:
        raise _ERRORS["NotSupported"]
    return [1, 1]


def nvmlDeviceGetMaxMigDeviceCount(device: tuple[int, ...]) -> int:
    _gpu(device)
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(device: tuple[int, ...], index: int) -> tuple[int, ...]:
    if index >= len(_gpu(device)["parts"]):
        raise _ERRORS["NotFound"]
    return (*device, index)
