"""One host as people describe it: the keys of an entry of ``hosts`` in a cluster's file."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

__all__ = ["VENV", "HostSpec", "Port"]

#: Where an environment is made on a host about which nothing else is said.
VENV = "~/.local/share/distpool/venv"

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class HostSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``host`` is what ``ssh`` is told: an address, a name, or a ``Host`` of ``~/.ssh/config``.

    ``name`` is the node's; ``address`` where it listens, if not where SSH has reached it; ``node_port`` the port there
    (any that is free). ``python`` makes the environment ``venv``, if that is not there. ``on_demand``: its node is
    started by the autoscaler, not by ``distpool up``.
    """

    host: str
    name: str = ""
    user: str = ""
    ssh_port: Port | None = None
    key: str = ""
    ssh_options: dict[str, str | int | bool] = {}
    python: str = "python3"
    venv: str = VENV
    address: str = ""
    node_port: Port | None = None
    num_cpus: Amount | None = None
    num_gpus: Amount | None = None
    resources: dict[str, Amount] = {}
    labels: dict[str, Any] = {}
    on_demand: bool = False
