"""``distpool why``: what a task, an actor or a placement group waits for; or, without a name, all that waits.

One survey for what is named, and one more for each task that it turns out to wait for, to a bounded depth. The
sentences are ``reasons``.
"""

from __future__ import annotations

from collections.abc import Sequence

from distpool.commands import reasons
from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.commands.reasons import Picture, picture_of
from distpool.errors import ClusterError
from distpool.scheduler.messages import NodeAnswers
from distpool.scheduler.messages.insights import Needed, OwnerView, Waiting, unpack_stack
from distpool.scheduler.shells.asking import Asker

__all__ = ["run"]

#: How many tasks that wait for each other are followed, and how many that one waits for.
DEPTH_MAX = 5
FOLLOWED_MAX = 3
#: Tasks that are called alike and explained one by one.
SHOWN_MAX = 5
STACK_MAX = 3


def run(words: Sequence[str]) -> int:
    """``distpool why``."""
    parser = Parser("why", "Say what a task, an actor or a placement group waits for.")
    parser.add_argument(
        "task",
        nargs="?",
        default="",
        help="the id of a task or an object (ref.hex(), as `distpool.util.state` lists them), the name of a function; "
        "the id or the class of an actor; the id or the name of a placement group. Without one: all that waits.",
    )
    options = parser.parse_args(words)
    with asker(options) as cluster:
        asking = _Asking(cluster)
        lines = asking.about(options.task) if options.task else asking.all()
    if lines:
        print("\n".join(lines))
    say_missing("why", asking.missing)
    if options.task and not lines:
        say_missing(
            "why", [f"nobody knows of {options.task!r}: it has ended some time ago, or was never made"]
        )
        return 1
    if not lines:
        print("Nothing waits.")
    return 0


class _Asking:
    """One command's questions."""

    def __init__(self, cluster: Asker) -> None:
        self._cluster = cluster
        self.missing: list[str] = []
        self._seen: set[str] = set()

    def _look(self, about: str) -> Picture:
        surveyed = self._cluster.survey("why", about=about)
        self.missing += [line for line in missing(surveyed) if line not in self.missing]
        return picture_of(surveyed, self._cluster.groups().groups)

    # --------------------------------------------------------------------------------- one of them

    def about(self, name: str) -> list[str]:
        """What is called this."""
        picture = self._look(name)
        lines = self._tasks(picture, 0)
        for owner in picture.owners:
            for pool in owner.pools:
                if pool.kind == "actor" and name in (pool.actor, pool.name):
                    lines.append(f"actor {pool.name} ({pool.actor}), of {reasons.who_owns(owner)}:")
                    lines += [f"  {line}" for line in reasons.explain_actor(picture, owner, pool)]
        for facts in picture.groups.values():
            if name in (facts.group, facts.name):
                first, *rest = reasons.explain_group(facts)
                lines += [f"placement group {facts.name or facts.group} {first}", *rest]
        return lines

    def _tasks(self, picture: Picture, depth: int) -> list[str]:
        lines: list[str] = []
        for owner in picture.owners:
            shown = _told_apart(owner)[:SHOWN_MAX]
            for task in shown:
                lines += self._task(picture, owner, task, depth)
            if left := len(owner.waiting) + owner.more - len(shown):
                lines.append(f"and {left} more of that name, of {reasons.who_owns(owner)}")
            if owner.cut:
                self.missing.append(f"{reasons.who_owns(owner)}: has more tasks than can be looked through")
            for ended in owner.ended[:1] if not lines else ():
                what = f"has failed: {ended.failure}" if ended.failure else "has ended well"
                lines.append(f"task `{ended.name}` ({ended.task}) {what}")
        return lines

    def _task(self, picture: Picture, owner: OwnerView, task: Waiting, depth: int) -> list[str]:
        explained, *why = reasons.explain_task(picture, owner, task)
        called = f"`{task.name}`" if task.name else "a call"
        number = f" ({task.task})" if task.task else ""
        lines = [f"task {called}{number} {explained}", *why]
        if task.state == "offered" and not depth:
            lines += self._stack(picture, task)
        if depth < DEPTH_MAX:
            for needed in task.needs[:FOLLOWED_MAX]:
                lines += [f"  {line}" for line in self._follow(needed, depth + 1)]
        return lines

    def _follow(self, needed: Needed, depth: int) -> list[str]:
        if needed.task in self._seen:
            return []
        self._seen.add(needed.task)
        found = self._tasks(self._look(needed.task), depth)
        return found or [f"task `{needed.name}` ({needed.task}) is known to nobody who has answered"]

    def _stack(self, picture: Picture, task: Waiting) -> list[str]:
        """Where the worker is that runs it."""
        node, number, facts, _ = picture.worker(task.lease)
        if facts is None or not facts.running:
            return []
        try:
            surveyed = self._cluster.survey("stacks", workers=True, owners=False, node=node, only=(number,))
        except ClusterError:
            return []
        return [line for answers in surveyed.nodes for line in _innermost(answers)]

    # ------------------------------------------------------------------------------------ all of it

    def all(self) -> list[str]:
        """All that waits."""
        picture = self._look("")
        lines: list[str] = []
        for owner in picture.owners:
            for pool in reasons.waiting_pools(owner):
                lines.append(f"{reasons.who_owns(owner)}, {reasons.titled(pool)}")
                lines += [f"  {line}" for line in reasons.explain_pool(picture, owner, pool)]
        for facts in picture.groups.values():
            if facts.state in ("pending", "rescheduling"):
                first, *rest = reasons.explain_group(facts)
                lines += [f"placement group {facts.name or facts.group} {first}", *rest]
        return lines


def _told_apart(owner: OwnerView) -> list[Waiting]:
    """Of tasks that wait in one queue the first: the others wait for the same."""
    found: list[Waiting] = []
    queues: set[int] = set()
    for task in owner.waiting:
        if task.state != "queued" or task.pool not in queues:
            found.append(task)
        if task.state == "queued":
            queues.add(task.pool)
    return found


def _innermost(answers: NodeAnswers) -> list[str]:
    lines = []
    for stack in map(unpack_stack, answers.answers):
        for thread in stack.threads[:1]:
            frames = thread.frames[-STACK_MAX:]
            lines += [f'  at "{frame.file}", line {frame.line}, in {frame.function}' for frame in frames]
    return lines
