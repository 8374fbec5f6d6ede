"""Calls that yield, whose values are lost by chance and made again: the real ``Lineage`` and streams under a seed.

Played here are the store (a dictionary) and the workers, which yield what is wanted of them, one value a step, die, and
begin again. No threads, no sockets: each step is one of what can happen next.

Oracles: each value is that of its place; a call that is made again is asked for all that is lost, and for nothing
else; it is so as often as it may be; who asks for a value gets it, or why not; nothing is remembered at the end.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec

from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.remote import refs, submitting
from distpool.scheduler.remote.generators import Stream, StreamAgain
from distpool.scheduler.remote.lineage import Lineage
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.kept import Kept
from tests.simulation.loop import Violation

STEPS = 120


class _Store:
    """Which objects there are, and what each one is: (call, place)."""

    def __init__(self) -> None:
        self.made = 0
        self.data: dict[int, tuple[int, int]] = {}
        self.were: dict[int, tuple[int, int]] = {}

    def put(self, what: tuple[int, int]) -> Kept:
        self.made += 1
        self.data[self.made] = self.were[self.made] = what
        return Kept(bytes([0xFF]) + self.made.to_bytes(4, "big"), self, ())

    def are_there(self, ids: Any, *, here: bool = False) -> bool:
        return all(number in self.data for number in ids)

    def gone(self, ids: Any) -> set[int]:
        return {number for number in ids if number not in self.data}

    def are_only_here(self, ids: Any) -> bool:
        return False

    def size_of(self, ids: Any) -> int:
        return 0


def _ids_of(blob: bytes) -> tuple[int, ...]:
    return (int.from_bytes(blob[1:], "big"),)


class _Task:
    def __init__(self, token: Any, retries: int, origin: Any) -> None:
        self.token, self.retries, self.origin, self.pool = token, retries, origin, 1


class _Call(submitting.Call):
    """One that the world runs."""

    def __init__(self, world: World, number: int, retries: int) -> None:
        self.world, self.ident = world, number
        self.plan: Any = SimpleNamespace(
            name=f"call{number}",
            yields=0,
            returns=1,
            retries=retries,
            link=None,
            pool=SimpleNamespace(number=1),
        )
        self.pool = self.plan.pool
        self.keep, self.places, self.needed, self.origin, self.sent = [None], [], [], None, ()
        self.fields = {"a": [], "g": 0}

    def start(self, token: Any, retries: int, results: Any) -> None:
        task: Any = _Task(token, retries, self.origin or (self, results))
        for ref in results:
            ref.task = task
        self.world.start(self, token)


@dataclass
class _Run:
    """A worker that runs a call."""

    call: _Call
    token: Any
    place: int = 0


@dataclass
class _Book:
    """A call as its caller knows it."""

    count: int
    retries: int
    held: dict[int, ObjectRef] = field(default_factory=dict)
    again: int = 0


class World:
    """One seed's."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"streams {seed}")
        self.store = _Store()
        core = SimpleNamespace(limits=msgspec.structs.replace(DEFAULTS))
        shell = SimpleNamespace(store=self.store)
        session: Any = SimpleNamespace(shell=shell, core=core, remote=SimpleNamespace(recovering=None))
        self.lineage = Lineage(session)
        self.books: list[_Book] = []
        self.running: list[_Run] = []
        self.asked: list[ObjectRef] = []
        self.found: Violation | None = None

    # ------------------------------------------------------------------------------------ steps

    def open(self) -> None:
        """The program makes a call."""
        book = _Book(self.rng.randint(1, 6), self.rng.randint(1, 4))
        self.books.append(book)
        call = _Call(self, len(self.books) - 1, book.retries)
        stream = Stream(call.plan, None)
        call.start(stream, book.retries, [stream.done])

    def start(self, call: _Call, token: Any) -> None:
        """A call is offered to a worker: at first, or again."""
        self.running.append(_Run(call, token))
        if type(token) is not StreamAgain:
            return
        book = self.books[call.ident]
        book.again += 1  # what is found here would be taken for the call's own failure, if it was raised
        if book.again > book.retries:
            self.found = Violation("bounded", f"call {call.ident} is made again {book.again} times")
        lost = {place for place, ref in book.held.items() if self.lineage.is_lost(ref.value)}
        wanted = set(call.fields["w"])
        if not lost <= wanted:
            self.found = Violation(
                "one_run_for_all", f"call {call.ident} is asked for {wanted}, and {lost} are lost"
            )
        if there := wanted & book.held.keys() - lost:
            self.found = Violation(
                "only_what_is_lost", f"call {call.ident} makes {there} again, which are there"
            )

    def go_on(self, run: _Run) -> None:
        """A worker yields its next value, ends, or dies and begins again."""
        book = self.books[run.call.ident]
        wanted = run.call.fields.get("w") or range(book.count)
        if self.rng.random() < 0.1:
            run.place = 0  # died; another attempt
        elif run.place > max(wanted):
            self.running.remove(run)
            run.token.fulfil(0, run.place)
        else:
            place, run.place = run.place, run.place + 1
            if place in wanted:
                run.token.item(place, self.store.put((run.call.ident, place)), None)
                if type(run.token) is Stream and place not in book.held:
                    book.held[place] = run.token.ref(place)
        self.look()

    def lose(self) -> None:
        if self.store.data:
            del self.store.data[self.rng.choice(list(self.store.data))]

    def drop(self) -> None:
        held = [(book, place) for book in self.books for place in book.held]
        if held:
            book, place = self.rng.choice(held)
            streams = [run.token for run in self.running if type(run.token) is Stream]
            if not any(
                place in stream._refs and stream._refs[place] is book.held[place] for stream in streams
            ):
                book.held.pop(place)

    def ask(self) -> None:
        """Somebody needs a value."""
        held = [ref for book in self.books for ref in book.held.values()]
        if held and self.lineage.is_lost((ref := self.rng.choice(held)).value):
            self.asked.append(self.lineage.again(ref))

    # ---------------------------------------------------------------------------------- oracles

    def look(self) -> None:
        """What must be so after every step."""
        if self.found is not None:
            raise self.found
        for number, book in enumerate(self.books):
            for place, ref in book.held.items():
                value = ref.value
                if type(value) is Kept and self.store.were[_ids_of(value.blob)[0]] != (number, place):
                    raise Violation(
                        "its_own_value",
                        f"value {place} of {number} is {self.store.were[_ids_of(value.blob)[0]]}",
                    )

    def end(self) -> None:
        """Nothing is lost any more."""
        self._finish()
        for place in range(6):
            self.asked += [
                self.lineage.again(book.held[place])
                for book in self.books
                if place in book.held and self.lineage.is_lost(book.held[place].value)
            ]
            self._finish()
        self._expect_answers()
        self.books.clear()
        self.asked.clear()
        gc.collect()
        self.lineage._forget_the_oldest()
        if self.lineage.size_bytes:
            raise Violation("nothing_left", f"{self.lineage.size_bytes} bytes of calls are remembered")

    def _finish(self) -> None:
        while self.running:
            self.go_on(self.rng.choice(self.running))

    def _expect_answers(self) -> None:
        if not all(ref.settled for ref in self.asked):
            raise Violation("asked_is_answered", "somebody waits for a value that nobody makes")
        for number, book in enumerate(self.books):
            for place, ref in book.held.items():
                if self.lineage.is_lost(ref.value):
                    raise Violation("asked_is_answered", f"value {place} of call {number} is lost")
                if ref.failure is not None and book.again < book.retries:
                    raise Violation(
                        "made_while_it_may_be", f"value {place} of call {number}: {ref.failure.reason}"
                    )


def run(seed: int) -> World:
    """One world. Raises Violation."""
    was = stored.ids_of, refs.on_stored[0]
    world = World(seed)
    stored.ids_of, refs.on_stored[0] = _ids_of, world.lineage.remember  # type: ignore[assignment]
    try:
        rng = world.rng
        for _ in range(STEPS):
            match rng.choices(("open", "go_on", "lose", "drop", "ask"), (1, 8, 3, 1, 3))[0]:
                case "open":
                    if len(world.books) < 3:
                        world.open()
                case "go_on":
                    if world.running:
                        world.go_on(rng.choice(world.running))
                case "lose":
                    world.lose()
                case "drop":
                    world.drop()
                case "ask":
                    world.ask()
            world.look()
        world.end()
    finally:
        stored.ids_of, refs.on_stored[0] = was
    return world
