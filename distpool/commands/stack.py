"""``distpool stack``: where every worker is, and every program, in Python; none of them is stopped for it.

A worker's second thread answers while the main one runs. One that cannot (a call into C that keeps Python's lock) is
made to write its threads down by a signal; one that is stopped, starts or ends is said to be. See
``scheduler.shells.stacks``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.scheduler.messages import NodeAnswers, Surveyed, WorkerFacts
from distpool.scheduler.messages.insights import Dump, Stack, ThreadStack, unpack_dumps, unpack_stack

__all__ = ["run"]


def run(words: Sequence[str]) -> int:
    """``distpool stack``."""
    parser = Parser(
        "stack", "Show where the Python threads of workers and programs are, without stopping them."
    )
    parser.add_argument("pid", nargs="*", type=int, help="only these processes")
    parser.add_argument("--node", default="", metavar="NAME", help="only those of this node")
    options = parser.parse_args(words)
    with asker(options) as cluster:
        surveyed = cluster.survey("stacks", workers=True, node=options.node)
    lines = list(describe(surveyed, set(options.pid)))
    if lines:
        print("\n".join(lines))
    say_missing("stack", missing(_without_dumped(surveyed)))
    if options.pid and not lines:
        pids = ", ".join(map(str, options.pid))
        say_missing("stack", [f"there is no worker, and no program with a session, that is process {pids}"])
        return 1
    return 0


def describe(surveyed: Surveyed, pids: set[int]) -> Iterator[str]:
    """The lines to be shown; ``pids``: only these, or all if there are none."""
    for node in sorted(surveyed.nodes, key=lambda node: node.node):
        workers = {facts.worker: facts for facts in node.workers}
        shown = []
        for stack in sorted(_stacks(node), key=lambda stack: (stack.worker, stack.pid)):
            if not pids or stack.pid in pids:
                shown += [_title(stack, workers.get(stack.worker)), *_threads(stack)]
        for dump in _dumps(node):
            if not pids or dump.pid in pids:
                shown += _dumped(dump)
        for unasked in node.unasked:
            if not pids or unasked.pid in pids:
                shown.append(_called(unasked.worker, unasked.pid) + f": {unasked.why}")
        if shown:
            yield f"node {node.node}"
            yield from (f"  {line}" for line in shown)


def _stacks(node: NodeAnswers) -> list[Stack]:
    return [unpack_stack(answer) for answer in node.answers]


def _dumps(node: NodeAnswers) -> tuple[Dump, ...]:
    return unpack_dumps(node.own) if node.own else ()


def _title(stack: Stack, facts: WorkerFacts | None) -> str:
    if not stack.worker:
        return f"program, process {stack.pid}"
    if facts is None:
        return f"{_called(stack.worker, stack.pid)}: has ended since"
    if not facts.running:
        return _called(stack.worker, stack.pid) + ("" if _is_busy(stack) else ": idle")
    how = ", waits for calls of its own" if facts.blocked else "" if _is_busy(stack) else ", in C"
    return f"{_called(stack.worker, stack.pid)}: has run its task for {facts.for_s:.1f} s{how}"


def _called(worker: int, pid: int) -> str:
    return f"worker {worker}, process {pid}" if pid else f"worker {worker}"


def _is_busy(stack: Stack) -> bool:
    """Whether it is anywhere in the user's code; the calls of some actors are in no slot."""
    return any(thread.frames for thread in stack.threads)


def _threads(stack: Stack) -> Iterator[str]:
    for thread in stack.threads:
        if thread.frames:
            yield f"  {thread.name}"
            yield from _frames(thread)


def _frames(thread: ThreadStack) -> Iterator[str]:
    for place, frame in enumerate(thread.frames):
        if thread.left_out and place == len(thread.frames) // 2:
            yield f"    ... {thread.left_out} more frames ..."
        yield f'    File "{frame.file}", line {frame.line}, in {frame.function}'
        if frame.text:
            yield f"      {frame.text}"


def _dumped(dump: Dump) -> Iterator[str]:
    who = _called(dump.worker, dump.pid)
    if dump.text:
        yield f"{who}: does not answer, since a call into C keeps Python's lock; from within a signal (newest first):"
        yield from (f"  {line}" for line in dump.text.splitlines())
    elif dump.state in ("T", "t"):
        yield f"{who}: is stopped, by SIGSTOP or a debugger"
    elif dump.state:
        yield f"{who}: does not answer, and the kernel has it in state {dump.state}"


def _without_dumped(surveyed: Surveyed) -> Surveyed:
    """Of whom there is something to show is not missing."""
    import msgspec

    nodes = []
    for node in surveyed.nodes:
        known = {f"process:{dump.worker}" for dump in _dumps(node) if dump.state}
        nodes.append(
            msgspec.structs.replace(node, missing=tuple(who for who in node.missing if who not in known))
        )
    return msgspec.structs.replace(surveyed, nodes=tuple(nodes))
