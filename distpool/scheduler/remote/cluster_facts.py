"""What a program asks of its cluster: which nodes there are, and for keys that exist once in it.

::

    any thread ── session.ask ──► agent ──► head ──► FactsReport, KeyAnswer, KeysReport

On every node the same: an owner asks its own agent, which asks the head. Each call is one round trip, and raises
``ClusterError`` if the agent dies under it. What a program may call is in the front doors; this is what they stand on.
"""

from __future__ import annotations

from distpool.errors import ClusterError
from distpool.scheduler import client
from distpool.scheduler.messages import (
    FactsQuery,
    FactsReport,
    KeyAnswer,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeysReport,
    KeySwap,
    RequestResources,
    ResourcesNoted,
    Survey,
    Surveyed,
)
from distpool.scheduler.session import ASK_S


def facts() -> FactsReport:
    """Which nodes there are, what they have and what of it is free; at most a moment old."""
    return client.session().ask(FactsQuery(), FactsReport)


def kept_idle() -> dict[str, list[dict[str, float]]]:
    """What each of this process's workers holds that have nothing to do, and go when that lasts; by their nodes."""
    kept: dict[str, list[dict[str, float]]] = {}
    for lease in client.session().core.idling.resting():
        if not lease.pool.dedicated and lease.pool.strategy.kind != "group":  # a bundle stays taken
            kept.setdefault(lease.node, []).append(lease.pool.resources)
    return kept


def key_put(
    key: str,
    value: bytes,
    *,
    overwrite: bool = True,
    mine: bool = False,
    timeout_s: float | None = ASK_S,
) -> bool:
    """Set a key; with ``overwrite`` false only if it is not there. Whether it was set.

    With ``mine`` the key goes when this process ends, or its session or its node. Raises ClusterError if the head keeps
    as much as it may.
    """
    session = client.session()
    put = KeyPut(0, key, value, overwrite, session.core.owner if mine else "")
    return _changed(session.ask(put, KeyAnswer, timeout_s))


def key_swap(key: str, expected: bytes | None, value: bytes, *, timeout_s: float | None = ASK_S) -> bool:
    """Set a key if it holds ``expected`` (None: if it is not there). Whether it was set. Raises as ``key_put``."""
    return _changed(client.session().ask(KeySwap(0, key, expected, value), KeyAnswer, timeout_s))


def _changed(answer: KeyAnswer) -> bool:
    if answer.refusal:
        raise ClusterError(answer.refusal)
    return answer.changed


def key_get(key: str, *, timeout_s: float | None = ASK_S) -> bytes | None:
    """What a key holds; None if there is none."""
    return client.session().ask(KeyGet(0, key), KeyAnswer, timeout_s).value


def key_delete(key: str, *, timeout_s: float | None = ASK_S) -> bool:
    """Remove a key. Whether there was one."""
    return client.session().ask(KeyDelete(0, key), KeyAnswer, timeout_s).changed


def key_exists(key: str) -> bool:
    """Whether there is such a key."""
    return key_get(key) is not None


def keys(prefix: str = "", *, timeout_s: float | None = ASK_S) -> list[str]:
    """The keys that begin with ``prefix``, in order."""
    return list(client.session().ask(KeyList(0, prefix), KeysReport, timeout_s).keys)


def request_resources(bundles: tuple[dict[str, float], ...]) -> bool:
    """Have nodes keep room for these, until this process ends or asks again. Whether anybody starts nodes."""
    return client.session().ask(RequestResources(0, bundles), ResourcesNoted).scaled


def survey(topic: str, *, workers: bool = False) -> Surveyed:
    """Ask all owners of the cluster what they know of this, and with ``workers`` those too. Takes seconds at most."""
    return client.session().ask(Survey(0, topic, workers), Surveyed)
