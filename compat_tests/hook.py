"""What happens at the start of every Python process in a test's tree, before any test code.

The virtual environments of this harness hold a `.pth` file that imports this module and calls `at_start`.
So the swap also reaches what tests start by themselves: scripts run as `python -I -c ...`, children of
spawn and forkserver. Without the environment variable nothing happens at all.

    DISTPOOL_COMPAT = {"suite": "pool", "swap": true, "evidence": FILE, "package_path": DIR, "borrowed": {}}

Not touched: distpool's own processes, which are the thing under test, and the standard resource tracker.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

VARIABLE = "DISTPOOL_COMPAT"

# "-m distpool.x", "-c 'from distpool ...'", ".../distpool/scheduler/x.py", the resource tracker's "-c" line.
_NOT_A_TEST = re.compile(
    r"(^|[\s;])distpool(\.|\s|$)|/distpool/\w+/.*\.py$|multiprocessing\.resource_tracker"
)

watching = False


def at_start() -> None:
    """Swap, borrow and watch as the environment says. Raises what the swap raises: no void run goes on."""
    text = os.environ.get(VARIABLE)
    if text is None or watching:  # a folder of packages may be on the path twice, and its .pth file with it
        return
    order = json.loads(text)
    _lead_path(order["package_path"])
    if order["borrowed"]:
        from compat_tests import borrow

        borrow.lend(order["borrowed"])
    if not any(_NOT_A_TEST.search(argument) for argument in sys.orig_argv[1:]):
        _swap_and_watch(order)


def _swap_and_watch(order: dict[str, Any]) -> None:
    global watching
    from compat_tests import guard
    from compat_tests.suites import SUITES

    standard = guard.standard_classes(SUITES[order["suite"]].guarded)
    if order["swap"]:
        # The very swap that `distpool run` makes.
        from distpool.run import install

        install()
    guard.watch(standard, Path(order["evidence"]))
    watching = True


def _lead_path(folder: str) -> None:
    """Make `folder` the first place that `import distpool` looks at."""
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
