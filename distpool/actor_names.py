"""Actors by name: kept by the cluster's head, which has each name once.

::

    claim(handle, "c") ─► key actor/NAMESPACE/c, if it is free ─► goes when the actor ends, or its creator
    find("c")          ─► a handle, made of what lies there

Names are given in a namespace: that of ``init``, or the one that an option names.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from distpool.errors import Failure
from distpool.scheduler.remote import cluster_facts
from distpool.scheduler.serialize import Exporter, loads

if TYPE_CHECKING:
    from distpool.actors import ActorHandle

_PREFIX = "actor/"


def namespace_of(namespace: str | None) -> str:
    """The namespace that is meant."""
    if namespace is not None:
        if not isinstance(namespace, str) or not namespace:
            raise ValueError(f"a namespace is a string that is not empty, not {namespace!r}")
        return namespace
    from distpool.runtime import current_namespace

    return current_namespace()


def claim(handle: ActorHandle, name: str, namespace: str | None) -> None:
    """Give an actor of this process's a name. Raises ValueError if another one has it."""
    key = _key(name, namespace)
    link = handle._ref.link
    blob = Exporter(snapshot=False, stores_units=False).dumps(handle, keep=[])  # a name keeps no actor alive
    mine = link.base is None  # a detached actor's name is its driver's
    if not cluster_facts.key_put(key, blob, overwrite=False, mine=mine):
        has_ended = find(name, namespace) is None
        if not (has_ended and cluster_facts.key_put(key, blob, overwrite=True, mine=mine)):
            raise ValueError(
                f"there is an actor named {name!r} already: take another name, or get_if_exists=True to have that one"
            )
    if mine:
        link.key = key
        link.on_event_too = functools.partial(_forget, key)


def _forget(key: str, event: Any) -> None:
    """On the thread that delivers, which must not wait: the actor has ended."""
    if isinstance(event, Failure):
        from distpool.scheduler import client
        from distpool.scheduler.messages import KeyDelete

        session = client.current()
        if session is not None:
            session.begin_ask(KeyDelete(0, key))


def find(name: str, namespace: str | None) -> ActorHandle | None:
    """A handle of the actor with this name, None if there is none that lives."""
    blob = cluster_facts.key_get(_key(name, namespace))
    if blob is None:
        return None
    handle: ActorHandle = loads(blob, label="actor")
    return None if handle._ref.link.ended is not None else handle


def names(all_namespaces: bool = False) -> list[dict[str, str]]:
    """The names of all actors that have one: of this program's namespace, or of all."""
    found = [key.removeprefix(_PREFIX).partition("/") for key in cluster_facts.keys(_PREFIX)]
    mine = None if all_namespaces else namespace_of(None)
    return [{"name": name, "namespace": space} for space, _, name in found if mine is None or space == mine]


def key_of(name: str | None, namespace: str | None) -> str:
    """Where the head keeps a name; "" for none."""
    return "" if name is None else _key(name, namespace)


def _key(name: str, namespace: str | None) -> str:
    return f"{_PREFIX}{namespace_of(namespace)}/{name}"
