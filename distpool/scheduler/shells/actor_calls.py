"""The actor itself, in its worker: one instance, which never travels, and what its calls are resolved to.

::

    owner    method_blob(name, group), sent once for each method ──►  worker   ``resolve``: a method of ``instance``
             construct(...), the pool's initializer              ──►           makes ``instance``

``exit_actor`` ends the actor on purpose: it raises through the method, past any ``except Exception``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import msgspec

from distpool.scheduler.shells.call_parts import IMPORTER, arguments
from distpool.scheduler.shells.traces import name_of

__all__ = ["ActorExit", "Resolved", "construct", "exit_actor", "method_blob", "resolve"]

#: This process's actor, once it is constructed.
instance: Any = None
#: Whether this process is an actor's worker, from before its constructor on.
is_actor = False
#: Where several calls run at once: the mark of the one that this thread, or task, runs. (Else the slot shows it.)
running: ContextVar[int] = ContextVar("running", default=0)


class ActorExit(BaseException):
    """Raised in a method to end its actor; no program should catch it."""


def method_blob(name: str, group: str = "") -> bytes:
    """Names a method to an actor's worker, and the concurrency group that its calls are counted in ("": the rest)."""
    return msgspec.msgpack.encode((name, group))


class Resolved:
    """A method of this process's actor, as its worker needs to know it."""

    __slots__ = ("call", "group", "is_async", "name")

    def __init__(self, call: Callable[..., Any], group: str) -> None:
        self.call = call
        self.group = group
        self.name = name_of(call)
        plain = inspect.unwrap(call)
        self.is_async = inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


def construct(
    setup: tuple[Callable[..., Any], tuple[Any, ...]] | None, class_blob: bytes, payload: Any
) -> None:
    """Make this process's actor; what the constructor raises comes out.

    Args:
        setup: a function and its arguments, to be called before the class is loaded.
        class_blob: the class, pickled on its own, as it may need what ``setup`` does.
        payload: the constructor's arguments, as those of a call.
    """
    global instance
    if setup is not None:
        setup[0](*setup[1])
    cls = IMPORTER.loads(class_blob)
    args, kwargs = (payload, {}) if type(payload) is list else arguments(payload)
    instance = cls(*args, **kwargs)


def resolve(blob: bytes) -> Resolved:
    """Find what ``method_blob`` named. Raises AttributeError if the actor has no such method."""
    name, group = msgspec.msgpack.decode(blob, type=tuple[str, str])
    special = _SPECIAL.get(name)
    return Resolved(_method(name) if special is None else special, group)


def _method(name: str) -> Any:
    """The class's method, which is what a handle promises: an attribute of the instance may bear its name."""
    cls = type(instance)
    if name in getattr(instance, "__dict__", ()) and hasattr(cls, name):
        static = inspect.getattr_static(cls, name)
        bind = getattr(type(static), "__get__", None)
        return static if bind is None else bind(static, instance, cls)
    return getattr(instance, name)


def exit_actor() -> None:
    """End the actor on purpose, when the calls that run beside this one are done.

    Raises:
        TypeError: this process is no actor's worker.
    """
    if not is_actor:
        raise TypeError("exit_actor() was called outside of an actor; it ends the actor that runs the caller")
    raise ActorExit


def _ready() -> bool:
    """The actor is constructed, for this is its first call."""
    return True


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function on the actor."""
    return function(instance, *args, **kwargs)


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__ray_ready__": _ready,
    "__ray_terminate__": exit_actor,
    "__ray_call__": _call,
}
