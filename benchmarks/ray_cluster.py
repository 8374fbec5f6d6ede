"""One private Ray, shared by the two ways of driving it (`peers/ray_tasks.py`, `peers/ray_pool.py`).

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


def start(ray: ModuleType, workers: int) -> Callable[[], None]:
    """Start Ray on loopback with `workers` CPUs; return what stops it.

    Its files lie in the temporary folder, which the lane gives each measurement anew and removes.
    """
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=tempfile.gettempdir(),
    )
    stop: Callable[[], None] = ray.shutdown
    return stop
