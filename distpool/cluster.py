"""What there is in the cluster: ``nodes``, ``cluster_resources``, ``available_resources``.

Stands in for the functions of these names in ``ray``, with their shapes and key names. What a node has is settled when
its agent starts; what is free is the head's latest knowledge of it, a fraction of a second old. Not here: how the head
is asked (``scheduler.remote.cluster_facts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distpool.errors import ClusterError
from distpool.scheduler import client
from distpool.scheduler.messages import FactsReport, NodeFacts
from distpool.scheduler.remote import cluster_facts
from distpool.scheduler.shells import worker_start
from distpool.scheduler.shells.node_resources import ip_of

__all__ = ["available_resources", "cluster_resources", "nodes"]


def nodes() -> list[dict[str, Any]]:
    """The nodes of the cluster, as a list of dicts, and those that it has lost, as far as they are remembered.

    Of each: ``NodeID`` (what ``NodeAffinitySchedulingStrategy`` takes), ``NodeName`` (each node has a resource
    ``node:NAME``), ``Alive``, ``NodeManagerAddress``, ``NodeManagerHostname``, ``Resources`` (what it has in all;
    memory in bytes; nothing if it is lost), ``Labels``. Keys about ports and sockets that a node here does not have
    are 0 or empty (``ray.nodes``).

    Raises:
        ClusterError: the cluster cannot be started, or was lost meanwhile.
    """
    report = _facts()
    there = [_shown(node, alive=True) for node in report.nodes]
    back = {node.node for node in report.nodes}
    return there + [_shown(node, alive=False) for node in report.gone if node.node not in back]


def cluster_resources() -> dict[str, float]:
    """What all nodes have together, by name; memory in bytes (``ray.cluster_resources``). Raises as ``nodes`` does."""
    return _sum(node.total for node in _facts().nodes)


def available_resources() -> dict[str, float]:
    """What of it is free now; what is used up is left out (``ray.available_resources``).

    What workers hold that this process keeps for what it may call next counts as free. Raises as ``nodes`` does.
    """
    report = _facts()
    kept = cluster_facts.kept_idle()
    free = _sum(_free_of(node, kept.get(node.node, ())) for node in report.nodes)
    return {name: amount for name, amount in free.items() if amount}


def _free_of(node: NodeFacts, kept: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """No more than the node has: what is known of it may be from before its workers were given to anybody."""
    free = _sum([node.available, *kept])
    return {name: min(amount, node.total.get(name, amount)) for name, amount in free.items()}


def _facts() -> FactsReport:
    if client.current() is None and worker_start.this_worker is None:
        raise ClusterError("there is no session to ask: call init() first, or any remote function")
    return cluster_facts.facts()


def node_id_of(name: str) -> str:
    """A node's name as hexadecimal digits, which programs written for Ray expect of a NodeID."""
    return name.encode().hex()


def node_name_of(node_id: str) -> str:
    """The name of the node that is meant by a NodeID; a name itself is one too."""
    try:
        return bytes.fromhex(node_id).decode()
    except ValueError:
        return node_id


def _shown(node: NodeFacts, *, alive: bool) -> dict[str, Any]:
    return {
        "NodeID": node_id_of(node.node),
        "Alive": alive,
        "NodeManagerAddress": ip_of(node.address),
        "NodeManagerHostname": node.host,
        "NodeManagerPort": 0,
        "ObjectManagerPort": 0,
        "ObjectStoreSocketName": "",
        "RayletSocketName": node.address,
        "MetricsExportPort": 0,
        "NodeName": node.node,
        "alive": alive,
        "Resources": dict(node.total) if alive else {},
        "Labels": dict(node.labels),
    }


def _sum(amounts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    whole: dict[str, float] = {}
    for some in amounts:
        for name, amount in some.items():
            whole[name] = whole.get(name, 0.0) + amount
    return whole
