"""How often something happens in a second, measured in bouts of a given length: `rate`.

::

    work() work() ...  | work() work() work() ... | work() work() work() ...
    warming: at least   bout: whole pieces until   bout
    one, half a bout    its time is up              ─► the better of the bouts' rates

Everybody gets the same time, however slow, so a row takes as long for one library as for another. A piece of work
may be a batch of many calls; the rate is that of the calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_BOUTS = 2
_WARM_SHARE = 0.5


def rate(work: Callable[[], object], calls: int, bout_s: float) -> float:
    """The calls per second of `work`, each piece of which makes so many `calls`; the best bout counts.

    A bout is as many whole pieces as begin within `bout_s`, at least one.
    """
    _run(work, bout_s * _WARM_SHARE)
    return max(
        calls * pieces / elapsed_s for pieces, elapsed_s in (_run(work, bout_s) for _ in range(_BOUTS))
    )


def _run(work: Callable[[], object], limit_s: float) -> tuple[int, float]:
    """How many pieces were done, and how long they took."""
    pieces, start = 0, time.perf_counter()
    while True:
        work()
        pieces += 1
        elapsed_s = time.perf_counter() - start
        if elapsed_s >= limit_s:
            return pieces, elapsed_s
