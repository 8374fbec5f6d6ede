"""``distpool memory``: who holds what in the object stores of a cluster; without one, in those of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.memory_report import describe, show
from distpool.scheduler.messages import StoreReport, decode

__all__ = ["run"]

_EPILOG = """\
  references   a process needs the object: an argument of a pending task, a result not used yet, an ObjectRef
  views        arrays of a process lie in it
"""


def run(words: Sequence[str]) -> int:
    """``distpool memory``."""
    parser = Parser(
        "memory",
        "Show the object stores of all your sessions on this machine, or of a cluster's nodes: how much of its memory\n"
        "and disk is in use, what each process holds, and each object with its size, the line that made it, and who\n"
        "holds it.",
        _EPILOG,
    )
    parser.add_argument("--node", default="", metavar="NAME", help="only this node of the cluster")
    options = parser.parse_args(words)
    if not (options.address or options.node or options.session is not None):
        return show()
    with asker(options) as cluster:
        surveyed = cluster.survey("store", owners=False, node=options.node)
    for node in sorted(surveyed.nodes, key=lambda node: node.node):
        report = decode(node.own)
        assert isinstance(report, StoreReport)
        print("\n".join(describe(report)))
    say_missing("memory", missing(surveyed))
    return 0
