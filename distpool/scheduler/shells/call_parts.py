"""A call in a worker, step by step: load the function, load the arguments, pack what came of it.

Any error of these becomes the call's answer, and says whose doing it was. Not here: when a call runs, and whom its
answer goes to (``worker``, ``actor_worker``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from distpool import worker_hooks
from distpool.errors import StoreError
from distpool.scheduler.serialize import Importer, parcels
from distpool.scheduler.shells import remote_calls
from distpool.scheduler.shells.traces import name_of

IMPORTER = Importer()


class Function:
    """A function that was sent; it is loaded by the first task that needs it, so that task gets the error.

    Callables that a call may change (``lasting`` is false) are loaded anew for each.
    """

    __slots__ = ("blob", "call", "lasting", "name")

    def __init__(self, blob: bytes, lasting: bool) -> None:
        self.blob = blob
        self.lasting = lasting
        self.call: Callable[..., Any] | None = None
        self.name = ""  # once it is loaded

    def load(self) -> Callable[..., Any]:
        """What is to be called. Raises what unpickling raises."""
        call: Callable[..., Any] = IMPORTER.loads(self.blob)
        self.name = name_of(call)
        if self.lasting:
            self.call = call
        return call


def arguments(payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Unpickle a call's arguments. What that raises is not the task's own doing: it is told apart."""
    try:
        if type(payload) is dict:
            return remote_calls.arguments(payload, IMPORTER.loads)
        loaded: tuple[tuple[Any, ...], dict[str, Any]] = IMPORTER.loads(payload)
        return loaded
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from distpool.errors import CannotUnpickle

        raise CannotUnpickle.explained("the arguments", error) from error


def pack(value: Any, whom: tuple[str, str, str, int], to: int | None) -> Any:
    """A result that is not plain, undecoded; references in it are safe for whom it goes to from then on.

    ``whom``: the owner's name, its address, this node if the owner is on it ("" if not), and its process number there
    (0). ``to`` is whose definitions the result may rely on: see ``worker.Worker.answers_to``.
    """
    keep: list[Any] = []

    def dumps(part: Any) -> bytes:
        return _dumps(part, whom[3], to, keep)

    blob: Any
    if type(value) is remote_calls.Split:
        blob = value.dump(dumps, lambda error: dump(error, to))
    else:
        blob = dumps(value)
    if keep and worker_hooks.hand_over is not None:
        worker_hooks.hand_over(keep, whom)
    return blob


def _dumps(value: Any, owner: int, to: int | None, keep: list[Any]) -> bytes:
    """Pickle a result; what is big in it goes to the store, for the task's owner, whose process number is given.

    An owner on another node (0) does not see this store: all goes with the answer.

    An error in that carries the result's repr, for the front door's own exception.
    """
    try:
        blob = IMPORTER.dumps_result(value, to=to, keep=keep, holder=owner)
        return blob if owner else parcels.self_contained(blob)
    except StoreError:
        raise
    except Exception as error:
        object.__setattr__(error, "unpicklable_result", _short_repr(value))
        raise


def _short_repr(value: Any) -> str:
    try:
        return repr(value)[:1000]
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def dump(error: BaseException, to: int | None) -> bytes:
    """An exception as bytes, whatever the interrupt that is meant for the task hits here."""
    try:
        return IMPORTER.dump_exception(error, to=to)
    except KeyboardInterrupt as late:
        return IMPORTER.dump_exception(late, to=to)


def cut(error: BaseException | None) -> None:
    """Take the frames away from an exception that was sent: one that a frame holds would keep that frame's arrays."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            _cut(link, None)
            chain += [link.__cause__, link.__context__]


#: Past any ``__setattr__`` of the user's, such as that of a frozen dataclass.
_cut: Callable[[BaseException, None], None] = vars(BaseException)["__traceback__"].__set__


def flush_streams() -> None:
    """What the calls have printed goes out before their answers."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass
