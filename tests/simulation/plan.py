"""What a seed means: how many nodes and owners, which programs they run, and which faults may strike.

Chance is spent so that one seed in four is calm (the oracles are strictest where nothing fails), one in three only
loses workers, and the rest see everything.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ledger import Job, PoolBook
from .program import Program

if TYPE_CHECKING:
    from .world import World

SAFETY_S = 12.0
#: "Just before" a Tick.
EVE_S = 5e-5


@dataclass
class Plan:
    """One world."""

    nodes: int
    owners: int
    apart: bool  # drivers live on machines of their own, so that all their links can be cut
    latency_s: float
    kills: bool
    crashes: bool
    cuts: bool
    jumps: bool
    births: float  # the share of workers that die or hang before their first word
    strike: float  # chance of a SIGKILL at each step of a worker's main thread
    limits: bool = False  # some tasks may only run for so long, ...
    wears: float = 0.0  # ... and some leave their worker too big
    actors: bool = False
    groups: bool = False  # some run in placement groups
    drains: bool = False  # nodes are told to go
    crowd: bool = False  # small tasks keep coming, and large groups wait for room
    keys: bool = False  # programs keep something at the head, and that may die
    jobs: bool = False  # commands hand in programs, and the head may die
    gpus: bool = False
    hunger: bool = False  # nodes run out of memory


def draw(rng: random.Random) -> Plan:
    """The plan of a world under this chance."""
    mood = rng.random()
    kills = mood >= 0.25
    wild = mood >= 0.58
    return Plan(
        nodes=rng.choice((1, 1, 2, 3)),
        owners=rng.choice((1, 1, 2)),
        apart=wild and rng.random() < 0.7,
        latency_s=rng.choice((5e-5, 2e-4, 2e-3)),
        kills=kills,
        crashes=wild and rng.random() < 0.6,
        cuts=wild and rng.random() < 0.6,
        jumps=wild and rng.random() < 0.3,
        births=rng.choice((0.0, 0.0, 0.1, 0.3)) if kills else 0.0,
        strike=rng.choice((0.0, 0.001, 0.01)) if kills else 0.0,
    )


def add_limits(plan: Plan, rng: random.Random) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were such things."""
    plan.limits = rng.random() < 0.4
    plan.wears = 0.05 if rng.random() < 0.15 else 0.0


def add_drains(plan: Plan, rng: random.Random) -> None:
    """By a chance of its own, as well. A node can only go if there is another."""
    plan.drains = plan.nodes > 1 and rng.random() < 0.5


def write_program(world: World, program: Program) -> None:
    """Schedule what this driver will do."""
    rng = world.loop.rng
    for _ in range(rng.choice((1, 1, 2, 3))):
        world.loop.after(rng.uniform(0.0, 2.0), _open, world, program)
    if world.plan.groups:
        world.groups.write(program)
    if world.plan.keys:
        world.keys.write(program)


def _open(world: World, program: Program) -> None:
    if not program.shell.alive:
        return
    rng = world.loop.rng
    dedicated = rng.random() < 0.75
    book = program.open_pool(
        rng.choice((1, 2, 2, 3, 4)),
        dedicated=dedicated,
        resources={} if dedicated else {"CPU": rng.choice((0.5, 1.0, 2.0))},
        setup_fails=rng.choice((0.0, 0.0, 0.0, 0.0, 0.2, 1.0)) if dedicated else 0.0,
        max_tasks=rng.choice((0, 0, 0, 1, 3, 20)) if dedicated else 0,
        wears=world.plan.wears if dedicated else 0.0,
    )
    for _ in range(rng.randint(1, 5)):
        world.loop.after(rng.uniform(0.0, 6.0), _batch, world, program, book)
    for _ in range(rng.choice((0, 0, 1, 3))):
        world.loop.after(rng.uniform(0.0, 8.0), _cancel, world, program, book)
    if rng.random() < 0.3:
        world.loop.after(rng.uniform(0.0, 8.0), _resize, world, program, book)
    if rng.random() < 0.7:
        world.loop.after(rng.uniform(1.0, 11.0), _end, world, program, book)
    if not dedicated and world.eve_chance.random() < 0.5:
        world.loop.after(world.eve_chance.uniform(0.5, 6.0), _end_on_the_eve, world, program, book)


def _batch(world: World, program: Program, book: PoolBook) -> None:
    """One submit: a storm of short tasks, a mix, a long one before or behind short ones, a meeting, nested tasks."""
    if not program.shell.alive or book.state not in ("open", "broken"):
        return
    rng = world.loop.rng
    retries = rng.choice((0, 0, 1, 2))
    shape = rng.choice(("storm", "mix", "mix", "long", "meeting", "nested", "trickle"))
    jobs: list[Job] = []
    if shape == "storm":
        length_s = rng.choice((0.0, 1e-5, 2e-4))
        jobs = [
            program.job(book, "plain", length_s, retries=retries, function=rng.randint(1, 3))
            for _ in range(rng.randint(50, 250))
        ]
    elif shape == "mix":
        jobs = [_mixed(rng, program, book) for _ in range(rng.randint(1, 25))]
    elif shape == "long":
        jobs = [program.job(book, "plain", 1e-5, retries=retries) for _ in range(rng.randint(10, 120))]
        jobs.insert(
            rng.randint(0, len(jobs)),
            program.job(book, "plain", rng.choice((1.0, 5.0, 30.0)), retries=retries),
        )
    elif (
        shape == "meeting"
        and not book.barrier_size
        and book.size > 1
        and book.dedicated
        and not book.setup_fails
    ):
        book.barrier_size = book.size
        jobs = [program.job(book, "plain", 1e-5) for _ in range(rng.randint(0, 150))]
        jobs += [program.job(book, "barrier", 0.0, retries=retries) for _ in range(book.size)]
    elif shape == "nested":
        plan: Any = [rng.randint(1, 6), rng.choice((0.0, 0.01, 0.5)), rng.random() < 0.5, rng.choice((0, 1))]
        jobs = [
            program.job(book, "nested", 1e-4, retries=retries, argument=plan)
            for _ in range(rng.randint(1, 3))
        ]
    else:
        for index in range(rng.randint(1, 20)):
            job = _mixed(rng, program, book)
            world.loop.after(0.002 * index, program.submit_if_open, book, [job])
        return
    program.submit(book, jobs)


def _mixed(rng: random.Random, program: Program, book: PoolBook) -> Job:
    limit_s = None
    if program.world.plan.limits:
        limit_s = program.world.more_chance.choice((None, 0.001, 0.05, 0.5, 1.5))
    kind = rng.choices(
        ("plain", "raise", "crash", "crash_once", "exit", "deaf"), weights=(80, 6, 2, 4, 2, 2)
    )[0]  # fmt: skip
    duration_s = rng.choice((0.0, 1e-5, 1e-3, 1e-3, 0.03, 0.3, 2.0))
    if kind == "deaf":
        duration_s = 8.0
    retries, function = rng.choice((0, 1, 2)), rng.randint(1, 3)
    return program.job(book, kind, duration_s, retries=retries, function=function, limit_s=limit_s)


def _cancel(world: World, program: Program, book: PoolBook) -> None:
    rng = world.loop.rng
    jobs = [job for job in book.jobs if job.submitted and not job.settled and job.kind != "barrier"]
    if program.shell.alive and jobs:
        program.cancel(rng.sample(jobs, rng.randint(1, len(jobs))), running=rng.random() < 0.5)


def _resize(world: World, program: Program, book: PoolBook) -> None:
    size = world.loop.rng.randint(1, 5)
    if program.shell.alive and book.state == "open":
        program.resize(book, max(size, book.barrier_size))


def _end_on_the_eve(world: World, program: Program, book: PoolBook) -> None:
    """Just before the owner is to look at what is due: nothing of that may be said of a pool that has ended."""
    shell = program.shell
    if not shell.alive:
        return
    if math.isinf(shell.wake_s):
        world.loop.after(0.2, _end_on_the_eve, world, program, book)
    else:
        world.loop.at(shell.wake_s - shell.skew_s - EVE_S, program.terminate_if_alive, book)


def _end(world: World, program: Program, book: PoolBook) -> None:
    if program.shell.alive:
        (program.close if world.loop.rng.random() < 0.6 else program.terminate)(book)
