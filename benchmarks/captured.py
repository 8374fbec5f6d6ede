"""A task that reads a global of the main program: how most scripts hand a big array to their workers.

Such a function lives in `__main__`, which in a measurement is `measure.py`. So one is made there, as if the
user had written it in a script: it reads the globals `CAPTURED_ARRAY` and `CAPTURED_BODY` when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_SCRIPT = """
def captured_task(_argument):
    return CAPTURED_BODY(CAPTURED_ARRAY)
"""


def task_that_captures(body: Callable[[Any], Any], array: Any) -> Callable[[object], Any]:
    """A function of `__main__` that applies `body` to the global `array`, whatever its own argument."""
    script = vars(sys.modules["__main__"])
    script["CAPTURED_BODY"], script["CAPTURED_ARRAY"] = body, array
    exec(_SCRIPT, script)
    function: Callable[[object], Any] = script["captured_task"]
    return function
