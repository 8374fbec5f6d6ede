"""Values that are moved once and used by many calls: ``put``, ``get``, ``wait``, ``cancel``, ``ObjectRef``.

::

    ref = distpool.put(array)                          one copy, into the store of this machine
    pool.map(work, [(ref, i) for i in range(1000)])    a reference travels, not the array
        def work(item): array = distpool.get(item[0])  a view of the stored copy: private, writable

    ref = square.remote(3)                             a value that will be there
    ready, rest = distpool.wait(refs, num_returns=2)

A value lives until the last reference to it is gone, in whatever process, and the last view of its arrays.
Stands in for ``ray.put``, ``ray.get``, ``ray.wait`` and ``ray.cancel``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, overload

from distpool import remote_failures
from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.exceptions import GetTimeoutError
from distpool.scheduler.remote import putting, submitting, waiting
from distpool.scheduler.remote import refs as refs_module
from distpool.scheduler.remote.generators import DynamicObjectRefGenerator, ObjectRefGenerator
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import SerializationError
from distpool.scheduler.store import patience
from distpool.scheduler.store.patience import FetchLate

__all__ = [
    "DynamicObjectRefGenerator",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "cancel",
    "get",
    "put",
    "wait",
]

#: The name that programs of long ago use.
ObjectID = ObjectRef


def put(value: Any, *, durable: bool = False) -> ObjectRef:
    """Copy a value into this machine's object store, once; the copy is complete when this returns.

    Args:
        value: anything that can be pickled, but no reference. Buffers in it (numpy, pandas, Arrow) of at least
            256 KiB are shared with every process that gets it, instead of copied again.
        durable: write what goes into the store to the disk as well. If the store's copy is ever lost, the value is
            read from there, and checked. The file lies in DISTPOOL_DURABLE_DIR, or where the store's own is, and is
            gone when this process, which owns the value, has no reference any more. What is too small for the
            store lies with the reference, and needs no file. A call's result needs none either: the call is repeated.

    Raises:
        TypeError: the value is a reference already.
        StoreFull, DiskFull: there is no room for it.
        Exception: what pickling it raises, with a note that names the path to the culprit.
    """
    if isinstance(value, ObjectRef):
        raise TypeError(
            "put takes a value, and this is a reference to one: pass it on as it is, or get it first"
        )
    return putting.put(value, durable=durable)


@overload
def get(refs: ObjectRef, *, timeout: float | None = None) -> Any: ...
@overload
def get(refs: ObjectRefGenerator, *, timeout: float | None = None) -> ObjectRefGenerator: ...
@overload
def get(refs: list[ObjectRef], *, timeout: float | None = None) -> list[Any]: ...
def get(refs: ObjectRef | ObjectRefGenerator | list[ObjectRef], *, timeout: float | None = None) -> Any:
    """The value of a reference, or a list of the values of several, when they are there.

    Each call gives a copy of the caller's own, which costs little: its big arrays are private views of the stored
    ones. Writing to them changes nothing for anybody else.

    Args:
        refs: an ObjectRef, or a list of them; an ObjectRefGenerator is returned as it is.
        timeout: how long to wait at most, in seconds; None: for as long as it takes.

    Raises:
        GetTimeoutError: not all are there in time; or one is on another node, and has not come from there.
        TypeError, ValueError: not references.
        Exception: what the call raised that makes one of them, as an instance of its own type.
    """
    until_s = None if timeout is None else time.monotonic() + timeout
    if isinstance(refs, ObjectRef):
        if not refs.settled and not waiting.wait_for(refs, timeout):
            raise _late(timeout, [refs])
        return value_of(refs, until_s)
    if isinstance(refs, ObjectRefGenerator):
        return refs  # what it yields is got one by one
    if not isinstance(refs, list):
        raise ValueError(
            f"get takes an ObjectRef, as put and remote calls return it, or a list of them, not a {type(refs).__name__}"
        )
    for ref in refs:
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"get takes a list of ObjectRefs, and in this one is a {type(ref).__name__}")
    if not waiting.wait_for_all(refs, timeout):
        raise _late(timeout, refs)
    if not all(ref.settled for ref in refs):
        refs = [ref for ref in refs if ref.settled and ref.failure is not None][
            :1
        ]  # why it did not wait for more
    return [value_of(ref, until_s) for ref in refs]


def value_of(ref: ObjectRef, until_s: float | None = None) -> Any:
    """The value of a reference that is ready; raises why it has none.

    What lies on another node, or has to be made again, is waited for until ``until_s`` at most, by the monotonic clock.
    """
    failure = ref.failure
    if is_of_the_past(ref):
        failure = Failure(reason="the session that it was made in has ended", kind="lost")
    if failure is not None:
        maker = ref.maker
        link = getattr(maker, "link", None)
        name, actor = "" if maker is None else maker.name, None if link is None else link.actor_id
        raise remote_failures.to_error(failure, name, actor_id=actor, ref=ref.hex())
    try:
        with patience.until(until_s):
            value = ref.value
            try:
                return ref.load()
            except SerializationError:
                if ref.value is value and not _restored(ref, until_s):  # else it was made again meanwhile
                    raise
    except FetchLate:
        raise GetTimeoutError(
            f"the value of {ref!r} lies on another node, and has not come from there: time is up"
        ) from None
    return value_of(ref, until_s)


def is_of_the_past(ref: ObjectRef) -> bool:
    """Whether a reference is one of a session that has ended."""
    return ref.number < refs_module.first_number and ref.base is None


def _restored(ref: ObjectRef, until_s: float | None) -> bool:
    """If its data is gone from the store: have it made again, or put why it is not in its place."""
    remote = here()
    if not remote.lineage.is_lost(ref.value) or remote.leading.is_engine_thread():  # which may not wait
        return False

    def wait(promise: Promise) -> None:
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        if not waiting.wait_for(promise, left_s):
            raise GetTimeoutError(f"the value of {ref!r} was lost, and is not made again yet: time is up")

    return remote.lineage.restore(ref, wait)


def _late(timeout: float | None, refs: Sequence[ObjectRef]) -> GetTimeoutError:
    missing = [ref for ref in refs if not ref.settled]
    first = missing[0] if missing else refs[0]
    made_by = f", made by {first.maker.name}" if first.maker is not None and first.maker.name else ""
    return GetTimeoutError(
        f"{len(missing)} of {len(refs)} values were not there within {timeout:g} s; "
        f"the first of them is {first}{made_by}"
    )


def wait(
    refs: Sequence[ObjectRef],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Wait until ``num_returns`` of the references are ready: have a value, or have failed.

    Args:
        refs: a list of different references.
        num_returns: how many to wait for, at least 1.
        timeout: how long to wait at most, in seconds; 0 only looks; None: for as long as it takes.
        fetch_local: whether their data should be on this node as well; it is, as a value travels with its reference.

    Returns:
        ``num_returns`` of those that are ready, fewer if time was up first, and all others, both in the given order.

    Raises:
        TypeError, ValueError: not a list of different references; a ``num_returns`` that cannot be.
    """
    if not isinstance(refs, list):
        if isinstance(refs, ObjectRef):
            raise TypeError("wait takes a list of ObjectRefs, not a single one")
        raise TypeError(f"wait takes a list of ObjectRefs, not a {type(refs).__name__}")
    if [*map(type, refs)].count(ObjectRef) != len(refs):  # this is most of what a call costs
        kinds = set(map(type, refs))
        if ObjectRefGenerator in kinds:
            return _wait_for_generators(refs, num_returns, timeout)
        if wrong := [kind for kind in kinds if not issubclass(kind, ObjectRef)]:
            raise TypeError(f"wait takes a list of ObjectRefs, and in this one is a {wrong[0].__name__}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"wait's timeout is a number of seconds, zero or more, not {timeout}")
    if not refs:
        return [], []
    if len(set(refs)) != len(refs):
        raise ValueError("wait takes unique references, and one of these is there twice")
    if num_returns <= 0:
        raise ValueError(
            f"wait's num_returns is the number of references to wait for, at least 1, not {num_returns}"
        )
    if num_returns > len(refs):
        raise ValueError(f"wait cannot wait for {num_returns} of {len(refs)} references")
    if num_returns == 1:
        for place, ref in enumerate(refs):
            if ref.settled:  # most often the first ones: no need to look at all of them
                others = refs.copy()
                del others[place]
                return [ref], others
    if timeout != 0:
        waiting.wait_for_some(refs, num_returns, timeout)
    ready: list[ObjectRef] = []
    rest: list[ObjectRef] = []
    for ref in refs:
        (ready if ref.settled and len(ready) < num_returns else rest).append(ref)
    return ready, rest


def _wait_for_generators(
    refs: Sequence[Any], num_returns: int, timeout: float | None
) -> tuple[list[Any], list[Any]]:
    """A generator is ready when its next value is, or when it has ended."""
    by_ref = {ref.upcoming() if isinstance(ref, ObjectRefGenerator) else ref: ref for ref in refs}
    if len(by_ref) != len(refs):
        raise ValueError("wait takes unique references, and one of these is there twice")
    ready, rest = wait(list(by_ref), num_returns=num_returns, timeout=timeout)
    return [by_ref[ref] for ref in ready], [by_ref[ref] for ref in rest]


#: How long ``cancel`` waits for a method's call to be out of the line.
SETTLE_S = 0.1


def cancel(ref: ObjectRef | ObjectRefGenerator, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the call that makes a value, wherever it is; getting the value then raises TaskCancelledError.

    A call that has not started never will. One that runs gets a KeyboardInterrupt, and its worker is killed if it
    goes on for a second, or at once with ``force``. The calls that it has made are cancelled too, with ``recursive``.
    Where the call is over already, nothing happens.

    Raises:
        TypeError: not a reference.
    """
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"cancel takes an ObjectRef, not a {type(ref).__name__}")
    if force and isinstance(ref, ObjectRef) and getattr(ref.maker, "link", None) is not None:
        raise ValueError(
            "a method cannot be cancelled by force: that would kill its actor; for that there is kill"
        )
    submitting.cancel(ref, force=force, recursive=recursive)
    if isinstance(ref, ObjectRef) and getattr(ref.maker, "link", None) is not None and not ref.settled:
        # The actor may come to it in this very moment: most often it is out of the line when this returns.
        waiting.wait_for(ref, SETTLE_S)
