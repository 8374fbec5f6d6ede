"""Ray's module of this name: ``exit_actor``, the types of handles, and an exception, which ``actors`` has."""

from distpool.actors import (
    ActorClass,
    ActorClassInheritanceException,
    ActorHandle,
    ActorMethod,
    exit_actor,
)

__all__ = ["ActorClass", "ActorClassInheritanceException", "ActorHandle", "ActorMethod", "exit_actor"]
