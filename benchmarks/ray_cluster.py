"""One private Ray, shared by the ways of driving it (`peers/ray_tasks.py`, `ray_pool.py`, `ray_remote.py`).

Ray's processes listen on every interface whatever address they are told. So its peers are `isolated`:
`measure.py` refuses to import Ray outside a network namespace that holds nothing but loopback.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from types import ModuleType

# Set before the import: no usage report, no colours, no log lines in the driver.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0", "RAY_DEDUP_LOGS": "0"}
COUNT_SHARE = 0.25

# Ray's store takes fresh pages until it has been through all of its memory, and fresh pages cost several times as
# much as the copying. So it gets a size that can be written through before a measurement (default: a third
# of the machine's memory); that makes Ray up to five times faster in the rows with big arrays.
STORE_BYTES = 2 << 30
_FILLING_BYTES = 64 << 20
_FILLED_SHARE = 0.95


def start(ray: ModuleType, workers: int) -> Callable[[], None]:
    """Start Ray on loopback with `workers` CPUs; return what stops it.

    Its files lie in the temporary folder, which the lane gives each measurement anew and removes.
    """
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=STORE_BYTES,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=tempfile.gettempdir(),
    )
    stop: Callable[[], None] = ray.shutdown
    return stop


def warm_store(ray: ModuleType) -> None:
    """Fill Ray's store once, and let go of everything."""
    filling = bytearray(_FILLING_BYTES)
    held = [ray.put(filling) for _ in range(int(STORE_BYTES * _FILLED_SHARE) // _FILLING_BYTES)]
    ray.get(held[-1])
    held.clear()
