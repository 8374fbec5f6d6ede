"""``distpool down``: the nodes of a cluster's file end; each does first what it has begun."""

from __future__ import annotations

from collections.abc import Sequence

from distpool.cluster_file import load
from distpool.command_words import CommandWords
from distpool.commands.cluster_words import FILE_HELP, lines_of, summary
from distpool.ssh.hosts import take_down

__all__ = ["run"]

_EPILOG = """\
Nodes that have joined take nothing new, and go when what they run has ended, or its time is over (30 s); then the head
goes, and with it what it has kept. What was installed on the hosts stays, so the next `distpool up` is quick.
"""


def run(words: Sequence[str]) -> int:
    """``distpool down``."""
    parser = CommandWords("down", "End a cluster on the hosts of a file.", _EPILOG)
    parser.add_argument("file", metavar="cluster.yaml", help=FILE_HELP)
    cluster = load(parser.parse_args(words).file)
    place = cluster.address_path.read_text().strip() if cluster.address_path.exists() else ""
    return summary("down", take_down(cluster.hosts, place, lines_of(cluster.hosts)))
