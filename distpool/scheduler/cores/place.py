"""Which node a lease should be asked of: policy, as functions without state.

Assumptions. The facts come from the head's last View and may be half a second old, so a choice can be wrong; the
chosen agent then queues the request (``spilled``), so a wrong choice costs waiting, never a bounce. Nodes are
few (a thousand) and requests per lease, not per task, so a scan is cheap. Spreading by free CPU keeps caches
and memory bandwidth free and is what users of a pool expect; packing would only pay where nodes can be shut down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distpool.scheduler.cores.resources import fits, to_units
from distpool.scheduler.messages import NodeFacts


def place(request: Mapping[str, float], nodes: Iterable[NodeFacts]) -> NodeFacts | None:
    """The node to run ``request`` now: the one with the most free CPU (then by name); None if none has room."""
    need = to_units(request)
    return _freest([node for node in nodes if fits(need, to_units(node.available))])


def place_later(request: Mapping[str, float], nodes: Iterable[NodeFacts]) -> NodeFacts | None:
    """The node to wait at for ``request``: one whose total suffices; None if it can never run anywhere."""
    need = to_units(request)
    return _freest([node for node in nodes if fits(need, to_units(node.total))])


def _freest(nodes: list[NodeFacts]) -> NodeFacts | None:
    return min(nodes, key=lambda node: (-node.available.get("CPU", 0.0), node.node), default=None)
