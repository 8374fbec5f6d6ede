"""Why something waits, in sentences: pure functions over what a survey of topic "why" has brought.

::

    OwnerView   a task's state, its place in the line, its pool's workers  ─┐
    Wanted      who wants workers of a node, and how many                  ─┼─► Picture ──► lines
    WorkerFacts what workers have taken of it, what they run, since when   ─┤
    GroupFacts  placement groups, and why one is not placed                ─┘

A line that is indented explains the one above it. What nobody has answered is said to be unknown, not left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from distpool.scheduler.cores.place import show_terms
from distpool.scheduler.cores.resources import fits, show, to_units
from distpool.scheduler.messages import (
    CALLER_SHIFT,
    GroupFacts,
    NodeAnswers,
    Strategy,
    Surveyed,
    Wanted,
    WorkerFacts,
)
from distpool.scheduler.messages.insights import LeaseView, OwnerView, PoolView, Waiting, unpack_owner

__all__ = [
    "Picture",
    "explain_actor",
    "explain_group",
    "explain_pool",
    "explain_task",
    "picture_of",
    "who_owns",
]

#: Who holds what is lacking: so many are named.
HOLDERS_MAX = 5


@dataclass
class Picture:
    """What is known, in the form in which it is looked up."""

    owners: list[OwnerView] = field(default_factory=list)
    nodes: dict[str, NodeAnswers] = field(default_factory=dict)
    groups: dict[str, GroupFacts] = field(default_factory=dict)

    def worker(self, lease: str) -> tuple[str, int, WorkerFacts | None, int]:
        """Of a lease: its node, the worker's number, what is known of that, and the caller's index there."""
        start, _, number = lease.rpartition(".")
        node, _, incarnation = start.rpartition(".")
        index = int(incarnation.partition("~")[2] or 0)
        answers = self.nodes.get(node)
        known = () if answers is None else answers.workers
        facts = next((facts for facts in known if facts.worker == int(number)), None)
        return node, int(number), facts, index

    def owner(self, name: str) -> OwnerView | None:
        """What this owner has said."""
        return next((view for view in self.owners if view.owner == name), None)

    def call_of(self, facts: WorkerFacts) -> str:
        """What a worker's calls are called, as its owner says."""
        owner = self.owner(facts.owner)
        for pool in () if owner is None else owner.pools:
            for lease in pool.leases:
                if lease.lease == facts.lease:
                    return lease.running
        return ""


def picture_of(surveyed: Surveyed, groups: Iterable[GroupFacts]) -> Picture:
    """Put it together."""
    owners = [unpack_owner(answer) for node in surveyed.nodes for answer in node.answers]
    nodes = {node.node: node for node in surveyed.nodes}
    return Picture(owners, nodes, {facts.group: facts for facts in groups})


# ------------------------------------------------------------------------------------------------ tasks


def explain_task(picture: Picture, owner: OwnerView, task: Waiting) -> list[str]:
    """Why a task is not done: first what is true of itself, then why that is so."""
    pool = next((pool for pool in owner.pools if pool.pool == task.pool), None)
    match task.state:
        case "arguments":
            more = f" and {task.needs_more} more" if task.needs_more else ""
            names = ", ".join(_call(needed.name, needed.task) for needed in task.needs)
            return [f"waits for its arguments: {names}{more}"]
        case "line":
            lines = [f"waits for its turn: {_calls(task.before)} of the same actor come first"]
            return lines + ([] if pool is None else _indent(explain_actor(picture, owner, pool)))
        case "arriving":
            return ["was made just now, and is about to be queued"]
        case "resting":
            return ["was ended because its node was out of memory, and is run again in a moment"]
        case "queued":
            first = (
                f"waits for a worker, {f'behind {_calls(task.before)}' if task.before else 'and is the next'}"
            )
            return [first, *([] if pool is None else _indent(explain_pool(picture, owner, pool)))]
        case _:
            return _explain_offered(picture, task)


def _explain_offered(picture: Picture, task: Waiting) -> list[str]:
    node, number, facts, index = picture.worker(task.lease)
    where = _worker(number, facts, node)
    if facts is None:
        return [f"was sent to {where}, of which nothing is known at the moment"]
    if facts.running == (index << CALLER_SHIFT | task.attempt):
        lines = [f"runs on {where}, for {facts.for_s:.1f} s so far"]
        return lines + (_indent(_explain_blocked(picture, facts, node)) if facts.blocked else [])
    if index < len(facts.begun) and task.attempt <= facts.begun[index]:
        return [f"has begun on {where}, which runs several calls at once"]
    if not facts.running:
        return [f"was sent to {where}, and is about to begin or has just ended"]
    running = picture.call_of(facts)
    what = f"`{running}` runs there" if running else "another call runs there"
    lines = [f"was sent to {where}, behind {_calls(task.before)}; {what}, for {facts.for_s:.1f} s so far"]
    return lines + (_indent(_explain_blocked(picture, facts, node)) if facts.blocked else [])


def _explain_blocked(picture: Picture, facts: WorkerFacts, node: str) -> list[str]:
    """A task waits for calls of its own: what do those wait for?"""
    lent = "" if facts.charged or not facts.need else f", and has lent its {show(facts.need)} meanwhile"
    lines = [f"it waits for calls of its own{lent}"]
    own = next((view for view in picture.owners if (view.node, view.worker) == (node, facts.worker)), None)
    for pool in () if own is None else own.pools:
        if own is not None and (pool.pending or pool.offered):
            lines += _indent([f"{_what(pool)}: {_counts(pool)}", *_indent(explain_pool(picture, own, pool))])
    return lines


# ------------------------------------------------------------------------------------------------ pools


def explain_pool(picture: Picture, owner: OwnerView, pool: PoolView) -> list[str]:
    """Why what waits in a pool has no worker yet."""
    if pool.failure:
        return [f"its workers cannot be had: {pool.failure}"]
    lines = []
    starting = [lease for lease in pool.leases if lease.state == "setting up"]
    if starting:
        names = ", ".join(_lease(picture, lease) for lease in starting[:HOLDERS_MAX])
        what = "the constructor" if pool.kind == "actor" else "what comes before any task (the initializer)"
        lines.append(f"{_workers(len(starting))} still run{'s' * (len(starting) == 1)} {what}: {names}")
    if pool.setup_failures:
        lines.append(f"{_workers(pool.setup_failures)} in a row died before that was done")
    if pool.ready:
        busy = sum(lease.offered > 0 for lease in pool.leases if lease.state == "ready")
        lines.append(f"{busy} of the {_workers(pool.ready)} that {_are(pool.ready)} ready have work")
        if pool.kind == "pool" and pool.ready >= pool.size:
            lines.append(f"the pool has {pool.size}, and gets no more: make it bigger by resize()")
            lines += _busy(picture, pool)
    wanted = [
        (node, want)
        for node, answers in picture.nodes.items()
        for want in answers.wanted
        if (want.owner, want.pool) == (owner.owner, pool.pool)
    ]
    for node, want in wanted:
        lines += explain_wanted(picture, node, want)
    for node in pool.wanted:
        if node not in picture.nodes and pool.wanted[node]:
            lines.append(
                f"node {node} was asked for {_workers(pool.wanted[node])}, and is not known to answer"
            )
    if not lines:
        asked = sum(pool.wanted.values())
        lines.append(
            f"{_workers(asked)} {_are(asked)} asked for and on the way" if asked else "none is asked for yet"
        )
    return lines


def _busy(picture: Picture, pool: PoolView) -> list[str]:
    lines = []
    for lease in pool.leases[:HOLDERS_MAX]:
        node, number, facts, _ = picture.worker(lease.lease)
        if facts is not None and facts.running:
            call = f" `{lease.running}`" if lease.running else ""
            lines.append(f"  {_worker(number, facts, node)} has run{call} for {facts.for_s:.1f} s")
    return lines


def explain_wanted(picture: Picture, node: str, want: Wanted) -> list[str]:
    """Why a node does not give a pool the workers that it wants there."""
    answers = picture.nodes[node]
    asks = f"{want.missing} more worker{'s' * (want.missing != 1)} {_are(want.missing)} wanted of node {node}"
    asks += f", each with {show(want.need)}" if want.need else ""
    if _place(want.strategy):
        asks += f", {_place(want.strategy)}"
    if want.strategy.kind == "group":
        return [asks, *_indent(_explain_group_of(picture, want.strategy))]
    if want.wait_s:
        return [
            f"{asks}; the last {want.failed_starts} died at their start, and the next is forked in {want.wait_s:.1f} s"
        ]
    need, free = to_units(want.need), to_units(answers.free)
    if fits(need, free):
        return [f"{asks}; that is free, and they are about to be started, or another node is looked for"]
    lacking = [name for name, units in need.items() if free.get(name, 0) < units]
    lines = [
        f"{asks}; of {show(_of(answers.total, lacking))} there, {show(_of(answers.free, lacking))} is free"
    ]
    holders = [
        facts for facts in answers.workers if facts.charged and any(facts.need.get(n) for n in lacking)
    ]
    holders.sort(key=lambda facts: -sum(facts.need.get(name, 0.0) for name in lacking))
    for facts in holders[:HOLDERS_MAX]:
        lines.append("  " + _holder(picture, facts, node, lacking))
    if len(holders) > HOLDERS_MAX:
        lines.append(f"  and {len(holders) - HOLDERS_MAX} more have some of it")
    for group, facts_of in picture.groups.items():
        held = [b for b, at in zip(facts_of.bundles, facts_of.nodes, strict=False) if at == node]
        if any(bundle.get(name) for bundle in held for name in lacking):
            lines.append(f"  placement group {facts_of.name or group} has set aside some of it")
    return lines


def _holder(picture: Picture, facts: WorkerFacts, node: str, lacking: list[str]) -> str:
    has = show(_of(facts.need, lacking))
    call = picture.call_of(facts)
    doing = f"has run{f' `{call}`' if call else ''} for {facts.for_s:.1f} s" if facts.running else "is idle"
    if facts.running and facts.blocked:
        doing += ", and waits for calls of its own"
    elif not facts.running and facts.begun:
        doing = "is an actor"
    return (
        f"{has} {'is' if len(lacking) == 1 else 'are'} with {_worker(facts.worker, facts, '')}, which {doing}"
    )


# ---------------------------------------------------------------------------------------- actors, groups


def explain_actor(picture: Picture, owner: OwnerView, pool: PoolView) -> list[str]:
    """What an actor does, or why it is not there."""
    if pool.failure:
        return [f"the actor has ended: {pool.failure}"]
    if not pool.ready:
        return ["the actor is not up", *_indent(explain_pool(picture, owner, pool))]
    lease = next(lease for lease in pool.leases if lease.state == "ready")
    node, number, facts, _ = picture.worker(lease.lease)
    where = _worker(number, facts, node)
    if facts is not None and facts.running:
        call = f"`{lease.running}`" if lease.running else "a call"
        lines = [f"the actor is on {where}, and has run {call} for {facts.for_s:.1f} s; {_counts(pool)}"]
        return lines + (_indent(_explain_blocked(picture, facts, node)) if facts.blocked else [])
    return [f"the actor is on {where}; {_counts(pool)}"]


def explain_group(facts: GroupFacts) -> list[str]:
    """Where a placement group is, or why not."""
    places = ", ".join(
        f"{show(bundle)} {'on ' + node if node else 'nowhere'}"
        for bundle, node in zip(facts.bundles, facts.nodes or ("",) * len(facts.bundles), strict=True)
    )
    why = f": {facts.reason}" if facts.reason else ""
    return [f"is {facts.state}{why}", f"  its bundles ({facts.strategy}): {places}"]


def _explain_group_of(picture: Picture, strategy: Strategy) -> list[str]:
    facts = picture.groups.get(strategy.group)
    if facts is None:
        return [f"placement group {strategy.group} is not known"]
    if facts.state == "created":
        which = f"bundle {strategy.bundle}" if strategy.bundle >= 0 else "the bundles"
        return [f"placement group {facts.name or facts.group} is there, and {which} of it in use by others"]
    first, *rest = explain_group(facts)
    return [f"placement group {facts.name or facts.group} {first}", *rest]


# -------------------------------------------------------------------------------------------------- words


def who_owns(owner: OwnerView) -> str:
    """How a process is called that has made calls."""
    if owner.worker:
        return f"worker {owner.worker} on node {owner.node}, process {owner.pid}"
    return f"program, process {owner.pid}"


def _what(pool: PoolView) -> str:
    match pool.kind:
        case "actor" | "borrowed":
            return f"actor {pool.name or pool.actor or pool.pool}"
        case "shared":
            return f"remote calls, each with {show(pool.resources)}"
        case _:
            return f"a pool of {pool.size}"


def _counts(pool: PoolView) -> str:
    waiting = pool.pending + pool.resting
    return f"{_calls(waiting)} wait{'s' * (waiting == 1)}, {pool.offered} sent to workers"


def titled(pool: PoolView) -> str:
    """A pool and how much there is to do in it."""
    return f"{_what(pool)}: {_counts(pool)}"


def _call(name: str, task: str) -> str:
    return f"`{name}` ({task})" if name else task


def _worker(number: int, facts: WorkerFacts | None, node: str) -> str:
    on = f" on node {node}" if node else ""
    return f"worker {number}{on}" + ("" if facts is None else f" (process {facts.pid})")


def _lease(picture: Picture, lease: LeaseView) -> str:
    node, number, facts, _ = picture.worker(lease.lease)
    return _worker(number, facts, node)


def _place(strategy: Strategy) -> str:
    if strategy.kind == "node":
        return f"on node {strategy.node} {'if possible' if strategy.soft else 'only'}"
    if strategy.labels:
        return f"where {show_terms(strategy.labels)}"
    return ""


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count or 'no'} calls"


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count != 1)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _of(amounts: dict[str, float], names: list[str]) -> dict[str, float]:
    return {name: amounts.get(name, 0.0) for name in names}


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def waiting_pools(owner: OwnerView) -> Iterator[PoolView]:
    """Those in which something waits."""
    for pool in owner.pools:
        if pool.pending or pool.resting or (pool.kind == "actor" and not pool.ready):
            yield pool
