"""Detached actors that a worker creates: the driver takes them over at once, so they outlive their creator.

::

    worker                                              the program's driver
    make its set-up, all of it in one piece
    adopt ── Adopt(set-up, resources, terms, ...) ────► opens the actor as one of its own
          ◄────────────────────── Adopted(where) ──────
    borrows it from there, like anybody else
    has got a name for it in the head ── Named ───────► it goes with the actor, when that ends

What it is not: needed by a driver, whose actors live as long as the session anyway.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from distpool.engines.protocol import Promise
from distpool.errors import ClusterError, Failure
from distpool.scheduler.messages import Adopt, Adopted, Contact, Named, OpenPool
from distpool.scheduler.remote import actors
from distpool.scheduler.remote.actor_pools import ActorSpec, Event, Lent, NativeActor
from distpool.scheduler.remote.actors import ActorRef, Link
from distpool.scheduler.remote.here import here
from distpool.scheduler.shells.preparation import contained_setup

if TYPE_CHECKING:
    from distpool.scheduler.session import Session

#: A driver answers at once.
ADOPT_S = 30.0


class _Adoption(Promise):
    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.lent: Lent | None = None
        self.reason = ""


class Adopting:
    """A session's share in it: what it has asked for, if it is a worker's; what it takes over, if a driver's."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Adoption] = {}

    def ask(self, driver: Contact, spec: ActorSpec, link: Link) -> ActorRef:
        """Have the driver open an actor of this description.

        Raises:
            ClusterError: the driver does not answer.
        """
        session = self._session
        opening = NativeActor(session, 0, spec).opening()
        number, adoption = next(self._numbers), _Adoption(driver.owner)
        self._asked[number] = adoption
        adopt = Adopt(
            number, link.base or "", link.number, link.name, contained_setup(opening.setup), opening.resources,
            opening.strategy, spec.terms, spec.restarts,
        )  # fmt: skip
        session.leading.tell(lambda: session.shell.watch_owner(driver))
        session.leading.tell(lambda: session.shell.say_to_owner(driver, adopt))
        if not session.wait(adoption, ADOPT_S) or adoption.lent is None:
            self._asked.pop(number, None)
            raise ClusterError(
                f"the program's driver did not take over an actor: {adoption.reason or 'no answer'}"
            )
        return actors.of_another(link.base or "", link.number, link.name, adoption.lent, detached=True)

    def tell_name(self, driver: Contact, link: Link, key: str) -> None:
        """An actor that the driver has taken over has got this name, which nobody else has."""
        session = self._session
        named = Named(link.base or "", link.number, key)
        session.leading.tell(lambda: session.shell.say_to_owner(driver, named))

    def hear(self, owner: str, message: Adopt | Adopted | Named | None) -> None:
        """On the thread that delivers; None: that owner is gone."""
        match message:
            case Adopt():
                self._adopt(owner, message)
            case Named(base=base, number=number, key=key):
                link = actors.ADOPTED.get((base, number))
                if link is not None:
                    link.key = key
                else:  # it has ended meanwhile
                    actors.forget_name(self._session, key)
            case Adopted(request=request, creator=creator, pool=pool, terms=terms):
                adoption = self._asked.pop(request, None)
                if adoption is not None:
                    adoption.lent = Lent(creator, pool, terms)
                    adoption.settle()
            case None:
                for adoption in list(self._asked.values()):
                    if adoption.driver == owner:
                        adoption.reason = "it is gone"
                        adoption.settle()

    def _adopt(self, owner: str, message: Adopt) -> None:
        session = self._session
        link = Link(message.base, message.number, message.name)
        link.detached = link.travelled = True

        def on_event(event: Event) -> None:
            link.on_event(event)
            if isinstance(event, Failure):
                actors.forget_name(session, link.key)

        spec = ActorSpec(object, terms=message.terms, restarts=message.restarts, on_event=on_event)
        native = session.open(lambda number: _Ready(session, number, spec, message))
        link.native = native
        actors.ADOPTED[message.base, message.number] = link
        asker = session.shell.contacts.get(owner)
        if asker is not None:
            told = Adopted(message.request, session.shell.contact(), native.number, message.terms)
            session.leading.tell(lambda: session.shell.say_to_owner(asker, told))


class _Ready(NativeActor):
    """An actor whose set-up was made by another process."""

    def __init__(self, session: Session, number: int, spec: ActorSpec, message: Adopt) -> None:
        super().__init__(session, number, spec)
        self._message = message

    def opening(self) -> OpenPool:
        """See ``NativePool``."""
        message = self._message
        return OpenPool(
            self.number,
            1,
            message.setup,
            resources=dict(message.resources),
            strategy=message.strategy,
            self_contained=True,
            actor=message.terms,
            restarts=message.restarts,
        )


def create_detached(driver: Contact, spec: ActorSpec, link: Link) -> ActorRef:
    """Create an actor that the driver owns, from a worker. Raises as ``Adopting.ask`` does."""
    return here().adopting.ask(driver, spec, link)


def tell_name(driver: Contact, link: Link, key: str) -> None:
    """See ``Adopting.tell_name``."""
    here().adopting.tell_name(driver, link, key)
