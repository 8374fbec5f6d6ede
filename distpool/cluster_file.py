"""``cluster.yaml``: which hosts a cluster has, and how it is started there.

::

    cluster.yaml ── PyYAML ──► values, and the line of each ── msgspec ──► ClusterFile
                                         │ a key that is none, a value of the wrong type, a name twice
                                         └──► ValueError: "cluster.yaml:7: ..."

Not here: what is done with it (``distpool.ssh``, ``distpool.commands``).
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.errors import ClusterError
from distpool.providers.settings import of_description
from distpool.scheduler.node_identity import refuse_bad_name
from distpool.ssh.spec import HostSpec, Port

if TYPE_CHECKING:
    import yaml

__all__ = ["ClusterFile", "load"]

PORT = 9437
#: A path in a value, by the names of keys and the numbers of entries.
Place = tuple[str | int, ...]


class ClusterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``name`` is the file's own, if none is given. The first of ``hosts`` has the head, which listens at ``port``.

    ``defaults`` are keys of every host that does not say otherwise. ``packages`` are for pip, on every host.
    ``autoscaling`` is for the hosts that are ``on_demand``: see ``providers.settings``, but for ``provider``.
    ``secret_file``: where this machine keeps the cluster's secret, if not where this user's programs keep their states.
    """

    hosts: tuple[HostSpec, ...]
    name: str = ""
    port: Port = PORT
    secret_file: str = ""
    packages: tuple[str, ...] = ()
    defaults: dict[str, Any] = {}
    autoscaling: dict[str, Any] = {}

    @property
    def scaling(self) -> dict[str, Any] | None:
        """What the head is told of nodes by demand (``providers.settings``); None: there are none."""
        if not self.autoscaling:
            return None
        hosts = [msgspec.to_builtins(host) for host in self.hosts if host.on_demand]
        provider = {"type": "ssh", "hosts": hosts, "packages": list(self.packages)}
        return {**self.autoscaling, "provider": provider}

    @property
    def address_path(self) -> Path:
        """Where it is kept where the head is, once it is up."""
        return _state(f"{self.name}.cluster-address")

    @property
    def secret_path(self) -> Path:
        """Where the secret is kept here."""
        if self.secret_file:
            return Path(self.secret_file).expanduser()
        return _state(f"{self.name}.cluster-secret")


def _state(name: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state, "distpool", name)


def load(path: str) -> ClusterFile:
    """Read and check a file.

    Raises:
        ValueError: something in it is wrong, with the line.
        OSError: it cannot be read.
        ClusterError: there is no library that reads YAML.
    """
    text = Path(path).read_text()
    said, lines = _read(path, text)
    if not isinstance(said, dict):
        raise ValueError(f"{path}:1: a cluster's file has keys at its top: hosts, name, port, ...")

    def wrong(place: Place, what: str) -> ValueError:
        return ValueError(f"{path}:{_line(lines, place)}: {what}")

    _refuse_unknown(said, (), ClusterFile, wrong)
    defaults = said.get("defaults", {})
    if not isinstance(defaults, dict):
        raise wrong(("defaults",), "defaults: these should be keys of a host, such as user: me")
    _refuse_unknown(defaults, ("defaults",), HostSpec, wrong)
    hosts = said.get("hosts")
    if not isinstance(hosts, list) or not hosts:
        raise wrong(("hosts",), "hosts: there should be a list of hosts, the first of which has the head")
    for number, host in enumerate(hosts):
        if isinstance(host, str):
            hosts[number] = host = {"host": host}
        if not isinstance(host, dict) or not isinstance(host.get("host"), str):
            raise wrong(
                ("hosts", number), f"hosts[{number}]: a host is its address, or has a key host: ADDRESS"
            )
        _refuse_unknown(host, ("hosts", number), HostSpec, wrong)
        hosts[number] = {**defaults, "name": host["host"], **host}
    try:
        cluster = msgspec.convert({"name": Path(path).stem, **said}, ClusterFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        place = _place(where)
        if place[:1] == ("hosts",) and place[2:] and place not in lines:
            place = ("defaults", *place[2:])
        raise wrong(place, f"{_show(place)}: {what[:1].lower()}{what[1:]}") from None
    _check_names(cluster, wrong)
    _check_scaling(cluster, wrong)
    return cluster


def _check_scaling(cluster: ClusterFile, wrong: Any) -> None:
    on_demand = [number for number, host in enumerate(cluster.hosts) if host.on_demand]
    if on_demand and not cluster.autoscaling:
        place = ("hosts", on_demand[0], "on_demand")
        raise wrong(place, "hosts on demand need the key autoscaling, which says when they are wanted")
    if cluster.scaling is None:
        return
    if not on_demand:
        raise wrong(("autoscaling",), "autoscaling: no host has on_demand: true, so none could be started")
    if "provider" in cluster.autoscaling:
        raise wrong(
            ("autoscaling", "provider"), "autoscaling.provider: it is ssh, with the hosts of this file"
        )
    try:
        of_description(cluster.scaling)
    except ValueError as error:
        keys = str(error).partition(":")[0].split(".")
        raise wrong(("autoscaling", *keys), f"autoscaling.{error}") from None


def _check_names(cluster: ClusterFile, wrong: Any) -> None:
    first: dict[str, int] = {}
    for number, host in enumerate(cluster.hosts):
        place = ("hosts", number, "name")
        try:
            refuse_bad_name(host.name)
        except ValueError as error:
            raise wrong(place, f"{error}; give it one with name: ...") from None
        if host.name in first:
            raise wrong(
                place,
                f"hosts[{number}] has the name {host.name} of hosts[{first[host.name]}]: give one another",
            )
        first[host.name] = number
    if cluster.hosts[0].on_demand:
        raise wrong(
            ("hosts", 0, "on_demand"),
            "the first host has the head, so it cannot be one that is started on demand",
        )
    try:
        refuse_bad_name(cluster.name)
    except ValueError:
        raise wrong(
            ("name",), f"{cluster.name!r} is no name for a cluster: take letters, digits, '-', '_' and '.'"
        ) from None


def _refuse_unknown(said: dict[Any, Any], place: Place, kind: type[msgspec.Struct], wrong: Any) -> None:
    known = kind.__struct_fields__
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise wrong((*place, key), f"{_show((*place, key))}: there is no such key; {hint}")


# ------------------------------------------------------------------------------------------ values and lines


def _read(path: str, text: str) -> tuple[Any, dict[Place, int]]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ClusterError("cluster files need PyYAML: pip install 'distpool[cluster]'") from None
    lines: dict[Place, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _note_lines(path, node, (), lines)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ValueError(f"{path}:{line}: this is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: this is no YAML: {' '.join(str(error).split())}") from None


def _note_lines(path: str, node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    """Where each value is; and a key that is there twice, of which YAML would take one without a word."""
    import yaml

    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, key.value)
            if inner in lines:
                line = key.start_mark.line + 1
                raise ValueError(f"{path}:{line}: {_show(inner)} is there already, in line {lines[inner]}")
            lines[inner] = key.start_mark.line + 1
            _note_lines(path, value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _note_lines(path, value, (*place, number), lines)


def _line(lines: dict[Place, int], place: Place) -> int:
    """That of the value, or of what it would be in."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _place(where: str) -> Place:
    """From msgspec's words for a place, such as `$.hosts[1].port`; it does not name the keys of a dict."""
    found = re.findall(r"\.(\w+)|\[(\d+)\]", where)
    return tuple(name if name else int(number) for name, number in found)


def _show(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
