"""The values of a call that yields them: references that are there one after the other.

::

    Stream (the promise of the call)        ObjectRefGenerator (what the program has)
      item(i, value) ─► ref i is ready        next(): waits until ref i is ready, or is known not to come
      fulfil(count)  ─► there are no more     says how far it has read, where back-pressure was asked for

    Gathered (num_returns="dynamic")        one reference, to a DynamicObjectRefGenerator with all references
      fulfil(count)  ─► that is ready         which travels, as references do

Another attempt, after its worker's death or an exception that may be tried again, yields from the beginning: what is
there already stays. Where values have left the store since, the call is made again for these (``StreamAgain``; see
``lineage``).
Stands in for ``ray.ObjectRefGenerator`` and ``ray.DynamicObjectRefGenerator``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.remote.refs import ObjectRef

#: More values than a generator will ever yield.
ALL_READ = 1 << 60


class Raised:
    """What becomes of a generator that raises: ``may`` it be tried ``again``? Asked as its error comes."""

    __slots__ = ("_may", "again", "pending")

    def __init__(self, may: Callable[[Failure, Any], bool], again: Callable[[], None]) -> None:
        self._may = may
        self.again = again
        self.pending = False  # its error has come, and its end not yet

    def is_retried(self, failure: Failure, task: Any) -> bool:
        """Whether the error is nobody's to see."""
        self.pending = failure.error is not None and self._may(failure, task)
        return self.pending


class Stream(Promise):
    """The promise of a call that yields. ``done`` is the reference that is ready when there are no more values."""

    __slots__ = (
        "_abandoned",
        "_came",
        "_consumed",
        "_lock",
        "_maker",
        "_raised",
        "_refs",
        "arriving",
        "count",
        "done",
        "settled",
        "wakeups",
    )

    raw = True
    quick = False

    def __init__(
        self, maker: Any, consumed: Callable[[int], None] | None, raised: Raised | None = None
    ) -> None:
        self.settled = False
        self.wakeups = None
        self.count: int | None = None  # how many there are in all, once that is known
        self.done = ObjectRef(maker)
        self._maker = maker
        self._refs: dict[int, ObjectRef] = {}  # those that the program has not got yet
        self._came = 0  # how many values have come
        self._lock = threading.RLock()
        self._abandoned = False
        self._consumed = consumed
        self._raised = raised
        self.arriving = 0  # which value comes just now

    @property
    def number(self) -> int:
        """That of ``done``."""
        return self.done.number

    @property
    def maker(self) -> Any:
        """How it was called."""
        return self._maker

    def ref(self, index: int) -> ObjectRef:
        """The reference to a value that has come, or may come."""
        with self._lock:
            ref = self._refs.get(index)
            if ref is None:
                ref = self._refs[index] = ObjectRef(self._maker)
            ended = self.count is not None and index >= self.count
        if ended:
            ref.reject(0, _ended())
        return ref

    def take(self, index: int) -> ObjectRef:
        """Hand out a reference that is ready; it is the program's from then on."""
        with self._lock:
            ref = self._refs.pop(index)
        if self._consumed is not None:
            self._consumed(index + 1)
        return ref

    def item(self, index: int, value: Any, failure: Failure | None) -> None:
        """A value has come; or the error that the generator has ended with."""
        if failure is not None:
            raised = None if self._abandoned else self._raised
            if raised is not None and raised.is_retried(failure, self.done.task):
                return
            index = max(index, self._came)  # another attempt may end earlier than one before it
        elif index < self._came:
            return  # another attempt yields it once more
        if self._abandoned:
            self._came = index + 1
            if self._consumed is not None:  # said again: this may be another attempt
                self._consumed(ALL_READ)
            return
        ref = self.ref(index)
        self._came = index + 1
        if failure is not None:
            ref.reject(0, failure)
        else:
            self.arriving, ref.task = index, self.done.task
            ref.fulfil(0, value)

    def abandon(self) -> None:
        """Nobody will ask for more: what comes is let go of, and does not lie unread. Safe in finalizers."""
        self._abandoned = True
        self._refs = {}
        if self._consumed is not None and self.count is None:
            self._consumed(ALL_READ)

    def fulfil(self, key: int, value: Any) -> None:
        """The generator has ended after ``value`` values."""
        if self._raised is not None and self._raised.pending:
            self._raised.pending = False
            self._raised.again()
            return
        for index in range(self._came, int(value)):
            self.item(index, None, Failure(reason="it was lost with its worker", kind="lost"))
        self._end(None)

    def reject(self, key: int, failure: Failure) -> None:
        """It was cancelled, or has died: that comes next, as the last."""
        self.item(self._came, None, failure)
        self._end(failure)

    def _end(self, failure: Failure | None) -> None:
        with self._lock:
            self.count = self._came
            beyond = [ref for index, ref in self._refs.items() if index >= self._came]
        for ref in beyond:
            ref.reject(0, _ended())
        self.settle()
        if failure is not None:
            self.done.reject(0, failure)
        else:
            self._settle_done()

    def _settle_done(self) -> None:
        self.done.fulfil(0, self._came)


class Gathered(Stream):
    """The promise of a call whose values are handed out together: ``done`` refers to all of them."""

    __slots__ = ()

    def _settle_done(self) -> None:
        from distpool.scheduler.remote import putting  # which stands on this module, by way of ``here``

        with self._lock:
            refs, self._refs = self._refs, {}
        values = DynamicObjectRefGenerator([refs[index] for index in range(self._came)])
        self.done.task = None  # it is not among what that has yielded
        putting.fill(self.done, values)


class StreamAgain(Promise):
    """The promise of a call that is made again for some of what it has yielded; ``results`` are these, by place."""

    __slots__ = ("_results", "arriving", "maker", "settled", "wakeups")

    raw = True
    quick = False

    def __init__(self, results: Mapping[int, ObjectRef], maker: Any) -> None:
        self._results = results
        self.maker = maker
        self.arriving = 0
        self.settled = False
        self.wakeups = None

    @property
    def number(self) -> int:
        """That of the first."""
        return next(iter(self._results.values())).number

    def item(self, index: int, value: Any, failure: Failure | None) -> None:
        """A value has come; or the error that the generator has ended with this time."""
        if failure is not None:
            self._reject_rest(failure)
        elif (ref := self._results.get(index)) is not None:
            self.arriving = index
            ref.fulfil(0, value)  # a second one, of another attempt, is let go of

    def fulfil(self, key: int, value: Any) -> None:
        """It has ended."""
        self._reject_rest(Failure(reason="it has yielded less than the first time", kind="lost"))
        self.settle()

    def reject(self, key: int, failure: Failure) -> None:
        """It was cancelled, or has died."""
        self._reject_rest(failure)
        self.settle()

    def _reject_rest(self, failure: Failure) -> None:
        for ref in self._results.values():
            if not ref.settled:
                ref.reject(0, failure)


def _ended() -> Failure:
    return Failure(reason="the generator had ended before", kind="stream end")


class DynamicObjectRefGenerator:
    """References to all that a remote generator has yielded: the value of a call with ``num_returns="dynamic"``.

    Iterating takes them out, one by one; ``len`` says how many are left. It may be passed on, inside of anything. If
    the generator has raised, getting the last one does. Stands in for ``ray.DynamicObjectRefGenerator``.
    """

    def __init__(self, refs: Iterable[ObjectRef]) -> None:
        self._refs = deque(refs)

    def __iter__(self) -> Iterator[ObjectRef]:
        while self._refs:
            yield self._refs.popleft()

    def __len__(self) -> int:
        return len(self._refs)

    def __reduce__(self) -> tuple[Any, ...]:
        return DynamicObjectRefGenerator, (list(self._refs),)

    def __repr__(self) -> str:
        return f"<DynamicObjectRefGenerator of {len(self)}>"


class ObjectRefGenerator:
    """References to the values that a remote generator yields, each as soon as it is there.

    ``for ref in generator``, ``async for ref in generator``. Stands in for ``ray.ObjectRefGenerator``.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._index = 0

    def __iter__(self) -> Iterator[ObjectRef]:
        return self

    def __next__(self) -> ObjectRef:
        ref = self._next(None)
        if ref is None:
            raise StopIteration
        return ref

    def _next(self, timeout_s: float | None) -> ObjectRef | None:
        """The next reference, when it is ready; None if there is none. Raises TimeoutError."""
        from distpool.scheduler.remote import waiting  # which stands on this module, by way of ``here``

        ref = self._stream.ref(self._index)
        if not waiting.wait_for(ref, timeout_s):
            raise TimeoutError
        return self._take(ref)

    def _take(self, ref: ObjectRef) -> ObjectRef | None:
        failure = ref.failure
        if failure is not None and failure.kind == "stream end":
            return None
        self._stream.take(self._index)
        self._index += 1
        return ref

    def __aiter__(self) -> AsyncIterator[ObjectRef]:
        return self

    async def __anext__(self) -> ObjectRef:
        ref = self._stream.ref(self._index)
        if not ref.settled:
            try:
                await ref
            except Exception:
                pass  # it is the reference's own, for who gets it
        taken = self._take(ref)
        if taken is None:
            raise StopAsyncIteration
        return taken

    @property
    def task(self) -> Any:
        """The call under way, None when it is done."""
        return self._stream.done.task

    def completed(self) -> ObjectRef:
        """A reference that is ready when the generator has ended; getting it raises what that has ended with."""
        return self._stream.done

    def upcoming(self) -> ObjectRef:
        """The reference that ``next`` would wait for."""
        return self._stream.ref(self._index)

    def next_ready(self) -> bool:
        """Whether ``next`` would return at once."""
        return self._stream.ref(self._index).settled

    def is_finished(self) -> bool:
        """Whether all references were handed out."""
        return self._stream.count is not None and self._index >= self._stream.count

    def close(self) -> None:
        """Nobody wants more of it: cancel the call."""
        from distpool.scheduler.remote import submitting

        submitting.cancel(self._stream.done, force=False)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "an ObjectRefGenerator stays in the process that has made the call: pass on the references that it gives, "
            'or call with num_returns="dynamic"'
        )

    def __del__(self) -> None:
        self._stream.abandon()

    def __repr__(self) -> str:
        return f"<ObjectRefGenerator at {self._index} of {self._stream.count or '?'}>"
