"""What remote calls, actors and objects raise, by Ray's names, as one part of the engine's own error tree.

::

    errors.DistpoolError
    └── RayError                              base of all below; ``except DistpoolError`` catches these too
        ├── RayTaskError                      a task raised: also an instance of the type that it raised
        ├── TaskCancelledError                also a TaskCancelled
        ├── TaskTimeoutError                  a call ran for longer than it may; also a TimeoutError
        ├── TaskUnschedulableError, TaskPlacementGroupRemoved
        ├── WorkerCrashedError                also a WorkerDied, as are OutOfMemoryError and NodeDiedError
        ├── RayActorError                     also a WorkerDied
        │   ├── ActorDiedError                for good
        │   └── ActorUnavailableError         it restarts
        ├── ActorUnschedulableError, ActorPlacementGroupRemoved, PendingCallsLimitExceeded, AsyncioActorExit
        ├── ActorAlreadyExistsError, ActorHandleNotFoundError               also ValueErrors
        ├── ObjectLostError                   also a StoreError
        │   ├── OwnerDiedError, ObjectReconstructionFailedError, ObjectFreedError
        │   └── ObjectFetchTimedOutError, ReferenceCountingAssertionError
        ├── GetTimeoutError                   also a TimeoutError
        ├── ObjectStoreFullError, OutOfDiskError                            also StoreFull, DiskFull
        ├── RaySystemError                    also a ClusterError
        │   ├── DataUnreadableError           also a CannotUnpickle
        │   └── RayChannelError, RayChannelTimeoutError, RayDirectTransportError, ...
        └── LocalRayletDiedError, RpcError, RuntimeEnvSetupError, AuthenticationError, ...

So who catches what pools raise (WorkerDied, TaskCancelled, StoreFull, ...) catches the same failure of a remote call.
Constructors and attributes are Ray's. Each error's ``args`` are its constructor's, so that it pickles as it is.

What it is not: how a failed call becomes one of these (``remote_failures``). Stands in for ``ray.exceptions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distpool import errors

if TYPE_CHECKING:
    from distpool.scheduler.messages import Death


class RayError(errors.DistpoolError):
    """Base of all that a remote call, an actor or an object raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        """By its constructor, whichever of its bases has another way."""
        return (type(self), self.args, vars(self)) if vars(self) else (type(self), self.args)


def _given(*arguments: Any) -> tuple[Any, ...]:
    """Constructor arguments without those at the end that nobody gave."""
    count = len(arguments)
    while count and arguments[count - 1] is None:
        count -= 1
    return arguments[:count]


# ------------------------------------------------------------------------------------------ tasks


class _Own:
    """An attribute of RayTaskError that none of the user's type hides. What is None, the cause may have."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, error: RayTaskError | None, owner: type) -> Any:
        if error is None:
            return self
        own = vars(error)
        value = own[self._name]
        return value if value is not None else getattr(own["cause"], self._name, None)

    def __set__(self, error: RayTaskError, value: Any) -> None:
        vars(error)[self._name] = value


class RayTaskError(RayError):
    """A task or a method of an actor raised something; ``str()`` has its traceback, ``cause`` what it was.

    What ``get`` raises is of a type of its own, derived from this one and from the type of ``cause``: so ``except
    ValueError`` works, and so does every attribute of the original. A ``cause`` whose type cannot be derived from, or
    could not be sent, comes with a plain RayTaskError.

    Args:
        function_name: what was called, for instance "Counter.add".
        traceback_str: the remote traceback, down to the line of what was raised.
        cause: what was raised.
        proctitle: how the text begins; made of the name if there is none.
        pid: of the process that ran it.
        ip: of its node.
        actor_repr: the actor, as it shows itself.
        actor_id: its id, in hexadecimal digits.
    """

    function_name = _Own()
    traceback_str = _Own()
    cause = _Own()
    proctitle = _Own()
    pid = _Own()
    ip = _Own()
    actor_repr = _Own()
    actor_id = _Own()

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        proctitle = proctitle or f"distpool::{function_name}()"
        super().__init__(function_name, traceback_str, cause, proctitle, pid, ip)
        vars(self).update(
            function_name=function_name,
            traceback_str=traceback_str,
            cause=cause,
            proctitle=proctitle,
            pid=pid,
            ip=ip,
            actor_repr=actor_repr,
            actor_id=actor_id,
        )

    def __init_subclass__(cls, **options: Any) -> None:
        """A type made for one of the user's is none of those that their ``__init_subclass__`` is to know."""
        if "_instance_of" not in vars(cls):
            super().__init_subclass__(**options)

    @property
    def task_name(self) -> str:
        """What was called: the same as ``function_name``."""
        return str(self.function_name)

    def as_instanceof_cause(self) -> RayTaskError:
        """The same as an instance of the type of ``cause`` as well, where that is possible."""
        from distpool.remote_failures import instance_of_both

        return instance_of_both(self)

    def make_dual_exception_instance(self) -> RayTaskError:
        """The same; raises TypeError where the type of ``cause`` cannot be derived from."""
        made = self.as_instanceof_cause()
        if made is self and not isinstance(self, type(self.cause)):
            raise TypeError(f"there can be no type derived from {type(self.cause).__qualname__}")
        return made

    def __getattr__(self, name: str) -> Any:
        """What only the original has."""
        if name.startswith("__") or "cause" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.cause, name)

    def __str__(self) -> str:
        own = vars(self)
        where = {"pid": own["pid"], "ip": own["ip"], "actor_id": own["actor_id"], "repr": own["actor_repr"]}
        told = ", ".join(f"{name}={value}" for name, value in where.items() if value is not None)
        return (
            f"{self.proctitle}{f' ({told})' if told else ''}\n{_without_heading(self.traceback_str)}".rstrip()
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.args))})"

    def __reduce__(self) -> tuple[Any, ...]:
        """The cause as any exception of a task travels, however odd its constructor."""
        from distpool.remote_failures import dump_task_error, load_task_error

        return load_task_error, (dump_task_error(self),)

    def __reduce_ex__(self, protocol: Any, /) -> tuple[Any, ...]:
        """As ``__reduce__``, past one that the user's type may have."""
        return RayTaskError.__reduce__(self)


def _without_heading(traceback: str) -> str:
    """The line that names the call stands for it; the tracebacks of a chain keep theirs, to be told apart."""
    heading = "Traceback (most recent call last):\n"
    if traceback.count(heading) == 1:
        return traceback.removeprefix(heading)
    return traceback


class TaskCancelledError(RayError, errors.TaskCancelled):
    """The call was cancelled, before or while it ran."""

    def __init__(self, task_id: Any = None, error_message: str | None = None) -> None:
        super().__init__(*_given(task_id, error_message))
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        about = "" if self.task_id is None else f"task {_hex(self.task_id)} was cancelled"
        return ": ".join(filter(None, [about, self.error_message])) or "the task was cancelled"


class TaskTimeoutError(RayError, errors.TimeoutError):
    """The call ran for longer than the time that it was given, and was ended."""


class TaskUnschedulableError(RayError):
    """No node can ever run the task."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"the task can be run nowhere: {self.error_message}"


class TaskPlacementGroupRemoved(RayError):
    """The placement group that the task was to run in is gone."""

    def __str__(self) -> str:
        return _text(self, "the placement group of this task was removed")


class WorkerCrashedError(RayError, errors.WorkerDied):
    """The worker died under the task, and it may not (or no longer) be repeated. ``death`` tells how."""

    def __init__(self, text: str = "", death: Death | None = None) -> None:
        Exception.__init__(self, *_given(text or None, death))
        self.death = death

    def __str__(self) -> str:
        return self.args[0] if self.args and self.args[0] else "the worker died while it ran this task"


class _Lost(RayError, errors.WorkerDied):
    """A worker that is gone for a reason of its own."""

    def __init__(self, message: str, death: Death | None = None) -> None:
        Exception.__init__(self, *_given(message, death))
        self.message = message
        self.death = death

    def __str__(self) -> str:
        return self.message


class OutOfMemoryError(_Lost, MemoryError):
    """The worker was ended because its node ran out of memory."""


class NodeDiedError(_Lost):
    """The node that ran the call is gone."""


# ----------------------------------------------------------------------------------------- actors


class RayActorError(RayError, errors.WorkerDied):
    """A call of an actor cannot be answered, for a reason that lies with the actor.

    Args:
        actor_id: in hexadecimal digits.
        error_msg: the text.
        actor_init_failed: whether its constructor raised.
        preempted: whether its node was taken away.
        death: how its worker ended, where that is known.
    """

    BASE_ERROR_MSG = "the actor failed before it had answered this call"

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
        death: Death | None = None,
    ) -> None:
        Exception.__init__(self, actor_id, error_msg, actor_init_failed, preempted, death)
        self.actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted
        self.death = death

    @property
    def actor_init_failed(self) -> bool:
        """Whether its constructor raised."""
        return self._actor_init_failed

    @property
    def preempted(self) -> bool:
        """Whether its node was taken away."""
        return self._preempted

    def __str__(self) -> str:
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor is dead and will not come back.

    Args:
        cause: what its constructor raised, if that is why; or a text.
        actor_id: in hexadecimal digits; that of ``cause``, if there is one.
        death: how its worker ended, where that is known.
    """

    BASE_ERROR_MSG = "the actor died before it had answered this call"

    def __init__(
        self,
        cause: RayTaskError | str | None = None,
        actor_id: str | None = None,
        death: Death | None = None,
    ) -> None:
        if isinstance(cause, RayTaskError):
            text = f"the actor died because its constructor raised: {cause}"
            actor_id = actor_id or cause.actor_id
        else:
            text = cause or self.BASE_ERROR_MSG
        super().__init__(actor_id, text, isinstance(cause, RayTaskError), death=death)
        self.args = _given(cause, actor_id, death)

    @staticmethod
    def from_task_error(task_error: RayTaskError) -> ActorDiedError:
        """For an actor whose constructor raised."""
        return ActorDiedError(task_error)


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached at present; it may have run the call, or not."""

    def __init__(
        self, error_message: str, actor_id: bytes | str | None = None, death: Death | None = None
    ) -> None:
        name = _hex(actor_id) if actor_id else None
        text = f"actor {name} cannot be reached: {error_message}; it may have run this call, or not"
        super().__init__(name, text if name else text.replace("actor None", "the actor", 1), death=death)
        self.args = _given(error_message, actor_id, death)


class ActorUnschedulableError(RayError):
    """No node can ever run the actor."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"the actor can be placed nowhere: {self.error_message}"


class ActorPlacementGroupRemoved(RayError):
    """The placement group that the actor was in is gone."""

    def __str__(self) -> str:
        return _text(self, "the placement group of this actor was removed")


class _Named(ValueError, RayError):
    """Something about an actor's name."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    __reduce__ = RayError.__reduce__


class ActorAlreadyExistsError(_Named):
    """There is an actor of that name in that namespace."""


class ActorHandleNotFoundError(_Named):
    """A handle leads to no actor of this cluster."""


class PendingCallsLimitExceeded(RayError):
    """More calls of the actor are pending than its ``max_pending_calls``."""


class AsyncioActorExit(RayError):
    """Ends an asyncio actor from within: what ``exit_actor`` raises there."""


# ---------------------------------------------------------------------------------------- objects


class ObjectLostError(RayError, errors.StoreError):
    """The value of a reference is gone.

    Args:
        object_ref_hex: the reference, in hexadecimal digits.
        owner_address: of the process that owned it.
        call_site: where the reference was made, or whatever else is known.
    """

    _REASON = "all copies of it are lost"

    def __init__(self, object_ref_hex: str, owner_address: Any = None, call_site: str = "") -> None:
        super().__init__(*_given(object_ref_hex, owner_address, call_site or None))
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site

    def __str__(self) -> str:
        text = f"object {self.object_ref_hex} cannot be had: {self._REASON}"
        return f"{text} ({self.call_site})" if self.call_site else text


class OwnerDiedError(ObjectLostError):
    """The process that owned the object is gone: the one that ``put`` it, or called what was to make it."""

    _REASON = "the process that owned it is gone"


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost and could not be made again by the task that had made it."""

    def __init__(
        self,
        object_ref_hex: str,
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: Any = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.args = _given(object_ref_hex, reason, reason_message, owner_address, call_site or None)
        self.reason = reason
        self.reason_message = reason_message or "the task that made it cannot be run again"

    @property
    def _REASON(self) -> str:  # type: ignore[override]
        return f"all copies of it are lost, and {self.reason_message}"


class ObjectFetchTimedOutError(ObjectLostError):
    """No copy of the object was found in time."""

    _REASON = "no copy of it was found in time"


class ObjectFreedError(ObjectLostError):
    """The program itself has freed the object."""

    _REASON = "the program has freed it"


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was let go although a reference to it is here, which must not be."""

    _REASON = "it was let go too early, which is a mistake in distpool"


class GetTimeoutError(RayError, errors.TimeoutError):
    """Not there in time. What ``get`` waited for goes on."""


class ObjectStoreFullError(RayError, errors.StoreFull):
    """There is no room for an object, neither in the store's memory nor in its file on the disk."""


class OutOfDiskError(RayError, errors.DiskFull):
    """The disk that takes what does not fit into the store's memory has no room left."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A streaming task has yielded its last value."""


class PlasmaObjectNotAvailable(RayError):
    """An object is not in the store of this node."""


class OufOfBandObjectRefSerializationException(RayError):
    """A reference was pickled where nobody can see that it is held. (Ray spells it so.)"""


# ----------------------------------------------------------------------------------- all the rest


class RaySystemError(RayError, errors.ClusterError):
    """Something of the engine itself went wrong."""

    def __init__(self, client_exc: Any, traceback_str: str | None = None) -> None:
        super().__init__(*_given(client_exc, traceback_str))
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        text = f"system error: {self.client_exc}"
        return f"{text}\n{self.traceback_str}" if self.traceback_str else text


class DataUnreadableError(RaySystemError, errors.CannotUnpickle):
    """The arguments could not be rebuilt in the worker, or the result not here. ``__cause__`` is what was raised."""

    def __str__(self) -> str:
        return str(self.client_exc)


class RayChannelError(RaySystemError):
    """A channel between actors failed."""


class RayChannelTimeoutError(RayChannelError, errors.TimeoutError):
    """A channel between actors had nothing in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has as many calls under way as it may."""


class RayDirectTransportError(RaySystemError):
    """Data that was to go from device to device did not."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A streaming task that was run again did not yield what it had yielded before."""


class LocalRayletDiedError(RayError, errors.ClusterError):
    """The agent of this machine is gone."""

    def __str__(self) -> str:
        return _text(self, "the agent of this machine is gone")


class RpcError(RayError):
    """A question to another process of the cluster was not answered."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(*_given(message, rpc_code))
        self.message = message
        self.rpc_code = rpc_code

    def __str__(self) -> str:
        return self.message


class RuntimeEnvSetupError(RayError):
    """What ``runtime_env`` asks for could not be made."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(*_given(error_message))
        self.error_message = error_message

    def __str__(self) -> str:
        text = "the runtime environment could not be set up"
        return f"{text}: {self.error_message}" if self.error_message else text


class AuthenticationError(RayError):
    """The cluster does not let this program in."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CrossLanguageError(RayError):
    """A call of another language failed."""

    def __init__(self, ray_exception: Any) -> None:
        super().__init__(ray_exception)
        self.ray_exception = ray_exception


class UnserializableException(RayError):
    """Something was raised whose type could not be sent."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace

    def __str__(self) -> str:
        return f"what was raised could not be sent; its traceback was:\n{self._original_stack_trace}"


class UserCodeException(RayError):
    """A function that the engine was given to call raised something."""


def _hex(name: Any) -> str:
    if isinstance(name, bytes):
        return name.hex()
    return str(name.hex()) if hasattr(name, "hex") else str(name)


def _text(error: BaseException, otherwise: str) -> str:
    return str(error.args[0]) if error.args else otherwise


__all__ = [
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, RayError) and not name.startswith("_")
]
