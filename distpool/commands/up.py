"""``distpool up``: the nodes of a cluster's file are set up and started, as far as they are not.

A line for each step on each host, and a summary; what is done there is ``distpool.ssh``'s.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from distpool.cluster_file import ClusterFile, load
from distpool.command_words import CommandWords
from distpool.commands.cluster_words import FILE_HELP, lines_of, summary
from distpool.errors import ClusterError
from distpool.scheduler.shells import curve
from distpool.ssh.hosts import Plan, bring_up

__all__ = ["run"]

_EPILOG = """\
The file lists hosts that SSH logs in to without a password (a key, or an agent); the first has the head:

    hosts:
      - 10.0.0.1
      - host: gpu1.example.org
        user: me
        num_gpus: 1
        labels: {zone: a}

On each, distpool is installed into an environment of its own, and a node started. What is there is left alone, so the
command may be said again whenever a host was added, or has failed. docs/cluster.md has all keys.
"""


def run(words: Sequence[str]) -> int:
    """``distpool up``."""
    parser = CommandWords("up", "Start a cluster on the hosts of a file, or what is missing of it.", _EPILOG)
    parser.add_argument("file", metavar="cluster.yaml", help=FILE_HELP)
    path = parser.parse_args(words).file
    cluster = load(path)
    hosts = tuple(host for host in cluster.hosts if not host.on_demand)
    plan = Plan(
        hosts, cluster.port, cluster.packages, lambda known: _secret(cluster, known), _head_words(cluster)
    )
    outcomes = bring_up(plan, lines_of(hosts))
    status = summary("up", outcomes)
    if not outcomes[0].failure:
        _keep(cluster.address_path, outcomes[0].address)
        knows = f"DISTPOOL_ADDRESS={outcomes[0].address} DISTPOOL_SECRET_FILE={cluster.secret_path}"
        print(f"\nTo use the cluster, run a program with:\n    {knows} python script.py")
        print(f"\nTo run it there, also when you leave:\n    distpool submit {path} script.py")
    return status


def _head_words(cluster: ClusterFile) -> tuple[str, ...]:
    return () if cluster.scaling is None else ("--autoscale", json.dumps(cluster.scaling))


def _secret(cluster: ClusterFile, known: str) -> str:
    """The secret of a cluster: that of one which runs, else the one that is kept here, else a new one. It is kept."""
    path = cluster.secret_path
    kept = path.read_text().strip() if path.exists() else ""
    secret = known.strip() or kept or curve.new_secret()
    if secret != kept:
        _keep(path, secret)
    return secret


def _keep(path: Path, text: str) -> None:
    """In a file that nobody else may read, and that is whole at any moment. Raises ClusterError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = Path(f"{path}.{os.getpid()}.new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text + "\n")
        os.replace(beside, path)
    except OSError as error:
        raise ClusterError(f"what is to be known of the cluster cannot be kept here: {error}") from None
