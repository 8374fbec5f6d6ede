"""Owner cores for tests of actors: one that creates, others that borrow, and what they say to each other."""

from __future__ import annotations

from typing import Any

from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    ActorTerms,
    AgentWelcome,
    Borrow,
    Contact,
    Death,
    Execute,
    LeaseHello,
    OpenPool,
    SetupDone,
    Submit,
    WakeAt,
    WorkerDied,
)

KILLED = Death(100, "host", 9, -9)
EXITED = Death(100, "host", 0, 3)
ACTOR = 1  # the pool that it is


class Owner:
    """A core with its clock, checked after every step."""

    def __init__(self, name: str = "creator") -> None:
        self.name = name
        self.core = OwnerCore(name, f"ipc://{name}", 1, Limits(), node="n")
        self.now = 0.0
        self("agent:n", AgentWelcome("n", 10, "host", 2.0, {}))

    @property
    def contact(self) -> Contact:
        return Contact(self.name, f"ipc://{self.name}", "n", 7)

    def __call__(self, sender: str, message: Any) -> list[tuple[str, Any]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, said) for to, said in out if not isinstance(said, WakeAt)]

    def opens(self, restarts: int = 0, **terms: Any) -> list[tuple[str, Any]]:
        message = OpenPool(
            ACTOR, 1, b"setup", actor=ActorTerms(**terms), restarts=restarts, self_contained=True
        )
        return self("app", message)

    def borrows(self, lender: Owner, **terms: Any) -> list[tuple[str, Any]]:
        borrow = Borrow(lender.contact, ACTOR, self.contact)
        return self("app", OpenPool(ACTOR, 1, b"", actor=ActorTerms(**terms), borrow=borrow))

    def comes(self, lease: str, node: str = "n") -> list[tuple[str, Any]]:
        """A worker says hello and constructs the actor; returns what is said then."""
        self(f"worker:{lease}", LeaseHello(lease, ACTOR, node, "host", 100))
        return self(f"worker:{lease}", SetupDone())

    def calls(self, *tasks: Task) -> list[tuple[str, Any]]:
        return self("app", Submit(ACTOR, list(tasks)))

    def dies(
        self, lease: str, running: int = 0, begun: tuple[int, ...] = (), death: Death = KILLED
    ) -> list[tuple[str, Any]]:
        return self("agent:n", WorkerDied(lease, ACTOR, death, running, begun=begun))


def call(key: int, retries: int = 0) -> Task:
    return Task(ACTOR, "token", key, 1, b"method", [key], 64, retries)


def offered(out: list[tuple[str, Any]], lease: str) -> list[int]:
    """The keys of the calls that are sent to this worker, in order."""
    return [
        payload[0]
        for to, said in out
        if to == f"worker:{lease}" and isinstance(said, Execute)
        for payload in said.payloads
    ]


def of(out: list[tuple[str, Any]], kind: type) -> list[Any]:
    """The messages of this type."""
    return [said for _, said in out if isinstance(said, kind)]
