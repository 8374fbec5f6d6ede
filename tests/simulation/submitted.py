"""Jobs that commands hand in at the agents of a world, their processes, and the oracles that judge both.

Commands come at any time to any node, say what they want twice by chance, ask for the end of some, and the head may
die. So, whatever strikes::

    once        a job's process is started at most once
    kept        whoever was told that a job is taken finds it at the head, whichever that is by then
    ends        each of them ends, with what its process has ended with; or failed, if its node was lost
    for ever    what somebody was told of its end stays so, and nothing of it runs on
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.scheduler.cores.head_jobs import JOBS
from distpool.scheduler.messages import (
    EndJob,
    JobFacts,
    JobQuery,
    JobSays,
    JobSpec,
    JobsReport,
    RunJob,
    StopJob,
    SubmitJob,
)
from distpool.scheduler.messages.jobs import FAILED, RUNNING, STOPPED, SUCCEEDED

from .loop import Violation
from .plan import SAFETY_S

if TYPE_CHECKING:
    from .machine import AgentShell
    from .world import World

FINAL = (SUCCEEDED, FAILED, STOPPED)
#: The longest job takes so long; beyond, what was said of it must have come through.
LONGEST_S = 15.0
SETTLE_S = 40.0


@dataclass
class Handed:
    """A job, as those who watch from outside know it."""

    spec: JobSpec
    duration_s: float
    status: int
    taken: bool = False  # somebody was told so
    starts: int = 0
    runs_on: AgentShell | None = None
    stop_wanted: bool = False
    told: JobFacts | None = field(default=None)  # how it has ended, as somebody was told


class Submitted:
    """All of it, of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.submit_chance
        self.jobs: dict[str, Handed] = {}
        self.asked = 0  # messages to the head that have to do with jobs, at most

    def schedule(self) -> None:
        """When commands come, and when the head dies."""
        loop, chance = self.world.loop, self.chance
        for number in range(chance.randint(1, 6)):
            name = f"job-{number}"
            spec = JobSpec(name, ("program", str(number)))
            self.jobs[name] = Handed(spec, chance.uniform(0.0, LONGEST_S), chance.choice((0, 0, 3)))
            at_s = chance.uniform(0.0, SAFETY_S)
            node = chance.choice(list(self.world.machines))
            for again_s in (0.0, chance.uniform(0.0, 3.0))[: chance.choice((1, 2))]:
                loop.after(at_s + again_s, self._ask, SubmitJob(0, spec), node)
            if chance.random() < 0.4:
                loop.after(at_s + chance.uniform(0.0, 4.0), self._stop, name)
            for _ in range(3):
                loop.after(at_s + chance.uniform(0.0, 10.0), self._ask, JobQuery(0, name))
        for _ in range(chance.choice((0, 1, 3))):
            loop.after(chance.uniform(0.05, SAFETY_S), self._kill_head)
        if self.world.plan.crashes:
            loop.after(chance.uniform(0.05, SAFETY_S), self._kill_head, True)

    def kept(self, table: str) -> None:
        """The head has journaled something: by chance it dies before anybody hears of it, or just after."""
        if table == JOBS and self.world.plan.jobs and self.chance.random() < 0.05:
            self.world.loop.after(0.0, self._kill_head)

    def _kill_head(self, with_node: bool = False) -> None:
        """``with_node``: a node dies at the same time, and begins anew before there is a head again."""
        world, chance = self.world, self.chance
        if world.quiet:
            return
        world.stop_head()
        if with_node:
            machine = world.machines[chance.choice(list(world.machines))]
            world.uncertain()
            world.last_fault_s = world.loop.now
            machine.crash()
            world.loop.after(0.05, machine.boot)
        world.loop.after(chance.choice((0.0, 0.1, 2.0)), world.start_head)

    def hand_in(self, name: str, node: str, duration_s: float, status: int = 0) -> None:
        """A command hands in a job, now."""
        spec = JobSpec(name, ("program",))
        self.jobs[name] = Handed(spec, duration_s, status)
        self._ask(SubmitJob(0, spec), node)

    def look(self, name: str, node: str) -> None:
        """A command looks at it, now."""
        self._ask(JobQuery(0, name), node)

    def _stop(self, name: str) -> None:
        self.jobs[name].stop_wanted = True
        self._ask(StopJob(0, name))

    def _ask(self, question: Any, node: str = "") -> None:
        """A command asks at an agent; it is gone with that."""
        machine = self.world.machines[node or self.chance.choice(list(self.world.machines))]
        self.asked += 1
        if machine.agent is not None:
            machine.agent.hear(f"asker:c{self.asked}", msgspec.structs.replace(question, request=self.asked))

    # ------------------------------------------------------------------------------ what agents say

    def answered(self, report: JobsReport) -> None:
        """A command is answered."""
        for facts in report.jobs:
            handed = self.jobs[facts.job]
            handed.taken = True
            if facts.state in FINAL:
                if handed.told is not None and handed.told != facts:
                    raise Violation("ends_for_ever", f"{handed.told} has become {facts}")
                handed.told = facts

    def do(self, agent: AgentShell, message: Any) -> None:
        """The agent wants something of its shell."""
        self.asked += 3
        match message:
            case RunJob(spec=spec):
                handed = self.jobs[spec.job]
                handed.starts += 1
                if handed.starts > 1:
                    raise Violation("runs_once", f"{spec.job} is started again, on {agent.name}")
                handed.runs_on = agent
                self.world.loop.after(0.0, agent.hear, "jobs", JobSays(spec.job, RUNNING))
                self.world.loop.after(handed.duration_s, self._end, handed, handed.status, agent)
            case EndJob(job=job):
                self.world.loop.after(0.3, self._end, self.jobs[job], None, agent)

    def _end(self, handed: Handed, status: int | None, agent: AgentShell) -> None:
        if handed.runs_on is agent:
            handed.runs_on = None
            state = SUCCEEDED if status == 0 else FAILED
            agent.hear("jobs", JobSays(handed.spec.job, state, status))

    def agent_dies(self, agent: AgentShell) -> None:
        """Its children go with it."""
        for handed in self.jobs.values():
            if handed.runs_on is agent:
                handed.runs_on = None

    # --------------------------------------------------------------------------------- oracles

    def account(self) -> None:
        """All that was taken has ended, and as it should."""
        world = self.world
        world.loop.run_until(world.loop.now + SETTLE_S)
        assert world.head is not None
        known = world.head.core.jobs.jobs
        for name, handed in self.jobs.items():
            if handed.runs_on is not None:
                raise Violation("ends_for_ever", f"{name} runs on, on {handed.runs_on.name}")
            job = known.get(name)
            if job is None:
                if handed.taken:
                    raise Violation("jobs_are_kept", f"{name} was taken, and is not known any more")
                continue
            if job.state not in FINAL:
                raise Violation("jobs_end", f"{name} is {job.state} at the end")
            if handed.told is not None and handed.told != job.facts():
                raise Violation("ends_for_ever", f"{handed.told} has become {job.facts()}")
            self._judge(handed, job.facts())
        for machine in world.machines.values():
            assert machine.agent is not None
            if left := machine.agent.core.jobs.known:
                raise Violation("nothing_left", f"{machine.name} remembers {left}")

    def _judge(self, handed: Handed, facts: JobFacts) -> None:
        lost = self.world.ledger.anything_lost or self.world.plan.jumps
        lost = lost or self.world.machines[facts.node].has_left
        right = (SUCCEEDED if handed.status == 0 else FAILED, handed.status)
        ended_well = (facts.state, facts.status) == right
        stopped = facts.state == STOPPED and handed.stop_wanted
        node_lost = facts.state == FAILED and facts.status is None and bool(facts.reason) and lost
        if not (ended_well or stopped or node_lost):
            raise Violation("ends_right", f"{facts}, of a job that ends with {handed.status}")


def add(plan: Any, chance: Any) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were jobs."""
    plan.jobs = chance.random() < 0.2
