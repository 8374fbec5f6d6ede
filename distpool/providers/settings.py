"""From what people write about nodes by demand to ``ScalingSettings``: a mapping, or a line.

::

    cluster.yaml                               start --autoscale
    provider: {type: local}                    local:CPU=2,max=3,idle=60
    node_types:                                  one type, named as its provider; idle and start in seconds
      cpu: {resources: {CPU: 2}, labels: {}, min_nodes: 0, max_nodes: 3}
    max_nodes: 10
    idle_timeout_minutes: 1
    start_timeout_minutes: 5
    upscaling_speed: 1.0

Not here: reading YAML, and whether a provider likes its options.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from distpool.scheduler.messages import NodeType, ScalingSettings

__all__ = ["KEYS", "TYPE_KEYS", "of_description", "of_line"]

KEYS = (
    "provider",
    "node_types",
    "max_nodes",
    "idle_timeout_minutes",
    "start_timeout_minutes",
    "upscaling_speed",
)
TYPE_KEYS = ("resources", "labels", "min_nodes", "max_nodes")
#: Of a type about which that is not said.
MAX_NODES = 10
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}\Z")


def of_description(description: Mapping[str, Any]) -> ScalingSettings:
    """Settings from a mapping with ``KEYS``. Raises ValueError, with the key that is wrong and what it should be."""
    refuse_unknown(description, KEYS, "")
    provider = _mapping(description.get("provider"), "provider")
    kind = provider.get("type")
    if not isinstance(kind, str):
        raise ValueError("provider: it has no type, such as {type: local}")
    types = tuple(
        _type(str(name), _mapping(said, f"node_types.{name}"))
        for name, said in _mapping(description.get("node_types"), "node_types").items()
    )
    if not types:
        raise ValueError("node_types: there is none, so no node could be started")
    most = _whole(description.get("max_nodes", sum(t.max_nodes for t in types)), "max_nodes")
    defaults = ScalingSettings("", ())
    return ScalingSettings(
        kind,
        types,
        {key: value for key, value in provider.items() if key != "type"},
        most,
        60 * _amount(description.get("idle_timeout_minutes", defaults.idle_s / 60), "idle_timeout_minutes"),
        60 * _amount(description.get("start_timeout_minutes", defaults.join_s / 60), "start_timeout_minutes"),
        upscaling_speed=_amount(
            description.get("upscaling_speed", defaults.upscaling_speed), "upscaling_speed"
        ),
    )


def _type(name: str, said: Mapping[str, Any]) -> NodeType:
    where = f"node_types.{name}"
    if not _NAME.match(name):
        raise ValueError(
            f"{where}: a type's name is of letters, digits, '-' and '_', and begins with a letter"
        )
    refuse_unknown(said, TYPE_KEYS, f"{where}.")
    resources = {
        str(key): _amount(value, f"{where}.resources.{key}")
        for key, value in _mapping(said.get("resources"), f"{where}.resources").items()
    }
    if not any(resources.values()):
        raise ValueError(f"{where}.resources: a node that has nothing is of no use; say {{CPU: 2}}")
    labels = {str(k): str(v) for k, v in _mapping(said.get("labels", {}), f"{where}.labels").items()}
    least = _whole(said.get("min_nodes", 0), f"{where}.min_nodes")
    most = _whole(said.get("max_nodes", max(least, MAX_NODES)), f"{where}.max_nodes")
    if least > most:
        raise ValueError(f"{where}: min_nodes is {least}, and max_nodes {most}")
    return NodeType(name, resources, labels, least, most)


def of_line(line: str) -> ScalingSettings:
    """``PROVIDER:NAME=AMOUNT,...``: resources of its one type, and min=, max=, idle=, start= (in seconds).

    Raises ValueError.
    """
    provider, colon, words = line.rpartition(":")
    said: dict[str, Any] = {"resources": {}}
    more: dict[str, float] = {}
    for word in filter(None, words.split(",")):
        key, _, value = (part.strip() for part in word.partition("="))
        try:
            amount = float(value)
        except ValueError:
            raise ValueError(f"{word!r} is no NAME=NUMBER, as in local:CPU=2,max=3") from None
        if key in ("min", "max"):
            said[f"{key}_nodes"] = amount
        elif key in ("idle", "start"):
            more[f"{key}_timeout_minutes"] = amount / 60
        else:
            said["resources"][{"CPUS": "CPU", "GPUS": "GPU"}.get(key.upper(), key)] = amount
    if not (colon and provider and said["resources"]):
        raise ValueError(f"{line!r} names no provider and resources, as local:CPU=2,max=3 does")
    name = provider.rpartition(":")[2]  # of one's own provider, its class
    return of_description({"provider": {"type": provider}, "node_types": {name: said}, **more})


def refuse_unknown(said: Mapping[str, Any], known: Iterable[str], before: str) -> None:
    """Raises ValueError for a key that is none, with the nearest that is one."""
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"{before}{key}: there is no such key; {hint}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: it should be a mapping, not {value!r}")
    return value


def _amount(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{where}: it should be a number, zero or more, not {value!r}")
    return float(value)


def _whole(value: Any, where: str) -> int:
    amount = _amount(value, where)
    if amount != int(amount):
        raise ValueError(f"{where}: it should be a whole number, not {value!r}")
    return int(amount)
