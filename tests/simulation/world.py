"""One run: a cluster under a seed, a safety phase in which faults strike, a liveness phase in which all must end.

::

    build ──► safety phase (SAFETY_S, faults) ──► quiet ──► pools closed ──► every task told, every pool gone
                                                                ──► drivers leave ──► nothing left

Simulated time only. ``run(seed)`` raises ``Violation`` naming the oracle that was hurt.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from distpool.scheduler.cores.owner_leasing import is_borrowed
from distpool.scheduler.cores.tasks import LeaseState
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Attach, PoolBroken
from distpool.scheduler.shells.journal import MemoryJournal

from . import actors, crowds, faults, gpus, groups, hunger, keys, submitted
from .ledger import Job, Ledger, PoolBook
from .loop import Loop, Violation
from .machine import HeadShell, Machine
from .network import Network
from .owner import OwnerShell
from .plan import SAFETY_S, Plan, add_drains, add_limits, draw, write_program
from .program import Children, Program
from .shell import Shell
from .worker import Worker

#: Everything must be over this long after the faults have stopped (the longest task takes 30 s, thrice).
LIVENESS_S = 400.0
#: A worker may be idle for this long while its pool has pending work and nothing has struck meanwhile.
IDLE_S = 1.5
SAMPLE_S = 0.25
#: So many workers of a pool may be let go within so long without having had a task.
UNUSED_MAX = 20
UNUSED_S = 2.0
#: After a fault this much is allowed for its repair, before anything counts as too long.
PATIENCE_S = 3.0
#: A task that has run for longer than it may is told to be overdue within this, if nothing has struck meanwhile.
OVERDUE_S = 1.0


class World:
    """All processes of one simulated cluster, and what they share."""

    def __init__(
        self, seed: int, plan: Plan | None = None, trace: Callable[[str], None] | None = None,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.loop = Loop(seed)
        self.more_chance = random.Random(f"more {seed}")
        self.plan = plan or draw(self.loop.rng)
        self.group_chance = random.Random(f"groups {seed}")
        self.actor_chance = random.Random(f"actors {seed}")
        self.gpu_chance = random.Random(f"gpus {seed}")
        self.eve_chance = random.Random(f"eve {seed}")
        self.hunger_chance = random.Random(f"hunger {seed}")
        self.key_chance = random.Random(f"keys {seed}")
        self.submit_chance = random.Random(f"submitted {seed}")
        self.drain_chance = random.Random(f"drains {seed}")
        self.secret_chance = random.Random(f"secret drains {seed}")
        self.crowds = crowds.Crowds(self, random.Random(f"crowds {seed}"))
        if plan is None:
            add_limits(self.plan, self.more_chance)
            groups.add(self.plan, self.group_chance)
            actors.add(self.plan, self.actor_chance)
            gpus.add(self.plan, self.gpu_chance)
            hunger.add(self.plan, self.hunger_chance)
            keys.add(self.plan, self.key_chance)
            submitted.add(self.plan, self.submit_chance)
            add_drains(self.plan, self.drain_chance)
            self.crowds.add(self.plan)
        self.trace = trace
        self.limits = limits or Limits()
        self.network = Network(self.loop, self.plan.latency_s, trace)
        self.ledger = Ledger(self.loop)
        self.checking = True
        self.random_sizes = True
        self.quiet = False
        self.last_fault_s = 0.0
        self.headless_s = 0.0
        self.kills = 0
        self.books: dict[tuple[str, int], PoolBook] = {}
        self.owners: dict[str, OwnerShell] = {}  # alive, by address
        self.drivers: list[OwnerShell] = []
        self.machines: dict[str, Machine] = {}
        self.journal = MemoryJournal()
        self.head: HeadShell | None = None
        self.groups = groups.Groups(self)
        self.keys = keys.Keys(self)
        self.submitted = submitted.Submitted(self)
        self.actors = actors.Actors(self)
        self.gpus = gpus.Gpus(self)
        self.idle_since: dict[Worker, float] = {}
        self.understaffed: dict[tuple[str, int], float] = {}
        self.unused: dict[tuple[str, int], deque[float]] = {}  # when workers were let go that had had no task
        self.attaches = 0
        self.children = 0
        self.trap: Callable[[Worker, str], bool] | None = (
            None  # scenarios: which step of which worker is its last
        )

    # --------------------------------------------------------------------------------- building

    def add_machine(self, name: str, total: dict[str, float]) -> Machine:
        machine = self.machines[name] = Machine(self, name, total)
        machine.boot()
        return machine

    def add_driver(self, name: str, machine: str, home: str) -> OwnerShell:
        shell = OwnerShell(self, name, machine, self.loop.rng.randint(2, 30000))
        self.drivers.append(shell)
        self.owners[shell.core.address] = shell
        shell.dial(home)
        return shell

    def nested_owner(self, worker: Worker, plan: Any) -> OwnerShell:
        self.children += 1
        shell = OwnerShell(
            self, f"{worker.machine}-w{worker.number}-{self.children}", worker.machine, worker.pid, worker
        )
        self.owners[shell.core.address] = shell
        shell.dial(worker.machine)
        shell.block(True)
        Children(self, shell, plan)
        return shell

    def build(self) -> None:
        rng = self.loop.rng
        self.start_head()
        for index in range(self.plan.nodes):
            self.add_machine(f"n{index}", {"CPU": float(rng.choice((1, 2, 4))), **self.gpus.of_a_machine()})
        for index in range(self.plan.owners):
            home = rng.choice(list(self.machines))
            shell = self.add_driver(f"d{index}", f"m{index}" if self.plan.apart else home, home)
            program = Program(self, shell)
            if self.plan.crowd:
                self.crowds.write(program)
                continue
            write_program(self, program)
            self.gpus.write(program)
        self.actors.write([shell.program for shell in self.drivers if shell.program is not None])
        faults.schedule(self, self.plan)
        hunger.schedule(self, self.hunger_chance)
        if self.plan.keys:
            self.keys.schedule()
        if self.plan.jobs:
            self.submitted.schedule()
        if self.plan.drains:
            faults.schedule_drains(self)
        self.loop.after(SAMPLE_S, self._sample)

    # --------------------------------------------------------------------- asked by the processes

    def find_owner(self, address: str) -> OwnerShell | None:
        return self.owners.get(address)

    def owner_gone(self, shell: OwnerShell) -> None:
        self.owners.pop(shell.core.address, None)
        self.actors.owner_gone(shell.owner)
        if shell.program is not None:
            for book in shell.program.pools.values():
                for job in book.jobs:
                    self.ledger.forget(job)

    def worker_links_noticed(self, shell: OwnerShell, sender: str) -> bool:
        """Whether the owner's shell learns that a worker's link is gone; on a node that is left to the agent.

        But no agent tells of the link to another owner's worker that lives: who has lost that sees it by itself. Who
        hears of a lost link cannot know what ran behind it.
        """
        lease = shell.core.leases.get(sender.partition(":")[2])
        if shell.machine in self.machines:
            if lease is None or not is_borrowed(lease.pool):
                return False
            worker = self.machines[lease.node].workers.get(int(lease.lease.rpartition(".")[2]))
            if worker is None or not worker.alive:
                return False
        if lease is not None:
            self.uncertain()
        return True

    def birth(self) -> tuple[float, str]:
        rng = self.loop.rng
        if self.network.fixed_order:
            return 5e-3, "comes"
        if not self.quiet and rng.random() < self.plan.births:
            self.kills += 1
            return rng.uniform(1e-3, 2e-2), rng.choice(("dies", "dies", "hangs"))
        return rng.uniform(2e-3, 2e-2), "comes"

    def set_up_s(self) -> float:
        """How long an initializer takes."""
        return 1e-3 if self.network.fixed_order else self.loop.rng.uniform(1e-4, 5e-3)

    def exit_delay_s(self) -> float:
        """How long a worker's exit handlers take; a few exceed every grace."""
        if self.network.fixed_order:
            return 1e-3
        rng = self.loop.rng
        return rng.choice((1e-4, 1e-3, 1e-3, 1e-3, 1e-3, 0.1, 1.0, 100.0 if rng.random() < 0.3 else 0.01))

    def strikes(self, worker: Worker, step: str) -> bool:
        """SIGKILL at just this step of the worker's main thread, by chance."""
        if self.trap is not None:
            if not self.trap(worker, step):
                return False
        elif self.quiet or not self.plan.strike or self.loop.rng.random() >= self.plan.strike:
            return False
        self.strike(f"SIGKILL {worker.name}, {step}")
        self.kills += 1
        worker.die(9)
        return True

    def strike(self, what: str) -> None:
        """A fault strikes now."""
        self.last_fault_s = self.loop.now
        if self.trace:
            self.trace(f"{self.loop.now * 1000:10.3f} ms  !! {what}")

    def attached(self, worker: Worker) -> None:
        """A worker serves a lease: what the leases of its node ask for must fit the node."""
        self.attaches += 1
        used: dict[str, float] = {}
        for other in worker.host.workers.values():
            if other.alive and other.lease is not None and not other.ever_blocked and not other.retiring:
                if self.groups.in_bundle(other):
                    continue
                book = self.books.get((other.lease.owner, other.lease.pool))
                for name, amount in (book.resources if book else {}).items():
                    used[name] = used.get(name, 0.0) + amount
        used["CPU"] = used.get("CPU", 0.0) + self.groups.reserved(worker.machine)
        self.groups.attached(worker)
        for name, amount in used.items():
            if amount > worker.host.total.get(name, 0.0) + 1e-6:
                raise Violation(
                    "never_oversubscribed", f"{worker.machine}: {amount:g} {name} of {worker.host.total}"
                )

    def pool_broken(self, book: PoolBook, message: PoolBroken) -> None:
        if (
            book.setup_fails
            or self.kills >= 3
            or "tasks wait for tasks" in message.reason
            or self.ledger.lossy
        ):
            return
        why = message.reason if message.death is None else message.reason + message.death.reason
        if book.strategy.group and "was removed" in why:
            return
        gone = any(machine.has_left for machine in self.machines.values())
        if "no node has" in message.reason and (gone or not self._feasible(book)):
            return
        raise Violation("pools_break_with_cause", f"pool {book.number} of {book.owner}: {message!r}")

    def _feasible(self, book: PoolBook) -> bool:
        return any(
            all(machine.total.get(name, 0.0) >= amount for name, amount in book.resources.items())
            for machine in self.machines.values()
        )

    def pool_gone(self, book: PoolBook) -> None:
        """When a program is told that its pool is gone, no worker of it is left on any node that can be reached."""
        for job in book.jobs:
            if job.submitted and not job.outcome:
                raise Violation("told_before_gone", f"task {job.number} has no outcome, and its pool is gone")
        if book.owner in self.ledger.lossy:
            return
        for worker in self._workers():
            lease = worker.lease
            if lease is not None and (lease.owner, lease.pool) == (book.owner, book.number):
                raise Violation(
                    "terminated_means_gone", f"pool {book.number} is gone, and {worker.name} lives"
                )

    def uncertain(self) -> None:
        """A node or a link is lost: what ran there cannot be known, so "it may have run" is a fair answer."""
        self.ledger.lossy.update(shell.owner for shell in self.owners.values())
        self.ledger.lossy.update(shell.owner for shell in self.drivers)
        self.ledger.anything_lost = True

    def start_head(self) -> None:
        if self.head is None:
            self.headless_s = self.loop.now  # samples may have missed that it was away
            self.head = HeadShell(self)

    def stop_head(self) -> None:
        if self.head is not None:
            self.head.die()
            self.head = None

    def shells(self) -> Iterator[Shell]:
        yield from self.owners.values()
        yield from (machine.agent for machine in self.machines.values() if machine.agent is not None)
        if self.head is not None:
            yield self.head

    def processes(self) -> Iterator[Any]:
        yield from self.shells()
        yield from self._workers()

    def _workers(self) -> Iterator[Worker]:
        for machine in self.machines.values():
            for worker in machine.workers.values():
                if worker.alive:
                    yield worker

    # ----------------------------------------------------------------------------------- phases

    def run(self) -> None:
        """Both phases and the final account."""
        self.build()
        self.loop.run_until(SAFETY_S)
        faults.quiet(self)
        self.loop.run_until(self.loop.now + 5.0)
        self.crowds.last()
        self.groups.over()
        self._expect_answers()
        for shell in self._living_drivers():
            assert shell.program is not None
            for book in shell.program.pools.values():
                (shell.program.close if book.state == "open" else shell.program.terminate)(book)
        self._expect_end()
        for shell in self._living_drivers():
            self._account_owner(shell)
        for shell in self._living_drivers():
            shell.leave()
        self.loop.run_until(self.loop.now + 70.0)
        if self.plan.jobs:
            self.submitted.account()
        self.account_nodes()

    def _living_drivers(self) -> list[OwnerShell]:
        return [shell for shell in self.drivers if shell.alive]

    def _expect_answers(self) -> None:
        """Calls of actors end before these are closed: that would end them too."""
        calls = self.actors.open_calls
        if calls and not self.loop.run_until(self.loop.now + LIVENESS_S, lambda: not self.actors.open_calls):
            calls = self.actors.open_calls
            raise Violation("calls_end", f"{len(calls)} calls without an outcome, such as {calls[:3]}")

    def _expect_end(self) -> None:
        def over() -> bool:
            return not (self._open_jobs() or self.actors.open_calls) and all(
                s.program.finished for s in self._living_drivers() if s.program
            )

        if not self.loop.run_until(self.loop.now + LIVENESS_S, over):
            jobs = self._open_jobs()
            if calls := self.actors.open_calls:
                raise Violation(
                    "everything_ends", f"{len(calls)} calls without an outcome, such as {calls[:3]}"
                )
            if jobs:
                some = [(j.number, j.owner, j.pool.number, j.kind, sorted(j.running_on)) for j in jobs[:5]]
                raise Violation("everything_ends", f"{len(jobs)} tasks without an outcome, such as {some}")
            pools = [
                b
                for s in self._living_drivers()
                if s.program
                for b in s.program.pools.values()
                if b.state != "gone"
            ]
            raise Violation("pools_go", f"not gone: {[(b.owner, b.number, b.state) for b in pools]}")

    def _open_jobs(self) -> list[Any]:
        return list(self.ledger.open_jobs.values())

    def _account_owner(self, shell: OwnerShell) -> None:
        core = shell.core
        before = shell.ticks
        self.loop.run_until(self.loop.now + 20.0)
        if shell.ticks - before > 4:
            raise Violation(
                "idle_is_idle", f"{shell.name} had {shell.ticks - before} ticks in 20 s with nothing to do"
            )
        if core.pools or core.leases or core.outcomes.kill_at:
            raise Violation(
                "nothing_left",
                f"{shell.name}: pools {list(core.pools)}, leases {list(core.leases)}, {core.outcomes.kill_at}",
            )

    def account_nodes(self) -> None:
        """After the last owner has left nothing of it remains."""
        for worker in self._workers():
            raise Violation(
                "nothing_left", f"{worker.name} lives, serving {worker.lease}, after every owner has left"
            )
        for machine in self.machines.values():
            assert machine.agent is not None
            core = machine.agent.core
            left: dict[str, object] = {
                "owners": core.owners,
                "workers": core.workers,
                "leases": core.leases,
                "hungry": core.hungry,
                "owed": core.lending.owed,
            }
            if any(left.values()):
                raise Violation("nothing_left", f"{machine.name}: {left}")
            if core.free != core.total:
                raise Violation("nothing_left", f"{machine.name}: free {core.free} of {core.total}")
            other = {key for key in core.deadlines.at_s if key[0] not in ("heartbeat", "report")}
            if other:
                raise Violation("nothing_left", f"{machine.name}: deadlines {other}")
        self._account_head()
        self.groups.account()
        self.keys.account()

    def _account_head(self) -> None:
        said = sum(count for (to, _), count in self.network.counts.items() if to == "head")
        forks = sum(machine.forks for machine in self.machines.values())
        clock = len(self.machines) * (self.loop.now / self.limits.heartbeat_s)
        asked = sum(shell.questions for shell in self.drivers)  # by programs, and again on each new link
        bound = clock + 6 * (forks + self.attaches + 2 * self.kills + 20 * len(self.machines)) + 2 * asked
        bound += 5 * self.submitted.asked
        if said > bound:
            raise Violation(
                "head_hears_no_tasks", f"{said} messages to the head, {bound:.0f} expected at most"
            )

    # ----------------------------------------------------------------------------------- samples

    def _sample(self) -> None:
        """The oracles that watch for too long, each from the last fault on."""
        if self.network.partitions or any(m.agent is None for m in self.machines.values()):
            self.last_fault_s = self.loop.now  # it still lasts
        if self.head is None:
            self.headless_s = self.loop.now  # all goes on, but for what only a head can do
        self._sample_idle()
        self.actors.sample()
        calm = self.loop.now > self.last_fault_s + PATIENCE_S
        headed = self.loop.now > self.headless_s + PATIENCE_S
        self.groups.sample(calm=calm and headed)
        self.crowds.sample(calm=calm and headed)
        self.keys.sample(calm=calm and headed)
        if calm:
            self._sample_sizes()
            self._sample_staff()
            self._sample_cancels()
            self._sample_limits()
            self._sample_retiring()
        self.loop.after(SAMPLE_S, self._sample)

    def _sample_idle(self) -> None:
        """No worker is idle beyond a bound while its pool has pending work, unless something has just struck."""
        now = self.loop.now
        waiting: dict[tuple[str, int], bool] = {}
        for worker in self._workers():
            lease = worker.lease
            if (
                lease is None
                or not worker.ready
                or worker.busy
                or worker.queue
                or worker.retiring
                or worker.worn_s
            ):
                self.idle_since.pop(worker, None)
                continue
            key = (lease.owner, lease.pool)
            if key not in waiting:
                book = self.books[key]
                waiting[key] = book.state in ("open", "closed") and not book.broke and book.pending
            if not waiting[key]:
                self.idle_since.pop(worker, None)
                continue
            since = self.idle_since.setdefault(worker, now)
            if now - max(since, self.last_fault_s + PATIENCE_S) > IDLE_S:
                text = f"{worker.name} is idle since {since:.2f} s, and pool {key} has pending work"
                raise Violation("no_idle_worker_beside_work", text)
        self.idle_since = {worker: since for worker, since in self.idle_since.items() if worker.alive}

    def _sample_sizes(self) -> None:
        """A pool has no more workers than its size, but for those on their way out."""
        counts: dict[tuple[str, int], int] = {}
        for worker in self._workers():
            lease = worker.lease
            if lease is not None and worker.ready and not worker.retiring and self._is_taken_in(lease):
                key = (lease.owner, lease.pool)
                counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            book = self.books[key]
            if count > book.size and self.loop.now > book.sized_s + PATIENCE_S:
                raise Violation("size_respected", f"pool {key} of size {book.size} has {count} workers")

    def _is_taken_in(self, lease: Attach) -> bool:
        """Whether its owner, if it lives, has heard that it is ready, and has not told it to go."""
        owner = self.find_owner(lease.address)
        if owner is None:
            return True
        known = owner.core.leases.get(lease.lease)
        return known is not None and known.state is LeaseState.READY

    def _sample_staff(self) -> None:
        """A dedicated pool has as many workers as it asked for, but for a moment after one has gone."""
        counts: dict[tuple[str, int], int] = {}
        for worker in self._workers():
            attach = worker.lease or worker.told
            if attach is not None and not worker.retiring:
                key = (attach.owner, attach.pool)
                counts[key] = counts.get(key, 0) + 1
        now, understaffed = self.loop.now, {}
        for shell in self._living_drivers():
            for number, book in shell.program.pools.items() if shell.program else ():
                short = counts.get((book.owner, number), 0) < book.size
                if not short or not book.dedicated or book.state != "open" or book.setup_fails:
                    continue
                if book.strategy.group:
                    continue  # it may have more workers than fit into its bundles
                since = understaffed[book.owner, number] = self.understaffed.get((book.owner, number), now)
                if now - max(since, book.sized_s, self.last_fault_s) > PATIENCE_S:
                    raise Violation(
                        "workers_replaced",
                        f"pool {number} of {book.owner} is short of workers since {since:.2f} s",
                    )
        self.understaffed = understaffed

    def _sample_cancels(self) -> None:
        """Cancelling what runs ends it within the grace."""
        for job in self.ledger.open_jobs.values():
            late_s = max(job.cancelled_s, self.last_fault_s) + self.limits.cancel_grace_s + PATIENCE_S
            if job.cancel == "running" and self.loop.now > late_s:
                raise Violation(
                    "cancel_in_time",
                    f"task {job.number} ({job.kind}) was cancelled at {job.cancelled_s:.2f} s",
                )

    def _sample_limits(self) -> None:
        """Who runs for too long is told so in time, and then ended in time; a worker that is too big is replaced."""
        now, ledger = self.loop.now, self.ledger
        since_fault_s = self.last_fault_s + PATIENCE_S
        for job in ledger.open_jobs.values():
            if job.limit_s is None or not job.running_on or job.cancel == "running":
                continue
            if now > max(job.began_s + job.limit_s + OVERDUE_S, since_fault_s):
                raise Violation(
                    "overdue_told", f"task {job.number} has {job.limit_s} s, runs since {job.began_s:.2f} s"
                )
        ledger.overdue = [job for job in ledger.overdue if job.running_on]
        for job in ledger.overdue:
            if now > max(job.settled_s, self.last_fault_s) + self.limits.cancel_grace_s + PATIENCE_S:
                raise Violation("overdue_ends", f"task {job.number} is overdue, and runs on {job.running_on}")
        for worker in self._workers():
            if worker.worn_s and not worker.retiring and now > max(worker.worn_s + PATIENCE_S, since_fault_s):
                raise Violation("worn_replaced", f"{worker.name} is too big since {worker.worn_s:.2f} s")

    def let_go_unused(self, lease: Attach) -> None:
        """A worker is let go that has never had a task: a few are for nothing, but they do not come and go for ever."""
        if self.loop.now < self.last_fault_s + PATIENCE_S:
            return
        times = self.unused.setdefault((lease.owner, lease.pool), deque(maxlen=UNUSED_MAX))
        if len(times) == UNUSED_MAX and self.loop.now < times[0] + UNUSED_S:
            text = f"{UNUSED_MAX} workers of pool {lease.pool} of {lease.owner} in {UNUSED_S} s"
            raise Violation("workers_are_used", f"{text} have come and gone without a task")
        times.append(self.loop.now)

    def wears_out(self, job: Job) -> bool:
        """Whether this task has left its worker with more memory than that may have."""
        return bool(job.pool.wears) and self.more_chance.random() < job.pool.wears

    def _sample_retiring(self) -> None:
        """A worker that is on its way out leaves within the grace, once its tasks are done."""
        for worker in self._workers():
            late_s = worker.leaving_s + self.limits.retire_grace_s + PATIENCE_S
            if worker.leaving_s and self.loop.now > max(late_s, self.last_fault_s + PATIENCE_S):
                raise Violation("retire_in_time", f"{worker.name} began to leave at {worker.leaving_s:.2f} s")


def run(seed: int, trace: Callable[[str], None] | None = None) -> World:
    """Run the world of this seed to its end; raises Violation."""
    world = World(seed, trace=trace)
    world.run()
    return world
