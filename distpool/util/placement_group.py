"""Resources that are set aside together, on one node or on several: placement groups.

::

    group = placement_group([{"CPU": 2}, {"CPU": 2}], strategy="SPREAD")     all bundles, or none
    get(group.ready())                                                       they are there
    f.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0)).remote()
    remove_placement_group(group)                                            what runs in it is ended

A group ends with the process that has made it, unless its lifetime is "detached". When a node is lost its bundles are
placed anew. Stands in for ``ray.util.placement_group``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from distpool.cluster import node_id_of, node_name_of
from distpool.scheduler.messages import GroupFacts
from distpool.scheduler.remote import placement
from distpool.scheduler.remote.refs import ObjectRef
from distpool.util.scheduling_strategies import terms_of

__all__ = [
    "PlacementGroup",
    "PlacementGroupID",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
ID_BYTES = 18


class PlacementGroupID:
    """Names a group in its cluster (``ray.PlacementGroupID``)."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    @classmethod
    def from_hex(cls, name: str) -> PlacementGroupID:
        """The one that ``hex`` gave."""
        return cls(bytes.fromhex(name))

    def hex(self) -> str:
        """36 hexadecimal digits."""
        return self._name.hex()

    def binary(self) -> bytes:
        """The same, as 18 bytes."""
        return self._name

    def is_nil(self) -> bool:
        """Whether it names none."""
        return not any(self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroupID) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroupID, (self._name,)

    def __repr__(self) -> str:
        return f"PlacementGroupID({self.hex()})"


class PlacementGroup:
    """A handle of a group; it may be passed to tasks. Made by ``placement_group`` and ``get_placement_group``."""

    def __init__(
        self, id: PlacementGroupID, bundle_cache: Sequence[Mapping[str, float]] | None = None
    ) -> None:
        self.id = id
        self.bundle_cache = None if bundle_cache is None else [dict(bundle) for bundle in bundle_cache]

    @staticmethod
    def empty() -> PlacementGroup:
        """The handle of no group."""
        return PlacementGroup(PlacementGroupID(bytes(ID_BYTES)), [])

    @property
    def is_empty(self) -> bool:
        """Whether it is the handle of no group."""
        return self.id.is_nil()

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """What each bundle has. Raises ValueError if the group is not known (any more)."""
        if self.bundle_cache is None:
            found = placement.find(self.id.hex())
            if not found:
                raise ValueError(f"there is no placement group {self.id.hex()}")
            self.bundle_cache = [dict(bundle) for bundle in found[0].bundles]
        return [dict(bundle) for bundle in self.bundle_cache]

    @property
    def bundle_count(self) -> int:
        """How many bundles there are."""
        return len(self.bundle_specs)

    def ready(self) -> ObjectRef:
        """A reference to this handle that is there when every bundle is set aside.

        Getting it raises TaskPlacementGroupRemoved if the group is removed before.
        """
        return placement.when_placed(self.id.hex(), self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Whether every bundle is set aside within ``timeout_seconds``; False also if the group was removed."""
        return placement.wait(self.id.hex(), timeout_seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self.id, self.bundle_cache)

    def __repr__(self) -> str:
        return f"<distpool placement group {self.id.hex()}>"


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: Any = None,
) -> PlacementGroup:
    """Have a group made. Returns at once; ``ready`` and ``wait`` tell when it is there.

    Args:
        bundles: what each has: ``[{"CPU": 1}, {"CPU": 1, "GPU": 1}]``; memory in bytes.
        strategy: "PACK" (few nodes), "SPREAD" (many), "STRICT_PACK" (one, or the group is not there), "STRICT_SPREAD"
            (one for each).
        name: by which ``get_placement_group`` finds it, in this program's namespace.
        lifetime: "detached": it does not end with this process.
        _soft_target_node_id: with "STRICT_PACK": the node to take if it has room.
        bundle_label_selector: what labels each bundle's node must have, one dictionary for each bundle.

    Raises:
        ValueError: an argument that makes no sense; a name that another group has.
        ClusterError: the cluster cannot be started, or was lost meanwhile.
    """
    checked = _bundles(bundles)
    if strategy not in STRATEGIES:
        raise ValueError(
            f"the strategy of a placement group is one of {', '.join(STRATEGIES)}, not {strategy!r}"
        )
    if lifetime not in (None, "detached"):
        raise ValueError(f'the lifetime of a placement group is None or "detached", not {lifetime!r}')
    if _soft_target_node_id is not None and strategy != "STRICT_PACK":
        raise ValueError("_soft_target_node_id is for the strategy STRICT_PACK only")
    if topology_strategy is not None:
        warnings.warn("topology_strategy means nothing here", UserWarning, stacklevel=2)
    labels = _labels(bundle_label_selector, len(checked))
    group = PlacementGroupID(os.urandom(ID_BYTES))
    placement.make(
        GroupFacts(
            group.hex(),
            tuple(checked),
            strategy,
            name or "",
            _namespace(),
            lifetime == "detached",
            labels,
            node_name_of(_soft_target_node_id or ""),
        )
    )
    return PlacementGroup(group, checked)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give back what a group has. Work in it is ended, and what waits for it fails (``TaskPlacementGroupRemoved``)."""
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"a placement group is what placement_group() returns, not {placement_group!r}")
    placement.remove(placement_group.id.hex())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The living group that was given this name in this program's namespace.

    Raises:
        ValueError: there is none.
    """
    if not placement_group_name:
        raise ValueError("a placement group is looked for by a name that is not empty")
    found = placement.find(name=placement_group_name, namespace=_namespace())
    if not found:
        raise ValueError(f"there is no placement group named {placement_group_name!r} in this namespace")
    return PlacementGroup(PlacementGroupID.from_hex(found[0].group), found[0].bundles)


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What is known of a group; without one a dictionary of all, also those removed of late, by their ids.

    ``state`` is PENDING, CREATED, RESCHEDULING or REMOVED; ``bundles_to_node_id`` tells where each bundle is, and
    ``stats["scheduling_state"]`` why a group is not there (``ray.util.placement_group_table``).
    """
    if placement_group is None:
        return {facts.group: _row(facts) for facts in placement.find()}
    found = placement.find(placement_group.id.hex())
    return _row(found[0]) if found else {}


def get_current_placement_group() -> PlacementGroup | None:
    """The group that this task or actor is in, None if in none."""
    from distpool.remote_plans import job

    group = job.here.group
    return PlacementGroup(PlacementGroupID.from_hex(group)) if group else None


def _row(facts: GroupFacts) -> dict[str, Any]:
    return {
        "placement_group_id": facts.group,
        "name": facts.name,
        "bundles": {index: dict(bundle) for index, bundle in enumerate(facts.bundles)},
        "bundles_to_node_id": dict(enumerate(map(node_id_of, facts.nodes or ("",) * len(facts.bundles)))),
        "strategy": facts.strategy,
        "state": facts.state.upper(),
        "stats": {
            "scheduling_state": "FINISHED" if facts.state == "created" else facts.reason or facts.state
        },
    }


def _bundles(bundles: Any) -> list[dict[str, float]]:
    if not isinstance(bundles, list):
        raise ValueError(f'bundles is a list of dictionaries such as [{{"CPU": 1}}], not {bundles!r}')
    if not bundles:
        raise ValueError('bundles is empty: a placement group has at least one, such as [{"CPU": 1}]')
    return [_bundle(index, bundle) for index, bundle in enumerate(bundles)]


def _bundle(index: int, bundle: Any) -> dict[str, float]:
    if not isinstance(bundle, dict):
        raise ValueError(f'bundle {index} is {bundle!r}; a bundle is a dictionary such as {{"CPU": 1}}')
    for name, amount in bundle.items():
        good = isinstance(name, str) and isinstance(amount, int | float) and 0 <= amount < float("inf")
        if not good:
            raise ValueError(
                f"bundle {index} has {name!r}: {amount!r}; an amount is a number, zero or more, by name"
            )
    if not any(bundle.values()):
        raise ValueError(f"bundle {index} is {bundle!r}: a bundle asks for something")
    return {name: float(amount) for name, amount in bundle.items()}


def _labels(selectors: Any, count: int) -> tuple[Any, ...]:
    if selectors is None:
        return ()
    if not isinstance(selectors, list) or len(selectors) not in (0, count):
        raise ValueError(
            f"bundle_label_selector is a list with a dictionary for each of the {count} bundles, not {selectors!r}"
        )
    return tuple(terms_of(selector, f"bundle_label_selector {i}") for i, selector in enumerate(selectors))


def _namespace() -> str:
    from distpool.remote_plans import job

    return job.facts[0]
