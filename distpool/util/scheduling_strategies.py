"""Where calls and actors may run: the values of ``scheduling_strategy=``.

::

    "DEFAULT" | "SPREAD" | None                 ─┐
    PlacementGroupSchedulingStrategy(group, 0)   │  strategy_of(given, label_selector) ─► Strategy, which
    NodeAffinitySchedulingStrategy(id, soft)     │                                        the node cores honour
    NodeLabelSchedulingStrategy({"zone": In()}) ─┘

Not here: how it is honoured (``scheduler.cores.place``, ``node_groups``). Stands in for
``ray.util.scheduling_strategies``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.cluster import node_name_of
from distpool.scheduler.cores.resources import show
from distpool.scheduler.messages import LabelTerm, Strategy

if TYPE_CHECKING:
    from distpool.util.placement_group import PlacementGroup

__all__ = [
    "DoesNotExist",
    "Exists",
    "In",
    "NodeAffinitySchedulingStrategy",
    "NodeLabelSchedulingStrategy",
    "NotIn",
    "PlacementGroupSchedulingStrategy",
]

_NOTHING: Mapping[str, float] = {}
#: Strategies that are just a word.
_WORDS = {"DEFAULT": Strategy(), "SPREAD": Strategy("spread")}


class PlacementGroupSchedulingStrategy:
    """In a placement group (``ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy``).

    Args:
        placement_group: which; None for none, also for work that would be in its caller's.
        placement_group_bundle_index: the number of a bundle; -1 for any.
        placement_group_capture_child_tasks: whether what this work starts is in the group too.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def to_strategy(self) -> Strategy:
        """What the nodes are told. Raises ValueError for a bundle that there is not, TypeError for no group."""
        from distpool.util.placement_group import PlacementGroup

        group, index = self.placement_group, self.placement_group_bundle_index
        if group is None:
            return Strategy()
        if not isinstance(group, PlacementGroup):
            raise TypeError(f"placement_group is what placement_group() returns, or None, not {group!r}")
        count = group.bundle_count
        if not isinstance(index, int) or not -1 <= index < count:
            raise ValueError(
                f"placement_group_bundle_index is {index!r}, and the group has {count} bundles: give a number from 0 "
                f"to {count - 1}, or -1 for any"
            )
        capture = bool(self.placement_group_capture_child_tasks)
        return Strategy("group", group=group.id.hex(), bundle=index, capture=capture)


class NodeAffinitySchedulingStrategy:
    """On one node (``ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy``).

    Args:
        node_id: a ``NodeID`` of ``distpool.nodes()``.
        soft: whether it may run elsewhere if that node is gone, or can never do it.
    """

    def __init__(
        self,
        node_id: str,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        if not isinstance(node_id, str) or not node_id:
            raise ValueError(f"node_id is a NodeID as nodes() gives it, not {node_id!r}")
        if _spill_on_unavailable and not soft:
            raise ValueError("_spill_on_unavailable has a meaning only with soft=True")
        self.node_id = node_id
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable

    def to_strategy(self) -> Strategy:
        """What the nodes are told."""
        return Strategy("node", node=node_name_of(self.node_id), soft=bool(self.soft))


class _Values:
    """An operator with values."""

    operator = ""

    def __init__(self, *values: str) -> None:
        name = type(self).__name__
        if not values:
            raise ValueError(f'{name} takes at least one value: {name}("east", "west")')
        for place, value in enumerate(values):
            if not isinstance(value, str):
                raise ValueError(
                    f'{name} takes strings, as in {name}("1", "2"), and value {place} is {value!r}, '
                    f"of type {type(value).__name__}"
                )
        self.values = list(values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.values))})"


class In(_Values):
    """The label is there, and is one of these."""

    operator = "in"


class NotIn(_Values):
    """The label is not there, or is none of these."""

    operator = "not_in"


class Exists:
    """The label is there."""

    operator = "exists"

    def __repr__(self) -> str:
        return "Exists()"


class DoesNotExist:
    """The label is not there."""

    operator = "absent"

    def __repr__(self) -> str:
        return "DoesNotExist()"


_Operators = Mapping[str, "In | NotIn | Exists | DoesNotExist"]


class NodeLabelSchedulingStrategy:
    """On nodes with certain labels (``ray.util.scheduling_strategies.NodeLabelSchedulingStrategy``).

    Args:
        hard: what each label must be: {"zone": In("east"), "spot": DoesNotExist()}.
        soft: what each would better be.
    """

    def __init__(self, hard: _Operators, *, soft: _Operators | None = None) -> None:
        self.hard = _terms(hard, "hard")
        self.soft = _terms({} if soft is None else soft, "soft")
        if not self.hard and not self.soft:
            raise ValueError("hard and soft are both empty: name a label that the node must, or should, have")

    def to_strategy(self) -> Strategy:
        """What the nodes are told."""
        return Strategy(labels=self.hard, wishes=self.soft)


def _terms(operators: Any, which: str) -> tuple[LabelTerm, ...]:
    if not isinstance(operators, Mapping):
        raise ValueError(f'{which} is a dictionary such as {{"zone": In("east")}}, not {operators!r}')
    terms = []
    for key, operator in operators.items():
        if not isinstance(key, str):
            raise ValueError(f"the keys of {which} are strings, the names of labels, and {key!r} is none")
        if not isinstance(operator, In | NotIn | Exists | DoesNotExist):
            raise ValueError(
                f"the values of {which} are In(...), NotIn(...), Exists() or DoesNotExist(), and that of {key!r} is "
                f"{operator!r}, of type {type(operator).__name__}"
            )
        terms.append(LabelTerm(key, operator.operator, tuple(getattr(operator, "values", ()))))
    return tuple(terms)


def terms_of(selector: Mapping[str, str] | None, what: str = "label_selector") -> tuple[LabelTerm, ...]:
    """What a label selector asks of nodes: ``{"zone": "east"}``, ``"!east"``, ``"in(east,west)"``, ``"!in(east)"``.

    Raises:
        ValueError: it is no such dictionary.
    """
    if selector is None:
        return ()
    if not isinstance(selector, Mapping):
        raise ValueError(f'{what} is a dictionary such as {{"zone": "east"}}, not {selector!r}')
    terms = []
    for key, value in selector.items():
        if not isinstance(key, str) or not isinstance(value, str) or not key:
            raise ValueError(f"{what} has strings for keys and values, and not {key!r}: {value!r}")
        wanted = value.strip()
        operator = "in"
        if wanted.startswith("!"):
            operator, wanted = "not_in", wanted[1:].strip()
        if wanted.startswith("in(") and wanted.endswith(")"):
            values = tuple(part.strip() for part in wanted[3:-1].split(","))
        else:
            values = (wanted,)
        if not all(values) or any(mark in part for part in values for mark in "()!,"):
            raise ValueError(
                f'{what} of {key!r} is {value!r}; write "east", "!east", "in(east,west)" or "!in(east,west)"'
            )
        terms.append(LabelTerm(key, operator, values))
    return tuple(terms)


def strategy_of(
    given: Any, label_selector: Mapping[str, str] | None = None, resources: Mapping[str, float] = _NOTHING
) -> Strategy:
    """What ``scheduling_strategy=`` and ``label_selector=`` mean together, for work that asks for ``resources``.

    Raises:
        TypeError: no strategy at all.
        ValueError: a word that is none; a selector that is none; both a placement group and a selector; a group none
            of whose bundles can ever do it.
    """
    strategy: Strategy
    if given is None:
        strategy = Strategy()
    elif isinstance(given, str):
        if given not in _WORDS:
            raise ValueError(
                f'scheduling_strategy is "DEFAULT" or "SPREAD", or a strategy object, not {given!r}'
            )
        strategy = _WORDS[given]
    elif isinstance(
        given, PlacementGroupSchedulingStrategy | NodeAffinitySchedulingStrategy | NodeLabelSchedulingStrategy
    ):
        strategy = given.to_strategy()
        if isinstance(given, PlacementGroupSchedulingStrategy) and given.placement_group is not None:
            _expect_fit(given.placement_group, strategy.bundle, resources)
    else:
        raise TypeError(
            f'scheduling_strategy is "DEFAULT", "SPREAD", or one of distpool.util.scheduling_strategies, not {given!r}'
        )
    terms = terms_of(label_selector)
    if terms and strategy.kind == "group":
        raise ValueError(
            "label_selector has no meaning in a placement group, whose bundles have their nodes already: "
            "give bundle_label_selector to placement_group()"
        )
    return msgspec.structs.replace(strategy, labels=strategy.labels + terms) if terms else strategy


def _expect_fit(group: PlacementGroup, index: int, resources: Mapping[str, float]) -> None:
    bundles = group.bundle_specs
    chosen = bundles if index < 0 else bundles[index : index + 1]
    for bundle in chosen:
        if all(bundle.get(name, 0.0) >= amount for name, amount in resources.items()):
            return
    have = "; ".join(map(show, chosen))
    which = (
        "no bundle of its placement group has that" if index < 0 else f"bundle {index} of its group has not"
    )
    raise ValueError(f"this asks for {show(resources)}, and {which}: {have}")
