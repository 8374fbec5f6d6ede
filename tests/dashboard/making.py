"""Looks as a cluster would give them, made of a few words."""

from __future__ import annotations

from distpool.commands.looking import Look, put_together
from distpool.scheduler.messages import FactsReport, NodeAnswers, NodeFacts, Surveyed, WorkerFacts
from distpool.scheduler.messages.activity import (
    Bar,
    CallStates,
    Mishap,
    OwnerActivity,
    Tally,
    WorkerActivity,
    pack,
)
from distpool.scheduler.messages.insights import LeaseView, MachineLoad, OwnerView, PoolView, ProcessLoad
from distpool.scheduler.messages.placing import Strategy


def tally(name: str, done: float, failed: float = 0, each_s: float = 0.001) -> Tally:
    count = done + failed
    return Tally(name, done, failed, count * each_s, {10: count} if count else {})


def worker(
    number: int, *tallies: Tally, bars: tuple[Bar, ...] = (), names: tuple[str, ...] = ()
) -> WorkerActivity:
    return WorkerActivity("a", number, 1000 + number, False, tallies, names, bars)


def facts(number: int, running: int = 0, for_s: float = 0.0) -> WorkerFacts:
    return WorkerFacts(
        number, 1000 + number, f"a.1.{number}", "o", pool=1, need={"CPU": 1.0}, running=running, for_s=for_s
    )


def pool(*leases: LeaseView, pending: int = 0, done: int = 0) -> PoolView:
    return PoolView(
        1,
        "shared",
        "",
        {"CPU": 1.0},
        Strategy(),
        0,
        pending,
        0,
        len(leases),
        1,
        1,
        done,
        {},
        0,
        0.0,
        "",
        leases,
    )


def lease(number: int, running: str = "") -> LeaseView:
    return LeaseView(f"a.1.{number}", 1000 + number, "a", "ready", 1, running)


def owner(
    *calls: CallStates, pools: tuple[PoolView, ...] = (), mishaps: tuple[Mishap, ...] = (), failed: int = 0
) -> OwnerActivity:
    return OwnerActivity(OwnerView("o", 77, "a", 0, pools), calls, failed, mishaps)


def machine(at_s: float, busy_s: float = 0.0, workers: int = 0) -> MachineLoad:
    processes = tuple(ProcessLoad(n, 1000 + n, at_s / 2, 1 << 20) for n in range(1, workers + 1))
    return MachineLoad(at_s, busy_s, 2, 0.5, 1 << 30, 4 << 30, (1 << 20, 1 << 30), processes)


def a_look(
    at_s: float,
    *answers: object,
    workers: tuple[WorkerFacts, ...] = (),
    load: MachineLoad | None = None,
    silent: bool = False,
) -> Look:
    """Of node "a"; ``silent``: it has not answered."""
    node = NodeFacts("a", "ipc://a", {"CPU": 2.0, "node:a": 1.0}, {"CPU": 1.0, "node:a": 1.0}, host="box")
    told = NodeAnswers(
        1, "a", tuple(map(pack, answers)), (), workers, "activity", "/dir", pack(load) if load else b""
    )
    surveyed = Surveyed(1, () if silent else (told,), ("a",) if silent else ())
    return put_together(FactsReport(1, "a", (node,), ()), surveyed, at_s, 1_000_000.0 + at_s)
