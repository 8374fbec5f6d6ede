"""Frames and tables of 1,000,000 rows and 10 columns, numbers or strings, as argument and as result.

One call at a time. As argument, the task looks at one row in 512; as result, it returns what it already has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks import bodies
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Frames and tables"

_WARM_ROUNDS = 3


def measure_frame(
    make: Callable[[], Any], look: Callable[[Any], Any], session: Session
) -> Mapping[str, float]:
    """What `make` makes goes to a task that looks at it with `look`; then tasks return the like."""
    peer = session.open_warm()
    frame = make()
    expected = look(frame)
    peer.warm_store()
    for _ in range(_WARM_ROUNDS):
        peer.collect([peer.submit(look, frame) for _ in range(session.workers)])
        peer.collect([peer.submit(bodies.kept_frame, make) for _ in range(session.workers)])
    start = time.perf_counter()
    for _ in range(session.count):
        if peer.call(look, frame) != expected:
            raise AssertionError("wrong result")
    argument_s = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(session.count):
        result = peer.call(bodies.kept_frame, make)
        assert len(result) == bodies.FRAME_ROWS, "wrong result"
        del result
    result_s = time.perf_counter() - start
    assert look(peer.call(bodies.kept_frame, make)) == expected, "wrong result"
    return {"argument": session.count / argument_s, "result": session.count / result_s}


def _row(
    key: str, title: str, make: Callable[[], Any], look: Callable[[Any], Any], at_least: float, *needs: str
) -> Row:
    target = Target(f"{at_least:.0f}x stdlib Pool", ("stdlib-pool-fork",), at_least=at_least)
    return Row(
        key=key,
        metrics=(
            Metric("argument", f"{title} as argument", "calls/s", "higher", (target,)),
            Metric("result", f"{title} as result", "calls/s", "higher", (target,)),
        ),
        ours="distpool-pool",
        peers=("distpool-executor", "stdlib-pool-fork", "stdlib-executor", "ray-tasks"),
        count=20,
        measure=partial(measure_frame, make, look),
        quick_share=0.25,
        needs=("numpy", "pyarrow", *needs),
        shares={"stdlib-pool-fork": 0.25, "stdlib-executor": 0.25, "ray-tasks": 0.5},
    )


_SIZE = "1e6 rows x 10"

ROWS = (
    _row(
        "frame-numbers",
        f"pandas frame of {_SIZE} numbers",
        bodies.number_frame,
        bodies.look_at_frame,
        5.0,
        "pandas",
    ),
    _row(
        "frame-strings",
        f"pandas frame of {_SIZE} strings",
        bodies.string_frame,
        bodies.look_at_frame,
        3.0,
        "pandas",
    ),
    _row("table-numbers", f"Arrow table of {_SIZE} numbers", bodies.number_table, bodies.look_at_table, 10.0),
    _row("table-strings", f"Arrow table of {_SIZE} strings", bodies.string_table, bodies.look_at_table, 10.0),
)
