"""The safety phase: what strikes a world, when, by chance. Each fault is one function, and each ends by itself.

After ``quiet`` nothing strikes any more: partitions heal, machines boot, the head is there again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .plan import SAFETY_S, Plan

if TYPE_CHECKING:
    from .machine import Machine
    from .network import End
    from .world import World


def schedule(world: World, plan: Plan) -> None:
    """Draw the faults of this world."""
    kinds: list[Callable[[World], None]] = []
    if plan.kills:
        kinds += [kill_worker, kill_busy_worker, kill_busy_worker, ghost, ghost]
        if world.loop.rng.random() < 0.3:
            kinds.append(nursery_death)
    if plan.crashes:
        kinds += [crash_agent, stop_head, driver_death]
    if plan.cuts:
        kinds += [cut_link, cut_link, partition]
    if plan.jumps:
        kinds += [jump_clock, slow_node]
    if not kinds:
        return
    for _ in range(world.loop.rng.randint(1, 12)):
        world.loop.after(world.loop.rng.uniform(0.05, SAFETY_S), _strike, world, world.loop.rng.choice(kinds))


def schedule_drains(world: World) -> None:
    """Some nodes are told to go, one after the other: the first takes all."""
    for _ in range(world.drain_chance.choice((1, 1, 2))):
        at_s = world.drain_chance.uniform(0.5, SAFETY_S / 2)
        if world.plan.keys and world.secret_chance.random() < 0.5:
            world.loop.after(at_s, world.keys.kill_head)  # so that nobody hears it from the head
        world.loop.after(at_s, _drain, world)


def _drain(world: World) -> None:
    machine = world.drain_chance.choice(list(world.machines.values()))
    others = [other for other in world.machines.values() if other is not machine and other.agent is not None]
    if not world.quiet and any(other.agent and not other.agent.core.draining.on for other in others):
        _note(world, f"{machine.name} drains")
        machine.drain()


def _strike(world: World, fault: Callable[[World], None]) -> None:
    if not world.quiet:
        world.last_fault_s = world.loop.now
        fault(world)


def _note(world: World, text: str) -> None:
    if world.trace:
        world.trace(f"{world.loop.now * 1000:10.3f} ms  !! {text}")


def _machine(world: World) -> Machine:
    return world.loop.rng.choice(list(world.machines.values()))


def kill_worker(world: World) -> None:
    workers = [w for machine in world.machines.values() for w in machine.workers.values() if w.alive]
    if workers:
        worker = world.loop.rng.choice(workers)
        _note(world, f"SIGKILL {worker.name}")
        world.kills += 1
        worker.die(9)


def kill_busy_worker(world: World) -> None:
    """One with something at stake, if there is one: a task, a queue, results held or in flight."""
    workers = [w for machine in world.machines.values() for w in machine.workers.values() if w.alive]
    busy = [
        w
        for w in workers
        if w.busy or w.queue or w.held or any(end.peer.arriving for end in w.links.values())
    ]
    if busy:
        worker = world.loop.rng.choice(busy)
        _note(world, f"SIGKILL busy {worker.name}")
        world.kills += 1
        worker.die(world.loop.rng.choice((9, 11)))
    else:
        kill_worker(world)


def nursery_death(world: World) -> None:
    machine = _machine(world)
    _note(world, f"the nursery of {machine.name} dies")
    world.kills += 3
    for worker in list(machine.workers.values()):
        worker.die(9)


def ghost(world: World) -> None:
    world.network.ghost()


def crash_agent(world: World) -> None:
    """An agent, or its whole node, is gone; it boots again after a while."""
    machine = _machine(world)
    if machine.agent is None:
        return
    _note(world, f"{machine.name} crashes")
    world.uncertain()
    machine.crash()
    world.loop.after(world.loop.rng.choice((0.05, 0.5, 3.0, 15.0)), machine.boot)


def stop_head(world: World) -> None:
    _note(world, "the head stops")
    world.stop_head()
    world.loop.after(world.loop.rng.choice((0.1, 2.0, 12.0)), world.start_head)


def driver_death(world: World) -> None:
    drivers = [shell for shell in world.drivers if shell.alive]
    if len(drivers) > 1 or (drivers and world.loop.rng.random() < 0.3):
        driver = world.loop.rng.choice(drivers)
        _note(world, f"SIGKILL {driver.name}")
        driver.die()


def cut_link(world: World) -> None:
    """One link between two machines loses what is in flight, in one direction or both."""
    rng = world.loop.rng
    ends = [
        end
        for shell in [*world.drivers, *(m.agent for m in world.machines.values() if m.agent is not None)]
        if shell.alive
        for end in shell.links.values()
        if end.process.machine != end.peer.process.machine and not end.cut
    ]
    if ends:
        end = rng.choice(ends)
        both = rng.random() < 0.6
        cut(world, end, both=both, detect_s=rng.choice((0.01, 0.3, 2.0)))


def cut(world: World, end: End, *, both: bool, detect_s: float) -> None:
    """This one does."""
    _note(world, f"the link {end.process.name} - {end.label} is cut{'' if both else ' one way'}")
    world.last_fault_s = world.loop.now
    world.uncertain()
    world.network.cut(end, both=both, detect_s=detect_s)


def partition(world: World) -> None:
    """Two machines cannot reach each other for a while; the others can reach both."""
    rng = world.loop.rng
    names = [*world.machines, *{shell.machine for shell in world.drivers}, "head"]
    names = sorted(set(names))
    if len(names) < 2:
        return
    pair = frozenset(rng.sample(names, 2))
    _note(world, f"{' and '.join(sorted(pair))} cannot reach each other")
    world.uncertain()
    world.network.partitions.add(pair)
    for process in world.processes():
        for end in list(process.links.values()):
            if frozenset((end.process.machine, end.peer.process.machine)) == pair and not end.cut:
                world.network.cut(end, both=True, detect_s=rng.choice((0.05, 1.0)))
    world.loop.after(rng.choice((0.1, 1.0, 13.0)), world.network.partitions.discard, pair)


def jump_clock(world: World) -> None:
    """A machine was suspended: its monotonic clock is ahead of where its events are."""
    machine = _machine(world)
    by_s = world.loop.rng.choice((0.5, 5.0, 40.0))
    _note(world, f"{machine.name}: the clock jumps by {by_s} s")
    for shell in world.shells():
        if shell.machine == machine.name:
            shell.jump(by_s)


def slow_node(world: World) -> None:
    machine = _machine(world)
    factor = world.loop.rng.choice((3.0, 20.0))
    _note(world, f"{machine.name} is {factor:g} times slower")
    machine.pace(factor)
    world.network.slow[machine.name] = factor
    world.loop.after(2.0, recover, world, machine)


def recover(world: World, machine: Machine) -> None:
    machine.pace(1.0)
    world.network.slow.pop(machine.name, None)
    world.last_fault_s = world.loop.now


def quiet(world: World) -> None:
    """The liveness phase begins: nothing strikes any more, and all that is down comes back."""
    _note(world, "faults stop")
    world.quiet = True
    world.last_fault_s = world.loop.now
    world.network.partitions.clear()
    for machine in world.machines.values():
        recover(world, machine)
        if machine.agent is not None and machine.agent.core.draining.on:
            machine.leave()
        machine.boot()
    world.start_head()
