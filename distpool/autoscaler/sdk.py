"""``request_resources``: have nodes before there is work for them. Stands in for ``ray.autoscaler.sdk``.

Ray keeps the latest request of anybody for ever; here each process has its own, and it ends with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from distpool.scheduler.remote import cluster_facts

__all__ = ["request_resources"]

#: So many bundles in all, which is what a head can look at in a moment.
BUNDLES_MAX = 10_000


def request_resources(
    num_cpus: int | None = None, bundles: Iterable[Mapping[str, float]] | None = None
) -> None:
    """Have the cluster keep room for this, whatever runs there: nodes are started for it, and none of them stopped.

    ``num_cpus`` stands for so many bundles of one CPU. A process's latest request counts, with those of others; without
    arguments it requests nothing any more, as when it ends. It returns at once. Where nobody starts nodes (``distpool
    start --autoscale``) nothing comes of it. Stands in for ``ray.autoscaler.sdk.request_resources``.

    Raises:
        ValueError: an amount is negative, or no number; there are more than ``BUNDLES_MAX`` bundles.
        ClusterError: there is no cluster, or it was lost.
    """
    whole = [{str(name): float(amount) for name, amount in bundle.items()} for bundle in bundles or ()]
    whole = [{"CPU": 1.0}] * int(num_cpus or 0) + whole
    if len(whole) > BUNDLES_MAX:
        raise ValueError(
            f"{len(whole)} bundles are requested, and there may be {BUNDLES_MAX}; request larger ones"
        )
    for bundle in whole:
        for name, amount in bundle.items():
            if not 0 <= amount < math.inf:
                raise ValueError(
                    f"cannot request {amount!r} of {name}: an amount is a finite number, zero or more"
                )
    cluster_facts.request_resources(tuple(whole))
