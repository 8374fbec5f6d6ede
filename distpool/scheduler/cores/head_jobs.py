"""The head's jobs: who runs where, and how each has ended. The states of one::

    SubmitJob             JobSays                JobSays
    ─────────► pending ───────────► running ───────────► succeeded · failed (with the status, or why)
                  │                    │                 stopped (StopJob had come before)
                  └── its node is lost, or begins anew ──► failed

A job's process is its node's: it does not hear of the head's death, and what it has said meanwhile is said again. Each
step is journaled before it is answered. A node that was taken for dead with a job, and comes back with it, ends it:
somebody may have been told that it has failed, and have submitted it again.

What has ended is remembered, ``JOBS_MAX`` of all jobs in all. Not here: processes (``node_jobs``, ``shells.jobs``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from distpool.scheduler.messages import (
    EndJob,
    JobFacts,
    JobNoted,
    JobQuery,
    JobSays,
    JobSpec,
    JobsReport,
    Message,
    Record,
    RunJob,
    StopJob,
    SubmitJob,
)
from distpool.scheduler.messages.jobs import FAILED, PENDING, RUNNING, STOPPED, SUCCEEDED

JobQuestion = SubmitJob | StopJob | JobQuery

#: The table of the journal.
JOBS = "job"
JOBS_MAX = 1000
#: What is to be run and with what, of one job.
SPEC_BYTES_MAX = 64 << 10
FINAL = (SUCCEEDED, FAILED, STOPPED)


class Job(msgspec.Struct):
    """A job, as it is journaled. ``stopping``: somebody wants its end."""

    spec: JobSpec
    node: str
    state: str = PENDING
    stopping: bool = False
    status: int | None = None
    reason: str = ""

    def facts(self) -> JobFacts:
        """For people."""
        spec = self.spec
        return JobFacts(
            spec.job, self.node, spec.words, self.state, self.status, self.reason, spec.submitted_s
        )


class Jobs:
    """A part of ``HeadCore``. ``refusal`` says why a node takes no job, "" if it does."""

    def __init__(
        self,
        refusal: Callable[[str], str],
        send: Callable[[str, Message], None],
        record: Callable[[Record], None],
    ) -> None:
        self.jobs: dict[str, Job] = {}  # in the order in which they came
        self._refusal = refusal
        self._send = send
        self._record = record

    def restore(self, record: Record) -> None:
        """Take in what a former head has left."""
        assert record.value is not None
        job = msgspec.msgpack.decode(record.value, type=Job)
        self.jobs[record.key] = job

    # ------------------------------------------------------------------------------ what is asked

    def answer(self, node: str, question: JobQuestion) -> JobsReport:
        """Do what a command asks by way of the agent of ``node``."""
        match question:
            case JobQuery(request=request, job=""):
                return JobsReport(request, tuple(job.facts() for job in self.jobs.values()))
            case JobQuery(request=request, job=name):
                return self._report(request, name)
            case SubmitJob(request=request, spec=spec):
                return self._submit(request, node, spec)
            case StopJob(request=request, job=name):
                return self._stop(request, name)

    def _submit(self, request: int, node: str, spec: JobSpec) -> JobsReport:
        if spec.job not in self.jobs:
            if refusal := self._refusal(node) or self._no_room(spec):
                return JobsReport(request, (), refusal)
            self._set(Job(spec, node))
            self._send(f"agent:{node}", RunJob(spec))
        return self._report(request, spec.job)

    def _no_room(self, spec: JobSpec) -> str:
        """Why no job can be added; "" if it can: one that has ended is forgotten for it, if need be."""
        size = len(spec.setting) + sum(map(len, spec.words))
        if size > SPEC_BYTES_MAX:
            return (
                f"its words and settings have {size} bytes, and at most {SPEC_BYTES_MAX} are kept: use a file"
            )
        if len(self.jobs) >= JOBS_MAX:
            ended = next((name for name, job in self.jobs.items() if job.state in FINAL), None)
            if ended is None:
                return f"{JOBS_MAX} jobs are running or about to: stop some, or wait for their end"
            del self.jobs[ended]
            self._record(Record(JOBS, ended, None))
        return ""

    def _stop(self, request: int, name: str) -> JobsReport:
        job = self.jobs.get(name)
        if job is not None and job.state not in FINAL and not job.stopping:
            job.stopping = True
            self._set(job)
            self._send(f"agent:{job.node}", EndJob(name))
        return self._report(request, name)

    def _report(self, request: int, name: str) -> JobsReport:
        job = self.jobs.get(name)
        if job is None:
            return JobsReport(
                request, (), f"there is no job {name}: `distpool jobs` lists those that there are"
            )
        return JobsReport(request, (job.facts(),))

    # ------------------------------------------------------------------------------ what nodes say

    def heard(self, node: str, says: JobSays) -> None:
        """What has become of a job on this node."""
        job = self.jobs.get(says.job)
        ours = job is not None and job.node == node and job.state not in FINAL
        if says.state in FINAL:
            if ours:
                assert job is not None
                self._end(job, STOPPED if job.stopping else says.state, says.status, says.reason)
            self._send(f"agent:{node}", JobNoted(says.job))
        elif not ours:
            self._send(f"agent:{node}", EndJob(says.job))
        elif job is not None and job.state == PENDING:
            job.state = RUNNING
            self._set(job)

    def node_says_hello(self, node: str) -> None:
        """Tell it again what it may not have heard. What it has to say of its jobs it says by itself."""
        for name, job in self.jobs.items():
            if job.node == node and job.state == PENDING:
                self._send(f"agent:{node}", RunJob(job.spec))
            if job.node == node and job.state not in FINAL and job.stopping:
                self._send(f"agent:{node}", EndJob(name))

    def node_gone(self, node: str, why: str) -> None:
        """All that ran there is gone."""
        for job in self.jobs.values():
            if job.node == node and job.state not in FINAL:
                self._end(job, FAILED, None, why)

    def _end(self, job: Job, state: str, status: int | None, reason: str) -> None:
        job.state, job.status, job.reason, job.stopping = state, status, reason, False
        self._set(job)

    def _set(self, job: Job) -> None:
        self.jobs[job.spec.job] = job
        self._record(Record(JOBS, job.spec.job, msgspec.msgpack.encode(job)))

    def check(self, nodes: Mapping[str, object]) -> None:
        """Assert every invariant."""
        assert len(self.jobs) <= JOBS_MAX
        for name, job in self.jobs.items():
            assert job.spec.job == name
            assert job.state in FINAL or job.node in nodes, f"{name} is {job.state} on a node that is gone"
            assert job.state in (PENDING, RUNNING) or not job.stopping
