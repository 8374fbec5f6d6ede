"""Which cluster, or which program, a command asks; and how it says who has not answered.

::

    --address HOST:PORT, DISTPOOL_ADDRESS ──► that port, with the secret
    --session PID ──────────────────────────► the program with this pid, or the node whose agent has it
    nothing ── a node that `distpool start` has started here, else the one program of this user's that runs here
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from distpool.cluster_commands import found_cluster
from distpool.command_words import CommandWords
from distpool.errors import ClusterError
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import StoreQuery, StoreReport, Surveyed
from distpool.scheduler.messages.leasing import DRIVER
from distpool.scheduler.shells import session_dir
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.shells.started import started_nodes

__all__ = ["Parser", "asker", "missing", "say_missing"]


class Parser(CommandWords):
    """Has the options of all commands that ask."""

    def __init__(self, name: str, description: str, epilog: str = "") -> None:
        super().__init__(name, description, epilog)
        whom = self.add_mutually_exclusive_group()
        whom.add_argument(
            "--address",
            metavar="HOST:PORT",
            help="of any node of a cluster, whose secret is in DISTPOOL_SECRET or DISTPOOL_SECRET_FILE "
            "(DISTPOOL_ADDRESS, or what runs on this machine)",
        )
        whom.add_argument(
            "--session", type=int, metavar="PID", help="a program of yours on this machine, by its process"
        )


def asker(options: argparse.Namespace) -> Asker:
    """The link to whom these options mean. Raises ClusterError, ValueError."""
    if options.session is not None:
        return _of_program(options.session)
    if options.address or os.environ.get("DISTPOOL_ADDRESS") or started_nodes():
        return Asker(*found_cluster(options.address))
    return _only_program()


def _of_program(pid: int) -> Asker:
    for directory, known in _programs():
        if pid == known:
            return Asker(f"ipc://{directory}/agent")
    raise ClusterError(f"no program of yours with process {pid} runs a session on this machine")


def _only_program() -> Asker:
    programs = list(_programs())
    if len(programs) == 1:
        return Asker(f"ipc://{programs[0][0]}/agent")
    if programs:
        pids = ", ".join(str(pid) for _, pid in programs)
        raise ClusterError(f"several programs run here; choose one by --session PID: {pids}")
    raise ClusterError(
        "nothing of yours runs on this machine: name a cluster by --address HOST:PORT or DISTPOOL_ADDRESS "
        "(sessions are looked for in TMPDIR, /tmp and /var/tmp)"
    )


def _programs() -> Iterator[tuple[str, int]]:
    """Sessions of programs on this machine: directory, and the program's process."""
    of_nodes = {directory for directory, _ in started_nodes()}
    for directory in session_dir.living():
        if directory in of_nodes:
            continue
        try:
            with Asker(f"ipc://{directory}/agent") as agent:
                report = agent.ask(StoreQuery(), StoreReport, DEFAULTS.survey_s)
        except ClusterError:
            continue  # it is about to end, or stopped
        if pid := report.pids.get(DRIVER, 0):
            yield directory, pid


# ------------------------------------------------------------------------------------ who has not answered


def missing(surveyed: Surveyed) -> list[str]:
    """A line for each who has not."""
    lines = [
        f"node {node} did not answer within {2 * DEFAULTS.survey_s:g} s, or has left"
        for node in surveyed.missing
    ]
    for node in surveyed.nodes:
        pids = {facts.worker: facts.pid for facts in node.workers}
        for who in node.missing:
            kind, _, name = who.partition(":")
            if kind == "process":
                name = f"worker {name} (process {pids.get(int(name), '?')})"
            else:
                name = f"process {name.partition('-')[0]}"
            lines.append(f"{name} on node {node.node} did not answer within {DEFAULTS.survey_s:g} s")
    return lines


def say_missing(command: str, lines: Sequence[str]) -> None:
    """On standard error: what is shown is not all."""
    for line in lines:
        print(f"distpool {command}: {line}", file=sys.stderr)
