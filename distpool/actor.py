"""Ray's module of this name: ``exit_actor`` and the types of handles, which ``actors`` has."""

from distpool.actors import ActorClass, ActorHandle, ActorMethod, exit_actor

__all__ = ["ActorClass", "ActorHandle", "ActorMethod", "exit_actor"]
