"""The options of remote functions, actors and their methods: which there are, what they may be, and what they mean.

::

    @remote(num_cpus=2), .options(num_cpus=2) ─► check(TASK, given) ─► merged over the earlier ones ─► resources_of, ...

An option that nobody knows is an error that names the nearest one that there is.
Stands in for ``ray._private.ray_option_utils``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ACTOR", "METHOD", "TASK", "check", "resources_of"]


@dataclass(frozen=True)
class _Option:
    """``kinds`` are the types that a value may have; ``good`` says what else must be so, ``wants`` says it in words."""

    kinds: tuple[type, ...]
    wants: str
    good: Callable[[Any], bool] = lambda _value: True


def _count(least: int = 0, wants: str = "") -> _Option:
    return _Option(
        (int, type(None)), wants or f"a whole number, {least} or more", lambda v: v is None or v >= least
    )


_AMOUNT = _Option((int, float, type(None)), "a number, zero or more", lambda v: v is None or v >= 0)
_ENDLESS = _count(-1, "a whole number, or -1 for without end")
_TEXT = _Option((str, type(None)), "a string")
_FLAG = _Option((bool, type(None)), "True or False")
_NAMED = _Option((dict, type(None)), "a dictionary")
_ANY = _Option((object,), "anything")
_SOME = _Option(
    (int, type(None)),
    "a whole number above zero, or -1 for any number",
    lambda v: v is None or v == -1 or v > 0,
)

_COMMON = {
    "_labels": _NAMED,
    "_metadata": _ANY,
    "accelerator_type": _TEXT,
    "enable_task_events": _FLAG,
    "fallback_strategy": _Option((list, type(None)), "a list of strategies"),
    "label_selector": _NAMED,
    "memory": _AMOUNT,
    "name": _TEXT,
    "num_cpus": _AMOUNT,
    "num_gpus": _AMOUNT,
    "object_store_memory": _AMOUNT,
    "placement_group": _ANY,
    "placement_group_bundle_index": _count(-1),
    "placement_group_capture_child_tasks": _FLAG,
    "resources": _Option(
        (dict, type(None)),
        "a dictionary of names and numbers, without CPU and GPU: these are num_cpus and num_gpus",
        lambda v: not v or (not ({"CPU", "GPU"} & v.keys()) and all(a >= 0 for a in v.values())),
    ),
    "runtime_env": _NAMED,
    "scheduling_strategy": _ANY,
}

#: Of a remote function.
TASK: dict[str, _Option] = {
    **_COMMON,
    "_generator_backpressure_num_objects": _SOME,
    "max_calls": _count(0),
    "max_retries": _ENDLESS,
    "num_returns": _Option(
        (int, str, type(None)),
        'a whole number, zero or more, or "streaming", or "dynamic"',
        lambda v: v in ("streaming", "dynamic") if isinstance(v, str) else v is None or v >= 0,
    ),
    "retry_exceptions": _Option(
        (bool, list, tuple),
        "True, False, or a list of exception types",
        lambda v: (
            isinstance(v, bool)
            or all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in v)
        ),
    ),
}

#: Of an actor class.
ACTOR: dict[str, _Option] = {
    **_COMMON,
    "allow_out_of_order_execution": _FLAG,
    "concurrency_groups": _Option((dict, list, type(None)), "a dictionary of names and numbers"),
    "enable_tensor_transport": _FLAG,
    "get_if_exists": _FLAG,
    "lifetime": _Option(
        (str, type(None)),
        '"detached", "non_detached" or None',
        lambda v: v in (None, "detached", "non_detached"),
    ),
    "max_concurrency": _count(1),
    "max_pending_calls": _SOME,
    "max_restarts": _ENDLESS,
    "max_task_retries": _ENDLESS,
    "namespace": _TEXT,
}

#: Of a method of an actor.
METHOD: dict[str, _Option] = {
    "_generator_backpressure_num_objects": _SOME,
    "concurrency_group": _TEXT,
    "enable_task_events": _FLAG,
    "max_task_retries": _ENDLESS,
    "name": _TEXT,
    "num_returns": TASK["num_returns"],
    "retry_exceptions": TASK["retry_exceptions"],
    "tensor_transport": _TEXT,
}


def check(known: Mapping[str, _Option], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The options that were given, if each is known and may be what it is.

    Args:
        known: ``TASK``, ``ACTOR`` or ``METHOD``.
        given: names and values.
        what: whose options these are, for the text of an error.

    Raises:
        ValueError: an option that there is not, or that cannot have this value.
        TypeError: a value of the wrong type.
    """
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            near = difflib.get_close_matches(name, known, 1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"there are: {', '.join(n for n in known if n[0] != '_')}"
            )
            raise ValueError(f"{what} has no option {name}; {hint}")
        kinds = option.kinds
        if object not in kinds and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        ):
            raise TypeError(f"{name} of {what} is {option.wants}, not {value!r}")
        if not option.good(value):
            raise ValueError(f"{name} of {what} is {option.wants}, not {value!r}")
    return dict(given)


def resources_of(options: Mapping[str, Any], default_cpus: float) -> dict[str, float]:
    """What these options ask of a node: names as a node has them, amounts without the zeros."""
    cpus = options.get("num_cpus")
    asked: dict[str, float] = {
        "CPU": default_cpus if cpus is None else cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": options.get("memory") or 0,
        **(options.get("resources") or {}),
    }
    if kind := options.get("accelerator_type"):
        asked[f"accelerator_type:{kind}"] = 0.001
    return {name: float(amount) for name, amount in asked.items() if amount}
