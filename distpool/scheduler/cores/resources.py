"""Amounts of resources, counted exactly.

Users write floats (``{"CPU": 0.1}``); ten times 0.1 is not 1.0, and a node that adds and subtracts floats for a
week grants a CPU that it has not got. Inside, an amount is a whole number of ten-thousandths.

Not here: which node or worker gets them (``place``, ``node``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

UNITS = 10_000  # of which one CPU, GPU, ... is made

Amounts = dict[str, int]


def to_units(resources: Mapping[str, float]) -> Amounts:
    """Exact amounts, without the zeros. Raises ValueError for what is negative, infinite or not a number."""
    amounts: Amounts = {}
    for name, value in resources.items():
        if not math.isfinite(value) or value < 0:
            raise ValueError(
                f"cannot ask for {value!r} of {name}: an amount is a finite number, zero or more"
            )
        if value:
            amounts[name] = max(1, round(value * UNITS))  # the least request still costs something
    return amounts


def to_floats(amounts: Amounts) -> dict[str, float]:
    """Amounts as users write them."""
    return {name: units / UNITS for name, units in amounts.items()}


def fits(need: Amounts, have: Amounts) -> bool:
    """Whether ``have`` suffices for ``need``."""
    return all(have.get(name, 0) >= units for name, units in need.items())


def how_often(need: Amounts, have: Amounts) -> int | None:
    """How many times ``need`` fits into ``have``; None for as often as you like (it needs nothing)."""
    if not need:
        return None
    return min(have.get(name, 0) // units for name, units in need.items())


def add(amounts: Amounts, more: Amounts) -> None:
    """Put ``more`` into ``amounts``."""
    for name, units in more.items():
        amounts[name] = amounts.get(name, 0) + units


def subtract(amounts: Amounts, less: Amounts) -> None:
    """Never below zero: what is taken must be there."""
    for name, units in less.items():
        left = amounts.get(name, 0) - units
        assert left >= 0, f"{name} oversubscribed by {-left / UNITS}"
        amounts[name] = left


def without(amounts: Amounts, reserved: Amounts) -> Amounts:
    """What of ``amounts`` is left besides ``reserved``, which may be more than there is."""
    if not reserved:
        return amounts
    return {name: max(0, units - reserved.get(name, 0)) for name, units in amounts.items()}


#: Amounts of these are bytes.
BYTES = ("memory", "object_store_memory")


def show(resources: Mapping[str, float]) -> str:
    """For error texts: ``CPU 2, GPU 0.5, memory 8 GiB``."""
    return (
        ", ".join(f"{name} {_amount(name, value)}" for name, value in sorted(resources.items())) or "nothing"
    )


def _amount(name: str, value: float) -> str:
    if name in BYTES and value >= 1 << 20:
        return f"{value / 2**30:.3g} GiB" if value >= 1 << 30 else f"{value / 2**20:.3g} MiB"
    return f"{value:g}"
