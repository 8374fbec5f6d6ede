"""Machines for a test: network namespaces on a switch of their own, each with its own address, files and memory.

::

    switch (a namespace with a bridge) ──┬── a  10.77.0.1
                                         ├── b  10.77.0.2
                                         └── c  10.77.0.3        nothing of it touches this machine's own network
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_networks = itertools.count()
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: A host's /dev/shm is not that of another one.
_OWN_MEMORY = 'mount -t tmpfs none /dev/shm && exec "$@"'


def refusal() -> str:
    """Why there can be no such machines here; "" if there can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs iproute2 and util-linux"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    probe = f"dp-probe-{os.getpid()}"
    tries = (
        ["ip", "netns", "add", probe],
        ["ip", "-n", probe, "link", "add", "br0", "type", "bridge"],
        ["ip", "-n", probe, "link", "add", "one", "type", "veth", "peer", "name", "other"],
        ["ip", "netns", "exec", probe, "unshare", "-m", "sh", "-c", _OWN_MEMORY, "sh", "true"],
    )
    try:
        for words in tries:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"no such machines here: {' '.join(words)}: {done.stderr.strip()}"
        return ""
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)


class Host:
    """One of the machines."""

    def __init__(self, network: str, name: str, number: int, folder: Path) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self.space = f"{network}-{name}"
        self._network = network
        self.folder = folder
        folder.mkdir()
        _ip("netns", "add", self.space)
        _ip(*f"link add net0 netns {self.space} type veth peer name {name} netns {network}".split())
        _ip("-n", network, *f"link set dev {name} master br0 up".split())
        _ip("-n", self.space, *f"addr add {self.address}/24 dev net0".split())
        for device in ("net0", "lo"):
            _ip("-n", self.space, *f"link set dev {device} up".split())

    def command(self, *words: str) -> list[str]:
        """What runs a command on this host."""
        return ["ip", "netns", "exec", self.space, "unshare", "-m", "sh", "-c", _OWN_MEMORY, "sh", *words]

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """What a program there has."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("DISTPOOL_")}
        places = {"TMPDIR": str(self.folder), "XDG_STATE_HOME": f"{self.folder}-state"}
        return {**plain, **places, "PYTHONPATH": ROOT, **more}

    def start(self, *words: str, env: Mapping[str, str] = {}) -> subprocess.Popen[str]:
        """Begin to run Python there; its output can be read."""
        return subprocess.Popen(
            self.command(sys.executable, *words),
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, env: Mapping[str, str] = {}, within_s: float = 60.0) -> tuple[int, str]:
        """Run Python there to its end; its exit status and output."""
        child = self.start(*words, env=env)
        try:
            text, _ = child.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            text, _ = child.communicate()
            raise AssertionError(f"it did not end within {within_s} s: {text}") from None
        return child.returncode, text

    def pids(self) -> list[int]:
        """Who runs there."""
        return [int(pid) for pid in _ip("netns", "pids", self.space).split()]

    def kill(self) -> None:
        """As if its plug were pulled: every process at once. (The kernel still says goodbye to their peers.)"""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def unplug(self) -> None:
        """Nothing goes in or out, and nobody is told."""
        _ip("-n", self._network, "link", "set", "dev", self.name, "down")

    def plug_in(self) -> None:
        """The end of that."""
        _ip("-n", self._network, "link", "set", "dev", self.name, "up")

    def limit(self, mib_s: int) -> None:
        """Let no more than this out of it in a second."""
        rate = f"tbf rate {mib_s * 8 * 1024 * 1024}bit burst 256kb latency 50ms"
        _ip("netns", "exec", self.space, "tc", "qdisc", "replace", "dev", "net0", "root", *rate.split())

    def reach_only(self, other: Host) -> None:
        """As behind a firewall that lets out to one host only."""
        _ip("-n", self.space, "route", "del", "10.77.0.0/24", "dev", "net0")
        _ip("-n", self.space, "route", "add", f"{other.address}/32", "dev", "net0")


@contextmanager
def network(folder: Path, *names: str) -> Iterator[list[Host]]:
    """So many hosts that reach each other. What still runs on them in the end is killed."""
    space = f"dp{os.getpid()}x{next(_networks)}"
    hosts: list[Host] = []
    try:
        _ip("netns", "add", space)
        _ip("-n", space, *["link", "add", "br0", "type", "bridge"])
        _ip("-n", space, *["link", "set", "br0", "up"])
        for number, name in enumerate(names, 1):
            hosts.append(Host(space, name, number, folder / name))
        yield hosts
    finally:
        for host in hosts:
            host.kill()
        for made in (*[f"{space}-{name}" for name in names], space):  # one may be half made
            subprocess.run(["ip", "netns", "del", made], capture_output=True, check=False)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout
