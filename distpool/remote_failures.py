"""How a remote call failed, as an exception to be raised: of Ray's names, and of the user's own type.

::

    Failure ─┬─ error: what the task raised ──► RayTaskError ──► an instance of it *and* of the user's type
             │                                    .cause: the original, rebuilt without its constructor
             ├─ error, of an actor's constructor ──────────► ActorDiedError of that
             ├─ death, reason, by ``kind``  ──► WorkerCrashedError, ActorDiedError, ObjectLostError, ...
             ├─ cancelled, limit_s ───────────► TaskCancelledError, TaskTimeoutError
             └─ exception: raised on this side ► its own counterpart by Ray's name, if it is one of the engine's

The type of both is made once for each type of the user's and lives as long as something uses it. It is made without
their ``__init_subclass__`` and filled without their constructor: so it matters to neither what they take or do. What
the type's memory holds (``errno`` of an OSError, the exceptions of a group) is set as in the original; anything else
is looked up there. Nested: the type and ``cause`` are those of the first error, the text has all tracebacks.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from distpool import errors, exceptions
from distpool.errors import Failure, describe_death, describe_overdue
from distpool.exceptions import RayTaskError
from distpool.scheduler.messages import Death
from distpool.scheduler.serialize import RemoteError, dump_exception, load_exception
from distpool.scheduler.serialize.exceptions import format_remote

__all__ = ["instance_of_both", "to_error", "to_rays"]

#: What builtin types hold in their own memory, beside ``args``: not found through ``__getattr__``.
_HELD = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "print_file_and_line"),
    StopIteration: ("value",),
    SystemExit: ("code",),
    ImportError: ("msg", "name", "path"),
    AttributeError: ("name", "obj"),
    NameError: ("name",),
    UnicodeError: ("encoding", "object", "start", "end", "reason"),
}

_set = object.__setattr__


def to_error(failure: Failure, what: str, *, actor_id: str | None = None, ref: str = "") -> BaseException:
    """The exception to raise for a failed call.

    Args:
        failure: how it failed.
        what: the call: the name of a function or of a class and its method ("Counter.add").
        actor_id: of the actor that was called, in hexadecimal digits.
        ref: the reference whose value is missing, likewise.
    """
    call = failure.call or what
    error = _error_of(failure, call, actor_id, ref)
    if call != what and what:
        return _of_an_argument(error, what, actor_id)
    return error


def _error_of(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
    if failure.exception is not None:
        return to_rays(failure.exception)
    if failure.error is not None:
        return _raised(failure, what, actor_id)
    if failure.limit_s:
        return exceptions.TaskTimeoutError(describe_overdue(failure.label or what, failure.limit_s))
    if failure.cancelled:
        reason = failure.reason if failure.reason != "cancelled" else ""
        text = f"{what} was cancelled" if what else "the call was cancelled"
        return exceptions.TaskCancelledError(None, f"{text}: {reason}" if reason else text)
    make = _MADE_FOR.get(failure.kind)
    if make is not None:
        return make(failure, what, actor_id, ref)
    text = describe_death(failure.label or what, failure.death, failure.reason)
    if actor_id is not None:
        return exceptions.ActorDiedError(text, actor_id, failure.death)
    return exceptions.WorkerCrashedError(text, failure.death)


# -------------------------------------------------------------------------------- what was raised


class _Traceback(Exception):
    """Takes the remote traceback from ``load_exception``."""

    def __init__(self, quoted: str) -> None:
        super().__init__()
        self.text = quoted.removeprefix('\n"""\n').removesuffix('"""')


def _raised(failure: Failure, what: str, actor_id: str | None) -> BaseException:
    cause = failure.to_exception(_Traceback)
    text = ""
    if isinstance(cause.__cause__, _Traceback):
        text = cause.__cause__.text
        # In its place comes what the user's own ``raise ... from`` had put there.
        _set(cause, "__cause__", cause.__cause__.__cause__)
    in_constructor = failure.kind == "actor constructor"
    if in_constructor:  # whichever call has met it
        what = f"{what.rpartition('.')[0] or what}.__init__"
    if isinstance(cause, SystemExit):
        return _left(cause, what, actor_id)
    if type(cause) is errors.CannotUnpickle and not in_constructor:
        return to_rays(cause)
    if isinstance(cause, KeyboardInterrupt):
        cancelled = exceptions.TaskCancelledError(None, f"{what or 'the task'} was interrupted")
        _set(cancelled, "__cause__", cause)
        cause = cancelled
    elif isinstance(cause, RayTaskError):
        cause = cause.cause
    cause = to_rays(cause)
    error = RayTaskError(what or "a task", text or format_remote(cause), cause, actor_id=actor_id)
    for note in getattr(cause, "__notes__", ()):
        if str(note) not in text:  # put on after the text was made
            error.add_note(note)
    if in_constructor:
        return exceptions.ActorDiedError(error, actor_id)
    return error.as_instanceof_cause()


def _left(cause: SystemExit, what: str, actor_id: str | None) -> BaseException:
    """It must not end the caller's process as well, as a SystemExit would."""
    text = (
        f"{what or 'the task'} ended its process: SystemExit({cause.code!r}); let it return or raise instead"
    )
    if actor_id is not None:
        return exceptions.ActorDiedError(text, actor_id)
    return exceptions.WorkerCrashedError(text)


def _of_an_argument(error: BaseException, what: str, actor_id: str | None) -> BaseException:
    """The call was never made, since the call that was to make one of its arguments had failed with ``error``."""
    kind = type(error).__qualname__
    text = f"  one of its arguments could not be had:\ndistpool.exceptions.{kind}: {error}\n"
    cause = error.cause if isinstance(error, RayTaskError) else error
    return RayTaskError(what, text, cause, actor_id=actor_id).as_instanceof_cause()


def to_rays(error: BaseException) -> BaseException:
    """An exception of the engine by Ray's name: an instance of that as well as of its own type. Others stay."""
    make = _RAYS.get(type(error))
    if make is None:
        return error
    made = make(error)
    for name in ("__cause__", "__context__", "__suppress_context__", "__traceback__"):
        _set(made, name, getattr(error, name))
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


_RAYS: dict[type[BaseException], Callable[[Any], BaseException]] = {
    errors.StoreFull: lambda error: exceptions.ObjectStoreFullError(*error.args),
    errors.DiskFull: lambda error: exceptions.OutOfDiskError(*error.args),
    errors.WorkerDied: lambda error: exceptions.WorkerCrashedError(str(error), error.death),
    errors.TaskCancelled: lambda error: exceptions.TaskCancelledError(None, str(error) or None),
    errors.CannotUnpickle: lambda error: exceptions.DataUnreadableError(str(error)),
    errors.ClusterError: lambda error: exceptions.RaySystemError(str(error)),
    errors.TimeoutError: lambda error: exceptions.GetTimeoutError(*error.args),
}


# ------------------------------------------------------------------------------ what nobody raised


def _actor(died: str) -> Callable[[Failure, str, str | None, str], BaseException]:
    def make(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
        return exceptions.ActorDiedError(_told(died, what, failure), actor_id, failure.death)

    return make


def _lost(kind: type[exceptions.ObjectLostError]) -> Callable[[Failure, str, str | None, str], BaseException]:
    def make(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
        if actor_id is not None and kind is exceptions.OwnerDiedError:
            text = _told("the process that had created the actor is gone", what, failure)
            return exceptions.ActorDiedError(text, actor_id, failure.death)
        made_by = f"made by {what}" if what else ""
        return kind(ref or "?", None, "; ".join(filter(None, [failure.reason, made_by])))

    return make


def _plain(kind: Callable[[str], BaseException]) -> Callable[[Failure, str, str | None, str], BaseException]:
    def make(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
        return kind(f"{what}: {failure.reason}" if what and failure.reason else failure.reason or what)

    return make


def _worker(
    kind: Callable[[str, Death | None], BaseException],
) -> Callable[[Failure, str, str | None, str], BaseException]:
    def make(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
        return kind(describe_death(failure.label or what, failure.death, failure.reason), failure.death)

    return make


def _unavailable(failure: Failure, what: str, actor_id: str | None, ref: str) -> BaseException:
    text = _told("it is started again", what, failure)
    return exceptions.ActorUnavailableError(text, actor_id, failure.death)


def _told(first: str, what: str, failure: Failure) -> str:
    """How it ended, the call that is lost by it, and what is known about the worker's death."""
    text = f"{first}; {what} has no answer" if what else first
    if failure.death is not None:
        return f"{text}: {describe_death(what, failure.death, failure.reason)}"
    return f"{text}: {failure.reason}" if failure.reason else text


#: By ``Failure.kind``; those of actors are named in ``messages.peers.ActorEnd``.
_MADE_FOR: dict[str, Callable[[Failure, str, str | None, str], BaseException]] = {
    "actor unavailable": _unavailable,
    "actor constructor": _actor("the actor died, as its constructor failed"),
    "actor died": _actor("the actor died"),
    "actor killed": _actor("the actor was killed by the program (kill)"),
    "actor exited": _actor("the actor has ended itself (exit_actor, or __ray_terminate__)"),
    "actor closed": _actor("the actor was ended, as nobody had a handle of it any more"),
    "actor refused": _plain(exceptions.ActorUnschedulableError),
    "actor placement group removed": _plain(exceptions.ActorPlacementGroupRemoved),
    "placement group removed": _plain(exceptions.TaskPlacementGroupRemoved),
    "unschedulable": _plain(exceptions.TaskUnschedulableError),
    "runtime env": _plain(exceptions.RuntimeEnvSetupError),
    "pending calls": _plain(exceptions.PendingCallsLimitExceeded),
    "out of memory": _worker(exceptions.OutOfMemoryError),
    "node died": _worker(exceptions.NodeDiedError),
    "lost": _lost(exceptions.ObjectLostError),
    "freed": _lost(exceptions.ObjectFreedError),
    "fetch": _lost(exceptions.ObjectFetchTimedOutError),
    "owner died": _lost(exceptions.OwnerDiedError),
    "reconstruction": lambda failure, what, actor_id, ref: exceptions.ObjectReconstructionFailedError(
        ref or "?", None, failure.reason or None, None, f"made by {what}" if what else ""
    ),
}


# ---------------------------------------------------------------------- the user's type and RayTaskError


#: The type of both, by the address of the user's type, which it keeps alive.
_both: weakref.WeakValueDictionary[int, type[RayTaskError]] = weakref.WeakValueDictionary()


def instance_of_both(error: RayTaskError) -> RayTaskError:
    """The same error as an instance of the type of its cause as well; itself, where that cannot be."""
    cause = error.cause
    kind = type(cause)
    if isinstance(error, kind) or isinstance(cause, RemoteError) or not isinstance(cause, BaseException):
        return error
    try:
        made = _make(_type_of_both(kind), cause)
    except Exception:  # a type that cannot be derived from, a group of what an Exception may not hold
        return error
    vars(made).update(vars(error))
    _set(made, "args", (cause,))
    if isinstance(cause, SyntaxError):  # of these, Python prints the place instead of the text
        _set(made, "__notes__", [*getattr(error, "__notes__", ()), str(error)])
    return made


def _type_of_both(kind: type[BaseException]) -> type[RayTaskError]:
    known = _both.get(id(kind))
    if known is not None:
        return known
    name = f"RayTaskError({kind.__qualname__})"
    namespace = {
        "__module__": exceptions.__name__,
        "__qualname__": name,
        "__doc__": f"A task raised {kind.__qualname__}.",
        "_instance_of": kind,
    }
    metaclass: Any = type(kind)
    made: type[RayTaskError] = metaclass(name, (RayTaskError, kind), namespace)
    _both[id(kind)] = made
    return made


def _make(kind: type[RayTaskError], cause: BaseException) -> RayTaskError:
    """An instance that has gone through no constructor but that of the builtin type."""
    base = _builtin_base(kind)
    arguments = cause.args
    if isinstance(cause, BaseExceptionGroup):
        arguments = (cause.message, list(cause.exceptions))
    made: RayTaskError = base.__new__(kind, *arguments)
    for held, names in _HELD.items():
        if isinstance(cause, held):
            for name in names:
                value = getattr(cause, name, None)
                if value is not None and getattr(made, name, None) is not value:
                    try:
                        _set(made, name, value)
                    except (AttributeError, TypeError):  # not one of those that this type has
                        continue
    return made


def _builtin_base(kind: type[BaseException]) -> Any:
    """The type whose memory layout it has: its ``__new__`` runs no code of the user's."""
    base: type = kind
    while base.__flags__ & 1 << 9:  # made at run time
        assert base.__base__ is not None
        base = base.__base__
    return base


# -------------------------------------------------------------------------------------- travelling


_TRAVELS = ("function_name", "traceback_str", "proctitle", "pid", "ip", "actor_repr", "actor_id")


def dump_task_error(error: RayTaskError) -> tuple[Any, ...]:
    """What ``load_task_error`` takes: texts, whether it is of both types, notes, and the cause as tasks send it."""
    own = vars(error)
    blob = dump_exception(error.cause)
    is_both = "_instance_of" in vars(type(error))
    return tuple(own[name] for name in _TRAVELS), is_both, list(own.get("__notes__", ())), blob


def load_task_error(packed: tuple[Any, ...]) -> RayTaskError:
    """Rebuild one that was pickled."""
    texts, is_both, notes, blob = packed
    given = dict(zip(_TRAVELS, texts, strict=True))
    cause = load_exception(blob, _Traceback)
    if isinstance(cause.__cause__, _Traceback):
        _set(cause, "__cause__", cause.__cause__.__cause__)
    error = RayTaskError(cause=cause, **given)
    if is_both:
        error = error.as_instanceof_cause()
    if notes:
        _set(error, "__notes__", notes)
    return error
