"""Where the front doors get their engine.

One process has one engine, because ``Pool()`` takes no address: the session's own (``scheduler.client``), started
by the first door that asks, unless another was chosen with ``use``::

    door ── current() ──► the engine of `use(...)`, innermost first     (tests, debugging in one process)
                     └──► distpool.scheduler.client.session()           (everything else)

What it is not: an engine. ``protocol`` says what one is; ``local`` is one that runs calls in threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distpool.cpus import cpu_count

if TYPE_CHECKING:
    from distpool.engines.protocol import Engine

__all__ = ["current", "use", "worker_count"]

_chosen: list[Engine] = []


def current() -> Engine:
    """The engine for pools that are opened now. The first call may start the session's processes."""
    if _chosen:
        return _chosen[-1]
    session: Engine = _client().session()
    return session


def _client() -> Any:
    """The module, imported when first needed. A Ctrl-C in the middle of that would leave libraries half imported."""
    known = sys.modules.get("distpool.scheduler.client")
    if known is not None and hasattr(known, "session"):
        return known
    from distpool.scheduler.signals import DeferredSignals, on_main_thread

    signals = DeferredSignals(lambda: None) if on_main_thread() else None
    try:
        if signals is not None:
            signals.hold()
        from distpool.scheduler import client
    finally:
        if signals is not None:
            signals.release()
    return client


def worker_count() -> int:
    """How many workers a pool has that does not say: one for each CPU, of all machines where a cluster is in use."""
    client = sys.modules.get("distpool.scheduler.client")
    if _chosen or (client is None and not os.environ.get("DISTPOOL_ADDRESS")):
        return cpu_count()
    from distpool.scheduler.client import worker_count

    return worker_count()


@contextmanager
def use(engine: Engine) -> Iterator[Engine]:
    """Open pools on ``engine`` during this ``with`` block, in every thread; those opened before stay where they are."""
    _chosen.append(engine)
    try:
        yield engine
    finally:
        _chosen.remove(engine)
