"""Which of a node's GPUs a lease gets: an amount says how many, a device is one that a process is told to use.

Devices are named, and each has as many units as a whole GPU. What is asked for is split: whole ones, which nobody else
has a part of, and what is left of it as a share of one device. So two leases of 0.5 may share a device, and one of 2
gets two that are its own. Pure functions over amounts, with devices for names (``resources.add``, ``subtract``).
"""

from __future__ import annotations

from collections.abc import Sequence

from distpool.scheduler.cores.resources import UNITS, Amounts, subtract

GPU = "GPU"


def all_of(total: Amounts, names: Sequence[str]) -> Amounts:
    """A node's devices, unused. Without names enough they are numbers; the last one may be less than whole."""
    units = total.get(GPU, 0)
    count = -(-units // UNITS)
    called = names if len(names) >= count else [str(number) for number in range(count)]
    return {called[place]: min(UNITS, units - place * UNITS) for place in range(count)}


def pick(need: Amounts, free: Amounts) -> Amounts | None:
    """Devices for a need, of what is free of each; {} if it needs none, None if they do not suffice.

    A share goes where the least is left that suffices, so that whole ones stay whole.
    """
    whole, share = divmod(need.get(GPU, 0), UNITS)
    picked = dict.fromkeys([name for name, units in free.items() if units == UNITS][:whole], UNITS)
    if len(picked) < whole:
        return None
    if share:
        fitting = [name for name, units in free.items() if units >= share and name not in picked]
        if not fitting:
            return None
        picked[min(fitting, key=lambda name: free[name])] = share
    return picked


def for_each(needs: dict[int, Amounts], free: Amounts) -> dict[int, Amounts] | None:
    """Devices for each of these needs, the greatest first; None if they do not suffice for all."""
    left = dict(free)
    found: dict[int, Amounts] = {}
    for index in sorted(needs, key=lambda index: -needs[index].get(GPU, 0)):
        gpus = pick(needs[index], left)
        if gpus is None:
            return None
        subtract(left, gpus)
        found[index] = gpus
    return found


def lends(need: Amounts) -> Amounts:
    """What of a lease others may have while its task waits: not its GPUs, in whose memory its data stays."""
    return {name: units for name, units in need.items() if name != GPU}


def keeps(need: Amounts) -> Amounts:
    """And what they may not."""
    return {GPU: need[GPU]} if GPU in need else {}
