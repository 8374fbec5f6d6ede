"""Whether a plan is run in fragments, by the size of what it reads. Where nothing is forced, most plans never are.

    files of less than 256 MiB                                     here: nothing more is looked at
    more than one machine, and at least 1 GiB of columns           fragments, on all of them
    columns that take more than the memory that is free            fragments, on this machine: they spill
    else                                                           here, by Polars

What columns take is what the footers of the files say, twice: text is longer in memory than in a file, and a plan
holds rows in two forms while it makes one of the other. A filter may leave less; then the choice costs some time.
"""

from __future__ import annotations

import os

from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.sources import sources_of
from distpool.dataframe.plan import Node, Scan, walk

LOOKED_AT_BYTES_MIN = 256 << 20
SPREAD_BYTES_MIN = 1 << 30
BYTES_IN_MEMORY = 2


def may_be_big(root: Node) -> bool:
    """Say whether the files of a plan are so big that a closer look pays."""
    files = {node.paths: node.stamps for node in walk(root) if isinstance(node, Scan)}
    return sum(size for stamps in files.values() for size, _ in stamps) >= LOOKED_AT_BYTES_MIN


def why_in_fragments(plan: Node, limits: Limits) -> str:
    """Tell why an optimized plan is to be run in fragments; "" if it is not."""
    if not may_be_big(plan):
        return ""
    read = sum(one.bytes_ for fragments in sources_of(plan, limits).values() for one in fragments)
    machines = _machines() if read >= SPREAD_BYTES_MIN else 1
    if machines > 1:
        return f"there are {machines} machines, and {read >> 20} MiB of columns"
    needed, free = read * BYTES_IN_MEMORY, free_bytes()
    if needed > free:
        return f"it takes about {needed >> 20} MiB of memory, and {free >> 20} MiB are free"
    return ""


def _machines() -> int:
    """How many machines this program uses already, or was told to use; none is looked for."""
    import distpool

    if not distpool.is_initialized():
        if not os.environ.get("DISTPOOL_ADDRESS"):
            return 1
        distpool.init(ignore_reinit_error=True)
    return sum(node["Alive"] for node in distpool.nodes())


def free_bytes() -> int:
    """Tell how much memory this process may still take."""
    import psutil

    from distpool.scheduler.store.files import usable_memory_bytes

    return min(int(psutil.virtual_memory().available), usable_memory_bytes())
