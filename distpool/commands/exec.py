"""``distpool exec``: a command on a host of a cluster's file; its output comes here, and so does its exit status.

::

    one host   the terminal, standard input and output are the command's        (``distpool.ssh.errand`` runs it there)
    --all      each line with the name of its host; the status is the first that is not 0
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, NoReturn

from distpool.cluster_file import load
from distpool.command_words import CommandWords
from distpool.commands.cluster_words import FILE_HELP
from distpool.errors import ClusterError
from distpool.ssh.connection import SshError
from distpool.ssh.machine import errand_words
from distpool.ssh.spec import HostSpec

__all__ = ["run"]

_EPILOG = """\
examples:
  distpool exec cluster.yaml -- python script.py              on the host with the head, and on all nodes' CPUs
  distpool exec cluster.yaml --host gpu1 -- nvidia-smi
  distpool exec cluster.yaml --all -- sh -c 'df -h | tail -n 3'

Programs of the host's environment come first, and a script there finds the cluster by itself. The command ends when
you end this one; `distpool submit` is for what should go on.
"""


def run(words: Sequence[str]) -> int:
    """``distpool exec``."""
    parser = CommandWords("exec", "Run a command on a host of a cluster.", _EPILOG)
    parser.usage = "distpool exec [-h] [--host NAME | --all] cluster.yaml -- COMMAND ..."
    parser.add_argument("file", metavar="cluster.yaml", help=FILE_HELP)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", metavar="NAME", help="on this one (the first, which has the head)")
    where.add_argument("--all", action="store_true", help="on all of them at one time")
    end = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:end]), words[end + 1 :]
    if not command:
        parser.error("no command given: it comes after --")
    hosts = load(options.file).hosts
    if options.all:
        return _on_all(hosts, command)
    _on_one(_chosen(hosts, options.host), command)


def _chosen(hosts: Sequence[HostSpec], name: str | None) -> HostSpec:
    if name is None:
        return hosts[0]
    for host in hosts:
        if name in (host.name, host.host):
            return host
    raise ClusterError(
        f"there is no host {name} in that file; there are {', '.join(host.name for host in hosts)}"
    )


def _on_one(spec: HostSpec, command: Sequence[str]) -> NoReturn:
    """Become ssh: its signals, terminal and exit status are those of the command."""
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    sys.stdout.flush()
    words = errand_words(spec, command, *terminal)
    try:
        os.execvp(words[0], words)
    except FileNotFoundError:
        raise SshError("there is no ssh on the PATH: install OpenSSH's client") from None


def _on_all(hosts: Sequence[HostSpec], command: Sequence[str]) -> int:
    with ThreadPoolExecutor(len(hosts)) as threads:
        statuses = list(threads.map(lambda spec: _with_names(spec, command), hosts))
    return next((status for status in statuses if status), 0)


def _with_names(spec: HostSpec, command: Sequence[str]) -> int:
    """Run it there, and pass on what it says; its exit status. Our end of its input says that we are there."""
    with subprocess.Popen(
        errand_words(spec, command, "--held"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        other = threading.Thread(target=_copy, args=(child.stderr, sys.stderr, spec.name))
        other.start()
        _copy(child.stdout, sys.stdout, spec.name)
        other.join()
        return child.wait()


def _copy(source: IO[str], to: IO[str], name: str) -> None:
    for line in source:
        print(f"{name}: {line.rstrip()}", file=to, flush=True)
