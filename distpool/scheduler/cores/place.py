"""Which node a lease should be asked of: policy, as functions without state.

Assumptions. The facts come from the head's last View and may be half a second old, so a choice can be wrong; the
chosen agent then queues the request (``spilled``), so a wrong choice costs waiting, never a bounce. Nodes are
few (a thousand) and requests per lease, not per task, so a scan is cheap. At home first, since the arguments are there.
Spreading the rest by free CPU keeps caches and memory bandwidth free and is what users of a pool expect; packing would
only pay where nodes can be shut down.

``tests/cores/placements.txt`` has a case for each rule. Not here: placement groups (``place_bundles``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distpool.scheduler.cores.resources import Amounts, fits, show, to_units
from distpool.scheduler.messages import LabelTerm, NodeFacts, Strategy


class Placed(NamedTuple):
    """A node, and whether it has room now; else it is the one to wait at."""

    node: NodeFacts
    now: bool


def place(
    need: Amounts, strategy: Strategy, nodes: Sequence[NodeFacts], home: str = "", last: str = ""
) -> Placed | None:
    """Where ``need`` should run; None if it can never run anywhere.

    ``home`` is the owner's own node. ``last`` is the one that had the previous lease of a pool that is spread.
    """
    able = [node for node in nodes if may_be(strategy, node) and fits(need, to_units(node.total))]
    if strategy.kind in ("node", "near"):
        chosen = [node for node in able if node.node == strategy.node]
        if chosen or not (strategy.soft or strategy.kind == "near"):
            able = chosen
    if not able:
        return None
    roomy = [node for node in able if fits(need, to_units(node.available))]
    roomy = [node for node in roomy if satisfies(node.labels, strategy.wishes)] or roomy
    if not roomy:
        able = [node for node in able if satisfies(node.labels, strategy.wishes)] or able
        return Placed(_home_or_freest(able, home), False)
    if strategy.kind == "spread":
        return Placed(_in_turn(roomy, last or _before(home, roomy)), True)
    return Placed(_home_or_freest(roomy, home), True)


def may_be(strategy: Strategy, node: NodeFacts) -> bool:
    """Whether the strategy allows this node, however much room it has."""
    if strategy.kind == "node" and not strategy.soft and node.node != strategy.node:
        return False
    return satisfies(node.labels, strategy.labels)


def home_is_best(strategy: Strategy, node: NodeFacts) -> bool:
    """Whether the owner's own node, if it has room, need not be compared with others."""
    if strategy.kind == "spread" or (strategy.kind in ("node", "near") and strategy.node != node.node):
        return False
    return satisfies(node.labels, strategy.labels) and satisfies(node.labels, strategy.wishes)


def satisfies(labels: Mapping[str, str], terms: Sequence[LabelTerm]) -> bool:
    """Whether a node's labels are as all the terms want them."""
    return all(_satisfies(labels.get(term.key), term) for term in terms)


def _satisfies(value: str | None, term: LabelTerm) -> bool:
    match term.operator:
        case "in":
            return value in term.values
        case "not_in":
            return value not in term.values
        case "exists":
            return value is not None
        case "absent":
            return value is None
        case _:
            raise AssertionError(f"no such operator: {term}")


def _home_or_freest(nodes: Sequence[NodeFacts], home: str) -> NodeFacts:
    return min(nodes, key=lambda node: (node.node != home, -node.available.get("CPU", 0.0), node.node))


def _in_turn(nodes: Sequence[NodeFacts], last: str) -> NodeFacts:
    """The next behind ``last`` in a ring by name."""
    return min(nodes, key=lambda node: (node.node <= last, node.node))


def _before(home: str, nodes: Sequence[NodeFacts]) -> str:
    """Whom ``home`` comes behind in the ring, so that the first turn is its own."""
    return max((node.node for node in nodes if node.node < home), default="")


# ------------------------------------------------------------------------------------------ for error texts


def refusal(resources: Mapping[str, float], strategy: Strategy, nodes: Sequence[NodeFacts]) -> str:
    """Why no node will do: what was asked, and what the nodes have."""
    asked = show(resources)
    if strategy.kind == "node" and not strategy.soft and all(node.node != strategy.node for node in nodes):
        names = ", ".join(sorted(node.node for node in nodes))
        return f"its workers may run on node {strategy.node} only, which is not there; there are: {names}"
    where = f" on node {strategy.node}" if strategy.kind == "node" and not strategy.soft else ""
    if strategy.labels:
        where += f" where {show_terms(strategy.labels)}"
    have = "; ".join(f"{node.node} has {_have(node, resources, strategy)}" for node in nodes)
    return f"each worker asks for {asked}{where}, and no node has that: {have}; ask for less, or add a node"


def show_terms(terms: Sequence[LabelTerm]) -> str:
    """Label terms, for people."""
    return " and ".join(map(_show_term, terms))


def _show_term(term: LabelTerm) -> str:
    values = f"({', '.join(term.values)})"
    match term.operator:
        case "in":
            return f"label {term.key} is in {values}"
        case "not_in":
            return f"label {term.key} is not in {values}"
        case "exists":
            return f"there is a label {term.key}"
        case _:
            return f"there is no label {term.key}"


def _have(node: NodeFacts, resources: Mapping[str, float], strategy: Strategy) -> str:
    """Its resources, without the names of nodes unless it is about those; and its labels, if it is about these."""
    about_nodes = any(name.startswith("node:") for name in resources)
    total = {
        name: amount for name, amount in node.total.items() if about_nodes or not name.startswith("node:")
    }
    if not strategy.labels:
        return show(total)
    labels = ", ".join(f"{key}={value}" for key, value in sorted(node.labels.items())) or "none"
    return f"{show(total)}, labels {labels}"
