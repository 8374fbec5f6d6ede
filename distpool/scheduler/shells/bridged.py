"""A program's side of a cluster of another kind that others have started: what ``AttachedCluster`` is to one of ours.

::

    address "ray:auto", "ray://HOST:10001", "dask://HOST:8786" ──► which cluster is meant ──► a bridge's process
                                                                                                (``engines.bridge``)

The program is a guest there, and the bridge its home: a child of this process, linked up with by a unix socket in a
directory of our own. It is watched as an embedded agent is, and its end is the loss of all that went by it. Not here:
what a bridge does, nor anything of the other cluster's library, which this process never imports.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from dataclasses import dataclass

from distpool.scheduler.shells import processes, session_dir
from distpool.scheduler.shells.launching import AgentProcess
from distpool.scheduler.shells.show import prints_wanted
from distpool.scheduler.store.store import ObjectStore

__all__ = ["KINDS", "BridgedCluster", "Kind", "is_elsewhere", "refuse_unknown"]

#: How long a bridge has to connect: Ray's own client takes some seconds.
CONNECT_S = 60.0
#: How long it has to end its pilots, when the program says goodbye.
FAREWELL_S = 10.0
_BRIDGE = "distpool.engines.bridge"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cluster. ``provider``: the module that has pilots there (``engines.bridge``)."""

    name: str
    provider: str
    port: int
    example: str


KINDS = {
    "ray": Kind("Ray", "distpool.engines.ray_cluster", 10001, "ray:auto or ray://HOST:10001"),
    "dask": Kind("Dask", "distpool.engines.dask_cluster", 8786, "dask://HOST:8786"),
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?=://|:auto$)")


def is_elsewhere(address: str | None) -> bool:
    """Whether this is the address of another kind of cluster. Raises ValueError if it is of none that we know."""
    scheme = refuse_unknown(address)
    return scheme in KINDS


def refuse_unknown(address: str | None) -> str:
    """The scheme of an address, "" if it has none. Raises ValueError for one that there is not."""
    found = _SCHEME.match(address or "")
    scheme = found[1].lower() if found else ""
    known = [*KINDS, "tcp"]
    if scheme and scheme not in known:
        near = difflib.get_close_matches(scheme, known, 1)
        kinds = ", ".join([*(kind.example for kind in KINDS.values()), "HOST:PORT"])
        meant = f" (did you mean {near[0]}://?)" if near else ""
        raise ValueError(f"there is no cluster of the kind {scheme!r}{meant}: an address is {kinds} or auto")
    return scheme


class BridgedCluster:
    """The cluster at ``address``, by a bridge that is started here.

    Raises:
        ValueError: that is no such address.
        ClusterError: it cannot be used, and why.
    """

    guest = True  # the program is on none of its nodes
    keys: None = None  # the bridge is reached by a unix socket

    def __init__(self, address: str) -> None:
        self.prints = prints_wanted()
        scheme = refuse_unknown(address)
        kind = KINDS[scheme]
        self._address, self._kind = _checked(address, kind), kind
        self.title = f"the {kind.name} cluster at {self._address}"
        self.node = f"{scheme}-{os.getpid()}-{os.urandom(3).hex()}"
        self.agent_fd = -1  # readable when the bridge is dead
        self._directory = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._begin()

    @property
    def directory(self) -> str:
        """A directory of this program's own."""
        return self._directory

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket in that directory."""
        return f"ipc://{self._directory}/{name}"

    @property
    def home_address(self) -> str:
        """Where the bridge is dialled."""
        return self.address("agent")

    def open_store(self, owner: str) -> ObjectStore | None:
        """There is none."""
        return None

    def start(self) -> None:
        """Have a bridge: the first is there already. Raises ClusterError, OSError."""
        if self._process is None:
            self._begin()

    def _begin(self) -> None:
        session_dir.sweep()
        self._directory, lock_fd = session_dir.create()
        request = {
            "lock_fd": lock_fd,
            "driver_pid": os.getpid(),
            "node": self.node,
            "provider": self._kind.provider,
            "address": self._address,
            "title": self.title,
        }
        try:
            bridge = AgentProcess(self._directory, request, (lock_fd,), os.environ, CONNECT_S, module=_BRIDGE)
        finally:
            os.close(lock_fd)
        self._process = bridge.process
        try:
            bridge.first_word()
        except BaseException:
            self.reap()
            raise
        self.agent_fd = os.pidfd_open(self._process.pid)

    def reap(self) -> None:
        """Collect the dead bridge, killing it if it is not quite dead."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                processes.kill(process.pid)
            process.wait()
            session_dir.sweep_one(self._directory)
        if self.agent_fd >= 0:
            os.close(self.agent_fd)
            self.agent_fd = -1

    def wait_gone(self, timeout_s: float) -> None:
        """Wait for a bridge that was told goodbye: it ends what it has started on the cluster. Then make sure."""
        if self._process is not None:
            try:
                self._process.wait(max(timeout_s, FAREWELL_S))
            except subprocess.TimeoutExpired:
                pass
            self.reap()


def _checked(address: str, kind: Kind) -> str:
    """The address in full. Raises ValueError."""
    if kind.name == "Ray" and address.lower() == "ray:auto":
        return "ray:auto"
    scheme, _, place = address.partition("://")
    host, colon, port = place.rstrip("/").rpartition(":")
    if not colon and port:
        host, port = port, str(kind.port)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"the address of a {kind.name} cluster is {kind.example}, not {address!r}")
    return f"{scheme.lower()}://{host}:{port}"
