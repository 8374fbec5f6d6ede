"""Jobs, in the head and in the node that runs them: messages in, messages out."""

from __future__ import annotations

import pytest

from distpool.scheduler.cores import head_jobs
from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.head_jobs import SPEC_BYTES_MAX
from distpool.scheduler.cores.node_jobs import NodeJobs
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    EndJob,
    HeadQuestion,
    JobFacts,
    JobNoted,
    JobQuery,
    JobSays,
    JobSpec,
    JobsReport,
    LinkLost,
    Message,
    NodeBye,
    NodeFacts,
    NodeHello,
    NodeReport,
    Record,
    RunJob,
    StopJob,
    SubmitJob,
    WakeAt,
)
from distpool.scheduler.shells.journal import MemoryJournal

A = NodeFacts("a", "tcp://a", {"CPU": 4.0}, {"CPU": 4.0})
B = NodeFacts("b", "tcp://b", {"CPU": 4.0}, {"CPU": 4.0})
SPEC = JobSpec("job-1", ("python", "x.py"), b"{}", 7.0)
ON_A = JobFacts("job-1", "a", SPEC.words, "pending", submitted_s=7.0)
ABOUT_JOBS = (RunJob, EndJob, JobNoted)


class Cluster:
    """A head with a journal, which can be killed; nodes ``a`` and ``b`` have joined."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.restart()
        self.hello(A)
        self.hello(B)

    def restart(self) -> None:
        self.core = HeadCore(DEFAULTS)
        self.core.restore(self.journal.load(), 0.0)
        self.core.check()

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        """What is said of jobs."""
        out = self.core.receive(sender, message, 0.0)
        self.core.check()
        self.journal.keep(m for _, m in out if isinstance(m, Record))
        self.all = [(to, m) for to, m in out if not isinstance(m, WakeAt | Record)]
        return [(to, m) for to, m in self.all if isinstance(m, ABOUT_JOBS)]

    def hello(self, facts: NodeFacts, incarnation: int = 1) -> list[tuple[str, Message]]:
        return self.tell(f"agent:{facts.node}", NodeHello(incarnation, facts))

    def ask(self, node: str, question: HeadQuestion) -> JobsReport:
        self.said = self.tell(f"agent:{node}", Asked("?command", question))
        (answer,) = [m.answer for _, m in self.all if isinstance(m, Answered)]
        assert isinstance(answer, JobsReport)
        return answer

    def says(self, node: str, state: str, status: int | None = None, reason: str = "") -> object:
        return self.tell(f"agent:{node}", JobSays("job-1", state, status, reason))

    def state(self) -> tuple[str, int | None, str]:
        (facts,) = self.ask("b", JobQuery(9, "job-1")).jobs
        return facts.state, facts.status, facts.reason


@pytest.fixture
def cluster() -> Cluster:
    """With a job that has been handed in at ``a``."""
    made = Cluster()
    assert made.ask("a", SubmitJob(1, SPEC)) == JobsReport(1, (ON_A,))
    assert made.said == [("agent:a", RunJob(SPEC))]
    return made


def test_a_jobs_way(cluster: Cluster) -> None:
    assert cluster.says("a", "running") == []
    assert cluster.state() == ("running", None, "")
    assert cluster.says("a", "succeeded", 0) == [("agent:a", JobNoted("job-1"))]
    assert cluster.state() == ("succeeded", 0, "")


def test_it_is_taken_once_however_often_it_is_handed_in(cluster: Cluster) -> None:
    assert cluster.ask("b", SubmitJob(2, SPEC)) == JobsReport(2, (ON_A,))
    assert cluster.said == []


def test_it_is_journaled_before_it_is_said(cluster: Cluster) -> None:
    out = cluster.core.receive("agent:b", Asked("?c", SubmitJob(3, JobSpec("job-2", ("x",)))), 0.0)
    kinds = [type(message) for _, message in out]
    assert kinds.index(Record) < min(kinds.index(RunJob), kinds.index(Answered))


def test_somebody_stops_it(cluster: Cluster) -> None:
    cluster.says("a", "running")
    assert cluster.ask("b", StopJob(2, "job-1")).jobs[0].state == "running"
    assert cluster.said == [("agent:a", EndJob("job-1"))]
    cluster.ask("b", StopJob(3, "job-1"))
    assert cluster.said == [], "that has been said"
    cluster.says("a", "failed", 143, "it was killed by SIGTERM")
    assert cluster.state()[0] == "stopped"
    assert cluster.ask("b", StopJob(4, "job-1")).jobs[0].state == "stopped"


def test_a_job_that_nobody_knows() -> None:
    cluster = Cluster()
    for question in (StopJob(1, "job-9"), JobQuery(1, "job-9")):
        assert "there is no job job-9: `distpool jobs`" in cluster.ask("a", question).refusal


@pytest.mark.parametrize("end", [LinkLost(), NodeBye(1)])
def test_its_node_is_lost(cluster: Cluster, end: Message) -> None:
    cluster.says("a", "running")
    cluster.tell("agent:a", end)
    assert cluster.state() == ("failed", None, "node a was lost, or has ended")


def test_its_node_was_taken_for_dead_and_still_has_it(cluster: Cluster) -> None:
    """Somebody may have handed it in again: so its late answer is nobody's, and it is ended."""
    cluster.tell("agent:a", LinkLost())
    assert cluster.hello(A) == []
    assert cluster.says("a", "running") == [("agent:a", EndJob("job-1"))]
    assert cluster.says("a", "succeeded", 0) == [("agent:a", JobNoted("job-1"))]
    assert cluster.state()[0] == "failed"


def test_its_node_begins_anew_while_the_head_is_away(cluster: Cluster) -> None:
    cluster.says("a", "running")
    cluster.restart()
    assert cluster.hello(A, incarnation=2) == []
    cluster.hello(B)
    assert cluster.state() == ("failed", None, "node a has ended, and been started again")


def test_the_head_dies_before_its_node_has_heard_of_it(cluster: Cluster) -> None:
    cluster.restart()
    assert cluster.hello(A) == [("agent:a", RunJob(SPEC))]


def test_the_head_dies_before_its_node_has_heard_that_it_is_to_end(cluster: Cluster) -> None:
    cluster.says("a", "running")
    cluster.ask("b", StopJob(2, "job-1"))
    cluster.restart()
    assert cluster.hello(A) == [("agent:a", EndJob("job-1"))]
    cluster.hello(B)
    cluster.says("a", "succeeded", 0)
    assert cluster.state()[0] == "stopped"


def test_the_head_dies_and_the_job_goes_on(cluster: Cluster) -> None:
    cluster.says("a", "running")
    cluster.restart()
    assert cluster.hello(A) == []
    cluster.hello(B)
    assert cluster.state() == ("running", None, "")


def test_a_node_that_is_to_go_takes_none(cluster: Cluster) -> None:
    cluster.tell("agent:b", NodeReport(1, {"CPU": 4.0}, draining=True))
    assert "is about to go" in cluster.ask("b", SubmitJob(5, JobSpec("job-2", ("x",)))).refusal


def test_it_has_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_jobs, "JOBS_MAX", 20)
    cluster = Cluster()
    big = JobSpec("job-0", ("x" * SPEC_BYTES_MAX, "y"))
    assert "at most" in cluster.ask("a", SubmitJob(1, big)).refusal
    for number in range(1, 21):
        assert not cluster.ask("a", SubmitJob(number, JobSpec(f"job-{number}", ("x",)))).refusal
    more = SubmitJob(1, JobSpec("job-more", ("x",)))
    assert "20 jobs are running" in cluster.ask("a", more).refusal
    cluster.tell("agent:a", JobSays("job-7", "succeeded", 0))
    assert not cluster.ask("a", more).refusal
    assert "there is no job job-7" in cluster.ask("a", JobQuery(1, "job-7")).refusal, "it made room"


# ------------------------------------------------------------------------------------------- the node's side


class Node:
    """What a node's jobs say, since the last look."""

    def __init__(self) -> None:
        self.out: list[tuple[str, Message]] = []
        self.jobs = NodeJobs(lambda to, message: self.out.append((to, message)))

    def said(self) -> list[tuple[str, Message]]:
        out, self.out = self.out, []
        return out


def test_a_node_starts_it_once_and_says_what_it_knows() -> None:
    node = Node()
    node.jobs.from_head(RunJob(SPEC))
    assert node.said() == [("jobs", RunJob(SPEC))]
    running = JobSays("job-1", "running")
    node.jobs.from_shell(running)
    node.jobs.from_head(RunJob(SPEC))
    assert node.said() == [("head", running), ("head", running)]
    assert node.jobs.running == 1


def test_a_node_says_its_end_until_that_is_noted() -> None:
    node = Node()
    node.jobs.from_head(RunJob(SPEC))
    ended = JobSays("job-1", "failed", 3)
    node.jobs.from_shell(ended)
    node.said()
    node.jobs.say_all()
    node.jobs.from_head(EndJob("job-1"))
    assert node.said() == [("head", ended), ("head", ended)]
    node.jobs.from_head(JobNoted("job-1"))
    node.jobs.say_all()
    assert node.said() == []
    assert node.jobs.known == {}


def test_a_node_ends_what_runs_and_says_so_of_what_does_not() -> None:
    node = Node()
    node.jobs.from_head(EndJob("job-1"))
    assert node.said() == [("head", JobSays("job-1", "stopped", None, "it was not running"))]
    node.jobs.from_head(RunJob(SPEC))
    node.jobs.from_head(EndJob("job-1"))
    assert node.said() == [("jobs", RunJob(SPEC)), ("jobs", EndJob("job-1"))]
