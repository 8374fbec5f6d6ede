"""The head's small keys: what must exist once in the cluster, such as a name, or what programs keep there (``kv``).

::

    KeyPut(owner) ──► values, claims[owner] ── KeyDelete, or the end of the owner or of its node ──► gone
            └───────► answers[owner]: what it was told, until its agent says that it need not know again

A key that was put for an owner goes with it. An owner is known by its name *and* its node: when a node is lost, so is
whoever was there.

An agent whose link is lost, or whose head has been started again, asks again what was not answered. What changes a
key must not be done twice then ("set it if it is not there" would fail the second time), so answers to such questions
are remembered, and journaled with what they have changed. The head has lost that node for now, and what its owners had
put in their names; what else they have changed stays as it is, so what they were told of it is kept until the node is
here again, and says who of them lives, or will not come: ``node_lost``, ``node_gone``. Keys are bounded by
``keys_bytes_max``.

Not here: who asks, and how the answer finds its way (``head``).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    KeyAnswer,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeysReport,
    KeySwap,
    Record,
)

Claimant = tuple[str, str]  # node, owner
KeyQuestion = KeyPut | KeyGet | KeyDelete | KeySwap | KeyList

#: Tables of the journal.
KEYS, ANSWERS = "key", "answer"
_Entry = tuple[bytes, str, str]  # value, and its owner's node and name ("" for none)
_encode = msgspec.msgpack.encode


class Told(msgspec.Struct, array_like=True, frozen=True):
    """What an owner was told. ``named``: it was given a key that is to go with an owner of its node."""

    node: str
    owner: str
    answer: KeyAnswer
    named: bool = False


class Keys:
    """A part of ``HeadCore``. ``record`` takes what its journal is to keep."""

    def __init__(self, limits: Limits, record: Callable[[Record], None]) -> None:
        self.values: dict[str, bytes] = {}
        self.owner_of: dict[str, Claimant] = {}
        self.claims: dict[Claimant, set[str]] = {}
        self.answers: dict[Claimant, dict[int, Told]] = {}  # to what was to change something
        self.bytes = 0  # of keys and values
        self._limits = limits
        self._record = record

    def restore(self, record: Record) -> None:
        """Take in what a former head has left."""
        assert record.value is not None
        if record.table == KEYS:
            value, node, owner = msgspec.msgpack.decode(record.value, type=_Entry)
            self._keep(record.key, value, (node, owner))
        else:
            told = msgspec.msgpack.decode(record.value, type=Told)
            self.answers.setdefault((told.node, told.owner), {})[told.answer.request] = told

    # ------------------------------------------------------------------------------ what is asked

    def answer(self, node: str, owner: str, question: KeyQuestion, settled: int) -> KeyAnswer | KeysReport:
        """Do what an owner on ``node`` asks, once."""
        match question:
            case KeyList(request=request, prefix=prefix):
                return KeysReport(
                    request, tuple(sorted(key for key in self.values if key.startswith(prefix)))
                )
            case KeyGet(request=request, key=key):
                return KeyAnswer(request, self.values.get(key))
            case KeyPut() | KeyDelete() | KeySwap():
                return self._once(node, owner, question, settled)

    def _once(self, node: str, owner: str, question: KeyPut | KeyDelete | KeySwap, settled: int) -> KeyAnswer:
        """Change what is asked for, unless that has been done: then say again what was said."""
        claimant = node, owner
        for request in [request for request in self.answers.get(claimant, ()) if request < settled]:
            self._forget_answer(claimant, request)
        told = self.answers.get(claimant, {}).get(question.request)
        if told is None:
            answer = self._change(node, question)
            named = answer.changed and isinstance(question, KeyPut) and bool(question.owner)
            told = self.answers.setdefault(claimant, {})[question.request] = Told(node, owner, answer, named)
            self._record(Record(ANSWERS, _name(claimant, question.request), _encode(told)))
        return told.answer

    def _change(self, node: str, question: KeyPut | KeyDelete | KeySwap) -> KeyAnswer:
        request, key = question.request, question.key
        held = self.values.get(key)
        claimant = node, ""
        match question:
            case KeyDelete():
                self._forget(key)
                return KeyAnswer(request, None, held is not None)
            case KeyPut(overwrite=overwrite, owner=owner):
                claimant = node, owner
                if held is not None and not overwrite:
                    return KeyAnswer(request, held)
            case KeySwap(expected=expected) if held != expected:
                return KeyAnswer(request, held)
            case KeySwap():
                claimant = self.owner_of.get(key, claimant)
        if refusal := self._refusal(key, question.value):
            return KeyAnswer(request, held, refusal=refusal)
        self._forget(key)
        self._keep(key, question.value, claimant)
        self._record(Record(KEYS, key, _encode((question.value, *claimant))))
        return KeyAnswer(request, None, True)

    def _refusal(self, key: str, value: bytes) -> str:
        """Why this cannot be kept; "" if it can."""
        most = self._limits.keys_bytes_max
        held = self.values.get(key)
        left = most - self.bytes + (0 if held is None else _size(key, held))
        if _size(key, value) <= left:
            return ""
        return (
            f"the cluster's head keeps {self.bytes} bytes under {len(self.values)} keys, and at most {most}; "
            "delete some, and put big values into the object store"
        )

    # ------------------------------------------------------------------------------- comings, goings

    def owner_gone(self, claimant: Claimant) -> None:
        """Forget what was put for this owner, and what it was told."""
        self._forget_keys(claimant)
        for request in list(self.answers.get(claimant, ())):
            self._forget_answer(claimant, request)

    def node_lost(self, node: str) -> None:
        """Forget what was put for anybody there; it may come back, and ask again what it has not heard the answer to.

        Who was given a key that is gone with that may be given it anew.
        """
        for claimant in [claimant for claimant in self.claims if claimant[0] == node]:
            self._forget_keys(claimant)
        for claimant in [claimant for claimant in self.answers if claimant[0] == node]:
            for request, told in list(self.answers[claimant].items()):
                if told.named:
                    self._forget_answer(claimant, request)

    def node_gone(self, node: str, but: frozenset[str] = frozenset()) -> None:
        """Forget what was put for anybody there, but for these owners."""
        for claimant in dict.fromkeys((*self.claims, *self.answers)):
            if claimant[0] == node and claimant[1] not in but:
                self.owner_gone(claimant)

    def _keep(self, key: str, value: bytes, claimant: Claimant) -> None:
        self.values[key] = value
        self.bytes += _size(key, value)
        if claimant[1]:
            self.owner_of[key] = claimant
            self.claims.setdefault(claimant, set()).add(key)

    def _forget_keys(self, claimant: Claimant) -> None:
        for key in list(self.claims.get(claimant, ())):
            self._forget(key)

    def _forget(self, key: str) -> None:
        if key not in self.values:
            return
        self.bytes -= _size(key, self.values.pop(key))
        self._record(Record(KEYS, key, None))
        claimant = self.owner_of.pop(key, None)
        if claimant is not None:
            self.claims[claimant].discard(key)
            if not self.claims[claimant]:
                del self.claims[claimant]

    def _forget_answer(self, claimant: Claimant, request: int) -> None:
        answers = self.answers[claimant]
        del answers[request]
        if not answers:
            del self.answers[claimant]
        self._record(Record(ANSWERS, _name(claimant, request), None))

    def check(self) -> None:
        """Assert every invariant."""
        assert set(self.owner_of) <= set(self.values)
        claimed = {key: claimant for claimant, keys in self.claims.items() for key in keys}
        assert claimed == self.owner_of, "a key and its owner do not agree"
        assert all(self.claims.values())
        assert all(self.answers.values())
        assert self.bytes == sum(_size(key, value) for key, value in self.values.items())


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value)


def _name(claimant: Claimant, request: int) -> str:
    """A key of the journal: nodes' and owners' names have no blanks."""
    return f"{claimant[0]} {claimant[1]} {request}"
