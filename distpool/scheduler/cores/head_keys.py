"""The head's few small keys: what must exist once in the cluster, such as a name or a meeting place.

::

    KeyPut(owner) ──► values, claims[owner] ── KeyDelete, or the end of the owner or of its node ──► gone

A key that was put for an owner goes with it. An owner is known by its name *and* its node: when a node is lost, so is
whoever was there. Not here: who asks, and how the answer finds its way (``head``).
"""

from __future__ import annotations

from distpool.scheduler.messages import KeyAnswer, KeyDelete, KeyGet, KeyList, KeyPut, KeysReport

Claimant = tuple[str, str]  # node, owner


class Keys:
    """A part of ``HeadCore``."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.owner_of: dict[str, Claimant] = {}
        self.claims: dict[Claimant, set[str]] = {}

    def answer(self, node: str, question: KeyPut | KeyGet | KeyDelete | KeyList) -> KeyAnswer | KeysReport:
        """Do what an owner on ``node`` asks."""
        match question:
            case KeyList(request=request, prefix=prefix):
                return KeysReport(
                    request, tuple(sorted(key for key in self.values if key.startswith(prefix)))
                )
            case KeyGet(request=request, key=key):
                return KeyAnswer(request, self.values.get(key))
            case KeyDelete(request=request, key=key):
                held = self.values.get(key)
                self._forget(key)
                return KeyAnswer(request, held, held is not None)
            case KeyPut(request=request, key=key, value=value, overwrite=overwrite, owner=owner):
                held = self.values.get(key)
                if held is not None and not overwrite:
                    return KeyAnswer(request, held, False)
                self._forget(key)
                self.values[key] = value
                if owner:
                    self.owner_of[key] = node, owner
                    self.claims.setdefault((node, owner), set()).add(key)
                return KeyAnswer(request, value, True)

    def owner_gone(self, claimant: Claimant) -> None:
        """Forget what was put for this owner."""
        for key in list(self.claims.get(claimant, ())):
            self._forget(key)

    def node_gone(self, node: str) -> None:
        """Forget what was put for anybody there."""
        for claimant in [claimant for claimant in self.claims if claimant[0] == node]:
            self.owner_gone(claimant)

    def _forget(self, key: str) -> None:
        self.values.pop(key, None)
        claimant = self.owner_of.pop(key, None)
        if claimant is not None:
            self.claims[claimant].discard(key)
            if not self.claims[claimant]:
                del self.claims[claimant]

    def check(self) -> None:
        """Assert every invariant."""
        assert set(self.owner_of) <= set(self.values)
        claimed = {key: claimant for claimant, keys in self.claims.items() for key in keys}
        assert claimed == self.owner_of, "a key and its owner do not agree"
        assert all(self.claims.values())
