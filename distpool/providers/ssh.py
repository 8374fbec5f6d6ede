"""Nodes on hosts of a plain list, which SSH logs in to from the head's host: one node a host.

::

    start ──► the first host of the list that is free, big enough, and answers ── distpool start ──► joins as NAME
    nodes ◄── every host is looked at: which node of this cluster runs there, by what that has left word of
    stop  ──► distpool stop NAME, on its host

What there is stands on the hosts alone. A host that does not answer is passed over for a while, and has no nodes that
could be known of. Options: ``hosts`` (see ``distpool.ssh.spec``) and ``packages``. Not here: when
(``scheduler.cores.autoscaling``), what is done on a host (``distpool.ssh``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from distpool.errors import ClusterError
from distpool.providers.protocol import ClusterAccess, NodeType, ProviderError
from distpool.ssh.connection import private_folder
from distpool.ssh.hosts import AT_ONCE_MAX, node_words
from distpool.ssh.machine import Machine
from distpool.ssh.spec import HostSpec

__all__ = ["TYPE_LABEL", "SshProvider"]

#: The label by which a node tells of which type it is.
TYPE_LABEL = "node-type"
#: So long a host is left alone that could not be used.
PASSED_OVER_S = 60.0


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: tuple[HostSpec, ...]
    packages: tuple[str, ...] = ()


class SshProvider:
    """See ``NodeProvider``. Raises ProviderError: the options are no list of hosts."""

    def __init__(self, options: Mapping[str, Any], cluster: ClusterAccess) -> None:
        try:
            said = msgspec.convert(dict(options), _Options)
        except msgspec.ValidationError as error:
            raise ProviderError(f"the ssh provider's options are wrong: {error}") from None
        if not said.hosts:
            raise ProviderError("the ssh provider has no hosts: mark some with `on_demand: true`")
        self._hosts, self._packages = said.hosts, said.packages
        self._cluster = cluster
        self._folder = private_folder()
        self._lock = threading.Lock()
        self._taken: dict[str, str] = {}  # host -> the node that is there, or on its way
        self._bad_until_s: dict[str, float] = {}  # host -> when it may be tried again
        self._looked = False

    def start(self, node_type: NodeType, name: str) -> None:
        """See ``NodeProvider``. It returns when the node has joined."""
        if not self._looked:
            self.nodes()  # another provider's process may have started some
        failures: list[str] = []
        while (spec := self._take(node_type, name)) is not None:
            try:
                self._start_on(spec, node_type, name)
                return
            except (ClusterError, OSError) as error:
                failures.append(f"{spec.name}: {error}")
                self._let_go(spec.name, bad=True)
        if failures:
            raise ProviderError("; ".join(failures))
        raise ProviderError(
            f"no host of the list is free for a node of type {node_type.name}: of {len(self._hosts)}, "
            f"{len(self._taken)} have one, and others are too small or do not answer; add hosts, or lower max_nodes"
        )

    def _take(self, node_type: NodeType, name: str) -> HostSpec | None:
        """The host that has this node, or the next free one, which is now taken."""
        with self._lock:
            now = time.monotonic()
            for spec in self._hosts:
                if self._taken.get(spec.name) == name:
                    return spec
            for spec in self._hosts:
                free = spec.name not in self._taken and self._bad_until_s.get(spec.name, 0.0) <= now
                if free and _fits(spec, node_type):
                    self._taken[spec.name] = name
                    return spec
        return None

    def _let_go(self, host: str, *, bad: bool = False) -> None:
        with self._lock:
            self._taken.pop(host, None)
            if bad:
                self._bad_until_s[host] = time.monotonic() + PASSED_OVER_S

    def _start_on(self, spec: HostSpec, node_type: NodeType, name: str) -> None:
        with Machine(spec, self._folder.name) as machine:
            seen = machine.look()
            if seen.node(name) is not None:
                return
            if machine.lacks(seen, self._packages):
                machine.set_up(self._packages)
            resources = dict(node_type.resources)
            wanted = msgspec.structs.replace(
                spec,
                num_cpus=resources.pop("CPU", 0.0),
                num_gpus=resources.pop("GPU", 0.0),
                resources=resources,
                labels={**spec.labels, **node_type.labels, TYPE_LABEL: node_type.name},
            )
            words = node_words(wanted, name, spec.address or seen.reached_at)
            machine.start(["--address", self._cluster.address, *words], self._cluster.secret)

    def stop(self, name: str) -> None:
        """See ``NodeProvider``."""
        if name not in self._taken.values():
            self.nodes()
        with self._lock:
            host = next((host for host, node in self._taken.items() if node == name), None)
        if host is None:
            return
        spec = next(spec for spec in self._hosts if spec.name == host)
        with Machine(spec, self._folder.name) as machine:
            if machine.look().node(name) is not None:
                machine.stop(name)
        self._let_go(host)

    def nodes(self) -> Mapping[str, str]:
        """See ``NodeProvider``."""
        with ThreadPoolExecutor(min(len(self._hosts), AT_ONCE_MAX)) as threads:
            looks = list(threads.map(self._look, self._hosts))
        found: dict[str, str] = {}
        with self._lock:
            for spec, nodes in zip(self._hosts, looks, strict=True):
                found |= nodes
                for name in nodes:
                    self._taken[spec.name] = name
            self._looked = True
        return found

    def _look(self, spec: HostSpec) -> dict[str, str]:
        """The nodes of this cluster that run on a host, with their types."""
        try:
            with Machine(spec, self._folder.name) as machine:
                seen = machine.look()
        except (ClusterError, OSError):
            with self._lock:
                self._bad_until_s[spec.name] = time.monotonic() + PASSED_OVER_S
            return {}
        return {
            node["node"]: str(node["labels"][TYPE_LABEL])
            for node in seen.nodes
            if node["cluster"] == self._cluster.address and TYPE_LABEL in node.get("labels", {})
        }

    def close(self) -> None:
        """See ``NodeProvider``."""
        self._folder.cleanup()


def _fits(spec: HostSpec, node_type: NodeType) -> bool:
    """Whether a host could be a node of this type: of what is not said of it, it has enough."""
    known = {"CPU": spec.num_cpus, "GPU": spec.num_gpus, **spec.resources}
    enough = all(
        (most := known.get(name)) is None or most >= amount for name, amount in node_type.resources.items()
    )
    return enough and all(
        str(spec.labels.get(key, value)) == value for key, value in node_type.labels.items()
    )
