"""Nodes that run out of memory: an agent's shell says so, one worker is ended, and its task rests before it runs again.
At other times it is only scarce, for a moment: then nothing is lent, and tasks that wait for others wait with what they
have.

By a chance of its own, so that the worlds without are what they were. Only where workers may be killed at all.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from distpool.scheduler.messages import MemoryLow, MemoryScarce

from .plan import SAFETY_S, Plan

if TYPE_CHECKING:
    from .world import World

TOTAL_BYTES = 1 << 30


def add(plan: Plan, rng: random.Random) -> None:
    """Whether this world knows hunger."""
    plan.hunger = plan.kills and rng.random() < 0.3


def schedule(world: World, rng: random.Random) -> None:
    """Draw when memory is short, and how often in a row an agent sees it."""
    if world.plan.hunger:
        for _ in range(rng.randint(1, 6)):
            at_s, times = rng.uniform(0.05, SAFETY_S), rng.randint(1, 4)
            for turn in range(times):
                world.loop.after(at_s + turn * world.limits.memory_look_s, _look, world, rng)
        for _ in range(rng.randint(0, 3)):
            world.loop.after(rng.uniform(0.05, SAFETY_S), _grow_scarce, world, rng)


def _look(world: World, rng: random.Random) -> None:
    if world.quiet:
        return
    agents = [machine.agent for machine in world.machines.values() if machine.agent is not None]
    agents = [agent for agent in agents if agent.alive]
    if not agents:
        return
    agent = rng.choice(agents)
    used = {
        number: rng.choice((1 << 20, 1 << 28, 1 << 29, 1 << 30))
        for number, worker in agent.host.workers.items()
        if worker.alive
    }
    world.last_fault_s = world.loop.now
    world.kills += bool(used)
    agent.hear("memory", MemoryLow(TOTAL_BYTES, TOTAL_BYTES // 50, used))


def _grow_scarce(world: World, rng: random.Random) -> None:
    agents = [machine.agent for machine in world.machines.values() if machine.agent is not None]
    agents = [agent for agent in agents if agent.alive]
    if not agents or world.quiet:
        return
    agent = rng.choice(agents)
    world.last_fault_s = world.loop.now
    agent.hear("memory", MemoryScarce(True, TOTAL_BYTES, TOTAL_BYTES // 10))

    def over() -> None:
        if agent.alive:
            agent.hear("memory", MemoryScarce(False, 0, 0))

    world.loop.after(rng.uniform(0.01, 3.0), over)
