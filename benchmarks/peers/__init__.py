"""The libraries, one file each, each with one `PEER`. Importing them imports none of the libraries."""

import importlib
import pkgutil

from benchmarks.model import Peer

# distpool first, then what a person is most likely to come from; later files follow by name.
_ORDER = ("distpool", "stdlib", "loky", "mpire", "ray", "dask", "pandas", "polars", "memcpy")


def discover() -> dict[str, Peer]:
    """Every peer by name, distpool's own first."""
    found: list[Peer] = []
    for entry in pkgutil.iter_modules(__path__):
        found.append(importlib.import_module(f"{__name__}.{entry.name}").PEER)
    known = {family: place for place, family in enumerate(_ORDER)}
    found.sort(key=lambda peer: (known.get(peer.family, len(known)), peer.name))
    return {peer.name: peer for peer in found}
