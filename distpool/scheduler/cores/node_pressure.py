"""Who is told that others wait for what his shared workers hold.

::

    nobody misses a worker                   Pressed(False)            idle ones may rest for a while
    one pool does, of this very owner        Pressed(True, but=pool)   his other pools are to give idle ones back
    others do, or a placement group does     Pressed(True)             and busy ones when they have had their turn

Said when it changes, to owners that have shared leases; a dedicated lease is its pool's until that is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from distpool.scheduler.cores.node_records import Owner, WantedPool
from distpool.scheduler.messages import Message, Pressed


class Pressure:
    """A part of ``NodeCore``: it shares the core's way to send."""

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        self._send = send
        self._last: Any = None  # what the hungry were like when all were told
        self.news = False  # an owner has got a shared lease since then

    def tell(
        self,
        hungry: Mapping[str, Mapping[int, WantedPool]],
        owners: Iterable[Owner],
        *,
        holding: bool = False,
    ) -> None:
        """After each step, once what can be granted was. ``holding``: room is made for a placement group."""
        count = sum([len(pools) for pools in hungry.values()]) if hungry else 0
        only = ("", -1)
        if holding:
            count += 1
        elif count == 1:
            only = next((name, number) for name, pools in hungry.items() for number in pools)
        if (count > 0, only) == self._last and not self.news:
            return
        self._last, self.news = (count > 0, only), False
        for owner in owners:
            shared = {number for number, pool in owner.pools.items() if pool.leases and not pool.dedicated}
            if owner.lost or not shared:
                continue
            told = Pressed(count > 0)
            if only[0] == owner.name:
                told = Pressed(True, only[1]) if shared - {only[1]} else Pressed(False)
            if told != owner.pressed:
                owner.pressed = told
                self._send(f"owner:{owner.name}", told)
