"""What a node has: CPUs, GPUs, memory, and what somebody says that it has besides; and the labels that it wears.

::

    found here:  CPU  GPU  accelerator_type:H100  memory  object_store_memory  node:NAME  node:ADDRESS  ...
                  ▲    ▲     ▲                      ▲       ▲
    said by whoever starts the agent: takes the place of what was found; zero means that there is none

Amounts are numbers, memory in bytes. Nothing of it is enforced by the node: it is what tasks may ask for. Not here: who
gets them (``cores.node``), which GPUs there are (``gpu_watch``), and how large the store is (``store.files``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from distpool.cpus import cpu_count
from distpool.scheduler.shells.gpu_inventory import Inventory
from distpool.scheduler.store.files import StoreFiles, usable_memory_bytes

#: Of the memory that is there, what tasks may ask for on a node without a store.
TASKS_SHARE = 0.7
#: What a task asks for to run beside the head.
HEAD = "node:__internal_head__"
#: What tells CUDA which devices there are.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: A label that each node has: its id.
NODE_LABEL = "ray.io/node-id"
#: And one that those have whose GPUs are all of one kind; with a resource of that name.
KIND_LABEL = "ray.io/accelerator-type"
KIND = "accelerator_type:"
NO_GPUS = Inventory()


def total(
    said: Mapping[str, float],
    node: str,
    address: str,
    store: StoreFiles | None,
    gpus: Inventory = NO_GPUS,
    *,
    holds_head: bool,
) -> dict[str, float]:
    """What a node named ``node`` has in all; ``said`` takes the place of what is found."""
    found = {"CPU": float(cpu_count()), "GPU": float(gpus.count), **_memory(store)}
    if gpus.kind and said.get("GPU") != 0:
        found[f"{KIND}{gpus.kind}"] = 1.0  # each task that wants this kind asks for a thousandth
    own = {f"node:{node}": 1.0, f"node:{ip_of(address)}": 1.0, **({HEAD: 1.0} if holds_head else {})}
    return {name: amount for name, amount in {**found, **said, **own}.items() if amount}


def labels(said: Mapping[str, str], node: str, gpus: Inventory = NO_GPUS) -> dict[str, str]:
    """The labels of a node: those given to it, what kind of GPUs it has, and its id as ``distpool.nodes`` tells it."""
    found = {KIND_LABEL: gpus.kind} if gpus.kind else {}
    return {**found, **said, NODE_LABEL: node.encode().hex()}


def ip_of(address: str) -> str:
    """The IP address at which an agent can be dialled; that of this machine to itself while it is a unix socket."""
    scheme, _, rest = address.partition("://")
    return rest.rpartition(":")[0] if scheme == "tcp" else "127.0.0.1"


def _memory(store: StoreFiles | None) -> dict[str, float]:
    """What is available now, limits of control groups included, less what the store may take of it."""
    there = min(usable_memory_bytes(), _free_memory_bytes())
    if store is None:
        return {"memory": float(int(there * TASKS_SHARE))}
    size = os.fstat(store.memory_fd).st_size
    return {"memory": float(max(there - size, 0)), "object_store_memory": float(size)}


def _free_memory_bytes() -> int:
    """What the machine could still give, by its kernel's word."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 1 << 62
