"""The session of this process: where it goes, when it begins and ends.

::

    session() ─► a worker's            JoinedCluster     the agent that its worker is of
                 DISTPOOL_ADDRESS      AttachedCluster   a cluster of ours, by its secret
                    of another kind    BridgedCluster    one of Ray's or Dask's
                 else                  EmbeddedCluster   one of its own on this machine

There is one a process: made by the first pool, ended at exit, abandoned in a forked child (whose first pool makes its
own).
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any

from distpool.cpus import cpu_count
from distpool.errors import ClusterError
from distpool.scheduler.session import Session
from distpool.scheduler.shells import worker_start
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.joined import JoinedCluster

if TYPE_CHECKING:
    from distpool.scheduler.session import Cluster
    from distpool.scheduler.shells.attached import AttachedCluster
    from distpool.scheduler.shells.bridged import BridgedCluster

__all__ = [
    "Session",
    "current",
    "elsewhere",
    "is_elsewhere",
    "secret_of_environment",
    "session",
    "shutdown",
    "start",
    "worker_count",
]

_session: Session | None = None
_secret = ""
_session_lock = threading.Lock()
_abandoned: list[Any] = []  # of the parent process: ZeroMQ must never see these again


def session() -> Session:
    """This process's session, started by the first call."""
    global _session
    current = _session
    if current is not None and not current._closed and not current.lost:
        return current
    with _session_lock:
        if _session is not None and _session.lost:
            _session.shutdown()  # nothing can be had of its cluster any more: the next one is worth a try
        if _session is None or _session._closed:
            _session = Session(_cluster())
        return _session


def _cluster() -> Cluster:
    """Where a session goes that nobody has said more about."""
    worker = worker_start.this_worker
    if worker is not None:
        return JoinedCluster(worker)
    if address := os.environ.get("DISTPOOL_ADDRESS"):
        if is_elsewhere(address):
            return elsewhere(address)
        from distpool.scheduler.shells.attached import AttachedCluster  # for clusters: others need none of it

        return AttachedCluster(address, secret_of_environment())
    return EmbeddedCluster()


def is_elsewhere(address: str | None) -> bool:
    """Whether this is the address of another kind of cluster than ours. Raises ValueError if there is no such kind."""
    if not address or ":" not in address:
        return False
    from distpool.scheduler.shells import bridged

    return bridged.is_elsewhere(address)


def elsewhere(address: str) -> BridgedCluster:
    """Another kind of cluster. Raises ValueError, ClusterError: it cannot be used, and why."""
    from distpool.scheduler.shells.bridged import BridgedCluster

    return BridgedCluster(address)


def secret_of_environment() -> str:
    """The cluster's secret, from DISTPOOL_SECRET, or the file that DISTPOOL_SECRET_FILE names. Raises ClusterError.

    It leaves the environment, which workers are given; here it is remembered.
    """
    global _secret
    _secret = os.environ.pop("DISTPOOL_SECRET", "") or _secret
    if _secret:
        return _secret
    path = os.environ.get("DISTPOOL_SECRET_FILE")
    if not path:
        raise ClusterError(
            "a cluster lets nobody in who does not know its secret: set DISTPOOL_SECRET_FILE to the file that it is "
            "in, or DISTPOOL_SECRET"
        )
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise ClusterError(f"the cluster's secret cannot be read: {error}") from None


def current() -> Session | None:
    """This process's session, if it has one."""
    known = _session
    return known if known is not None and not known._closed and not known.lost else None


def worker_count() -> int:
    """How many workers a pool has that does not say: one for each CPU of the cluster in use, or of this machine."""
    in_use = current()
    if in_use is None and os.environ.get("DISTPOOL_ADDRESS") and worker_start.this_worker is None:
        in_use = session()
    return cpu_count() if in_use is None else in_use.worker_count()


def start(cluster: EmbeddedCluster | AttachedCluster | BridgedCluster) -> Session:
    """Start this process's session on a cluster with settings of its own. Raises RuntimeError if there is one."""
    global _session
    with _session_lock:
        if current() is not None:
            raise RuntimeError(
                "this process has a session already: end it first, or leave the settings as they are"
            )
        _session = Session(cluster)
        return _session


def shutdown() -> None:
    """End this process's session, if it has one."""
    current = _session
    if current is not None:
        current.shutdown()


def _after_fork_in_child() -> None:
    """A forked child starts afresh: the parent's sockets and cluster are not its own."""
    global _session, _session_lock
    if _session is not None:
        _abandoned.append(_session)
        _session.abandon()
    _session = None
    _session_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(shutdown)
