"""Where an owner of another machine can be dialled from this one: it must be a guest here, and its home makes it one.

::

    owner, or actor's worker ── GateOf(X, home) ──► find ── BringOwner(X), by the line to its home ──► bring
                             ◄─ GateIs(X, address) ── came ◄── a first word in X's name, or NoOwner(X) ───┘

Not here: what gates and guests are, and what passes through them (``gateway``).
"""

from __future__ import annotations

from collections.abc import Callable

from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.messages import BringOwner, GateOf, NoOwner, encode
from distpool.scheduler.shells.gateway import Gateway

Answer = Callable[[str], None]


class Gates:
    """One agent's; ``watch_way_to`` has the death of the node that a guest comes by be seen."""

    def __init__(self, gateway: Gateway, node: NodeCore, watch_way_to: Callable[[str], None]) -> None:
        self._gateway, self._node, self._watch_way_to = gateway, node, watch_way_to
        self._sought: dict[str, tuple[str, list[Answer]]] = {}  # owner -> its home, who wants its gate

    def find(self, asked: GateOf, answer: Answer) -> None:
        """Tell ``answer`` the address, as soon as there is one; "" if that owner is not to be found."""
        owner = asked.owner
        if self._gateway.is_guest(owner):
            answer(self._gateway.open_gate(owner))
        elif asked.home == self._node.node:
            known = self._node.owners.get(owner)
            answer("" if known is None or known.lost else known.address)
        else:
            first = owner not in self._sought
            self._sought.setdefault(owner, (asked.home, []))[1].append(answer)
            if first and not self._gateway.say_node(asked.home, [encode(BringOwner(owner))]):
                self.came(owner)

    def came(self, owner: str) -> None:
        """Its home has made it a guest; or cannot."""
        is_guest = self._gateway.is_guest(owner)
        if is_guest:
            self._watch_way_to(owner)
        _, answers = self._sought.pop(owner, ("", []))
        for answer in answers:
            answer(self._gateway.open_gate(owner) if is_guest else "")

    def bring(self, peer: bytes, owner: str) -> None:
        """Another node's agent wants to reach an owner whose home this is."""
        known = self._node.owners.get(owner)
        if known is None or known.lost or (known.foreign and self._gateway.behind_of(owner)):
            self._gateway.answer(peer, encode(NoOwner(owner)))
        else:
            self._gateway.bring(owner, peer[2:].decode(errors="replace"))

    def see_nodes(self) -> None:
        """Some may be gone: nobody waits for owners whose home was there."""
        for owner, (home, _) in list(self._sought.items()):
            if home not in self._node.head.others:
                self.came(owner)
