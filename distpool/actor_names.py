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
from distpool.remote_plans import job
from distpool.scheduler import client
from distpool.scheduler.remote import actors, adopting, cluster_facts
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
    elif job.driver is not None:
        adopting.tell_name(job.driver, link, key)


def _forget(key: str, event: Any) -> None:
    """On the thread that delivers: the actor has ended."""
    session = client.current()
    if isinstance(event, Failure) and session is not None:
        actors.forget_name(session, key)


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


def _key(name: str, namespace: str | None) -> str:
    return f"{_PREFIX}{namespace_of(namespace)}/{name}"
