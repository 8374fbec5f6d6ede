"""Work for a fixed set of actors: each value goes to one that is free.

::

    submit(f, value) ──► f(actor, value) ──► a reference    while an actor is free; it is busy until its result is taken
                    └──► waiting: submitted when one comes back
    get_next ◄── in the order of submitting                 get_next_unordered ◄── as they are ready

An actor that has died does not come back to the pool. When all have, what still waits raises ActorDiedError: no value
is dropped in silence. Not safe for several threads at once. Stands in for ``ray.util.ActorPool``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from distpool.exceptions import ActorDiedError, RayTaskError
from distpool.objects import get, wait

V = TypeVar("V")

Call = Callable[[Any, V], Any]


class ActorPool:
    """Actors that take work in turn.

    Args:
        actors: handles; they must be in no other pool.

    ::

        pool = ActorPool([Squarer.remote() for _ in range(2)])
        print(list(pool.map(lambda actor, value: actor.square.remote(value), [1, 2, 3, 4])))   # [1, 4, 9, 16]
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle_actors: list[Any] = list(actors)
        #: Under way, by number and in that order: the reference (or list of them) and its actor.
        self._under_way: dict[int, tuple[Any, Any]] = {}
        self._waiting: deque[tuple[int, Call[Any], Any]] = deque()
        self._submitted = 0
        self._took_unordered = False

    def map(self, fn: Call[V], values: Iterable[V]) -> Iterator[Any]:
        """Results of ``fn(actor, value)`` for each value, in order.

        Results of earlier calls that nobody has taken are thrown away.

        Args:
            fn: calls a method of the actor, and returns the reference that this gives.
            values: all of them are read at once.
        """
        self._start_map(fn, values)
        return self._results(self.get_next)

    def map_unordered(self, fn: Call[V], values: Iterable[V]) -> Iterator[Any]:
        """As ``map``; the results come as they are ready."""
        self._start_map(fn, values)
        return self._results(self.get_next_unordered)

    def _start_map(self, fn: Call[V], values: Iterable[V]) -> None:
        while self._under_way:  # they are run nevertheless, those that still wait for an actor too
            self._give_back(next(iter(self._under_way)))
        self._took_unordered = False
        for value in values:
            self.submit(fn, value)

    def _results(self, next_one: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield next_one()

    def submit(self, fn: Call[V], value: V) -> None:
        """Have ``fn(actor, value)`` called with the next actor that is free."""
        number = self._submitted
        self._submitted += 1
        self._waiting.append((number, fn, value))
        self._submit_waiting()

    def _submit_waiting(self) -> None:
        while self._waiting and self._idle_actors:
            number, fn, value = self._waiting.popleft()
            actor = self._idle_actors.pop()
            try:
                self._under_way[number] = fn(actor, value), actor
            except BaseException:  # the call was not made: this value is gone, the actor is not
                self._idle_actors.append(actor)
                raise

    def has_next(self) -> bool:
        """Whether there are results to be taken, now or later."""
        return bool(self._under_way or self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submitting.

        Args:
            timeout: seconds to wait for it; None: for ever.
            ignore_if_timedout: give up this result if it is not there in time; its actor may take other work.

        Raises:
            TimeoutError: not there in time.
            StopIteration: there are no more.
            ValueError: results were taken with ``get_next_unordered`` before.
            Exception: what the call raised.
        """
        self._check_next()
        if self._took_unordered:
            raise ValueError(
                "get_next() gives results in order, which get_next_unordered() has broken: "
                "take those that are left with get_next_unordered()"
            )
        if not self._under_way:
            raise self._nobody_left()
        number = next(iter(self._under_way))
        if not _is_ready(self._under_way[number][0], timeout):
            if ignore_if_timedout:
                self._give_back(number)
                raise TimeoutError(f"result {number} was not there within {timeout:g} s, and is given up")
            raise TimeoutError(f"result {number} was not there within {timeout:g} s")
        return self._take(number)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result to be ready; otherwise as ``get_next``.

        With ``ignore_if_timedout`` the oldest of those under way is given up.
        """
        self._check_next()
        if not self._under_way:
            raise self._nobody_left()
        number = self._first_ready(timeout)
        if number is None:
            if ignore_if_timedout:
                self._took_unordered = True
                number = next(iter(self._under_way))
                self._give_back(number)
                raise TimeoutError(f"no result was there within {timeout:g} s; result {number} is given up")
            raise TimeoutError(f"no result was there within {timeout:g} s")
        self._took_unordered = True
        return self._take(number)

    def _first_ready(self, timeout: float | None) -> int | None:
        numbers = {_first(under_way): number for number, (under_way, _) in self._under_way.items()}
        ready, _ = wait(list(numbers), num_returns=1, timeout=timeout)
        return numbers[ready[0]] if ready else None

    def _check_next(self) -> None:
        if not self.has_next():
            raise StopIteration("there are no more results")

    def _nobody_left(self) -> ActorDiedError:
        count = len(self._waiting)
        self._waiting.clear()
        return ActorDiedError(
            f"no actor of this pool is alive or idle any more, and {count} values wait for one"
        )

    def _take(self, number: int) -> Any:
        under_way, actor = self._under_way.pop(number)
        if not self.has_next():  # whatever comes now begins a new order
            self._took_unordered = False
        try:
            return get(under_way)
        except ActorDiedError as error:
            if not isinstance(error, RayTaskError):  # which has only met the death of another actor
                actor = None
            raise
        finally:
            if actor is not None:
                self._return(actor)

    def _give_back(self, number: int) -> None:
        _, actor = self._under_way.pop(number)
        self._return(actor)

    def _return(self, actor: Any) -> None:
        self._idle_actors.append(actor)
        self._submit_waiting()

    def has_free(self) -> bool:
        """Whether an actor is free, and nothing waits for one."""
        return bool(self._idle_actors) and not self._waiting

    def pop_idle(self) -> Any:
        """Take a free actor out of the pool; None if there is none."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Put an actor into the pool.

        Raises:
            ValueError: it is there already.
        """
        busy = [each for _, each in self._under_way.values()]
        if actor in self._idle_actors or actor in busy:
            raise ValueError("this actor is in the ActorPool already")
        self._return(actor)


def _first(under_way: Any) -> Any:
    """Of a call with several results the last one: they are all there at once."""
    return under_way[-1] if isinstance(under_way, (list, tuple)) else under_way


def _is_ready(under_way: Any, timeout: float | None) -> bool:
    return bool(wait([_first(under_way)], num_returns=1, timeout=timeout)[0])
