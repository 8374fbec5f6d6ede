"""Where this process is, and which actors have a name.

Stands in for ``ray.util.get_node_ip_address``, ``get_node_instance_id`` and ``list_named_actors``.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Literal, overload


def get_node_ip_address(address: str | None = None) -> str:
    """The IP address by which other machines reach this one; 127.0.0.1 if none can.

    Args:
        address: "host:port" of somebody who would reach it. Nothing is sent there.
    """
    host, _, port = (address or "8.8.8.8:53").rpartition(":")
    try:  # a datagram socket that is connected knows its own end, and sends nothing
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.connect((host, int(port)))
            return str(link.getsockname()[0])
    except (OSError, ValueError):
        pass
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def get_node_instance_id() -> str:
    """What whoever started this machine calls it (``RAY_CLOUD_INSTANCE_ID``); "" if nobody said."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")


@overload
def list_named_actors(all_namespaces: Literal[False] = False) -> list[str]: ...
@overload
def list_named_actors(all_namespaces: Literal[True]) -> list[dict[str, str]]: ...
def list_named_actors(all_namespaces: bool = False) -> Any:
    """The actors that have a name and are alive.

    Args:
        all_namespaces: those of every namespace, not only of this program's.

    Returns:
        Their names; with ``all_namespaces`` a dict for each, with "name" and "namespace".
    """
    from distpool import actor_names

    named = actor_names.names(all_namespaces)
    return named if all_namespaces else [each["name"] for each in named]
