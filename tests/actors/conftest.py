"""Actors of real processes; every test gives back what it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from distpool.scheduler import client
from distpool.scheduler.messages import ActorTerms
from distpool.scheduler.remote.actor_pools import ActorSpec, Event, NativeActor, open_actor
from tests.actors.bodies import BOUND_S, Async, Plain, Threaded
from tests.processes.conftest import engine as engine
from tests.processes.conftest import leaks as leaks
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.conftest import pools_that_end


class Opened:
    """What opens actors; those that are left are ended behind the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.events: list[Event] = []

    def __call__(self, cls: type[Any] = Plain, *args: Any, **options: Any) -> NativeActor:
        terms = options.pop("terms", None) or _TERMS.get(cls, ActorTerms())
        spec = ActorSpec(cls, list(args), terms=terms, on_event=self.events.append, **options)
        actor = open_actor(client.session(), spec)
        self._stack.callback(actor.wait_gone, BOUND_S)
        self._stack.callback(actor.terminate)
        return actor


_TERMS = {Async: ActorTerms(1000, loop=True), Threaded: ActorTerms(4)}


@pytest.fixture
def opened(engine: client.Session) -> Iterator[Opened]:
    with ExitStack() as stack:
        yield Opened(stack)


@pytest.fixture
def pool(engine: client.Session) -> Iterator[Callable[..., Any]]:
    """Makes pools whose tasks borrow actors."""
    with pools_that_end() as make:
        yield make
