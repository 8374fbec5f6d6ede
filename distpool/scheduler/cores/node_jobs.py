"""A node's jobs: each is started once, and its end is said until the head has noted it.

::

    head ── RunJob ──► known? say it again : ("jobs", RunJob) ──► shell: a process
         ── EndJob ──► running? ("jobs", EndJob)              ◄── JobSays ──
         ◄── JobSays ── what the shell says, and all of it again whenever the head has taken us in (again)
         ── JobNoted ──► forgotten, if it has ended

Not here: processes (``shells.jobs``); who ran where (``head_jobs``).
"""

from __future__ import annotations

from collections.abc import Callable

from distpool.scheduler.messages import EndJob, JobNoted, JobSays, Message, RunJob
from distpool.scheduler.messages.jobs import PENDING, RUNNING, STOPPED


class NodeJobs:
    """A part of ``NodeCore``."""

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        self.known: dict[str, JobSays] = {}  # what was last heard of each
        self._send = send

    @property
    def running(self) -> int:
        """How many have not ended."""
        return sum(says.state in (PENDING, RUNNING) for says in self.known.values())

    def from_head(self, message: RunJob | EndJob | JobNoted) -> None:
        """The head wants something."""
        match message:
            case RunJob(spec=spec) if spec.job not in self.known:
                self.known[spec.job] = JobSays(spec.job, PENDING)
                self._send("jobs", message)
            case RunJob(spec=spec):
                self._say(self.known[spec.job])
            case EndJob(job=job) if job not in self.known:
                self._say(JobSays(job, STOPPED, reason="it was not running"))
            case EndJob(job=job):
                if self.known[job].state in (PENDING, RUNNING):
                    self._send("jobs", message)
                else:
                    self._say(self.known[job])
            case JobNoted(job=job):
                if job in self.known and self.known[job].state not in (PENDING, RUNNING):
                    del self.known[job]

    def from_shell(self, says: JobSays) -> None:
        """Something has become of a job's process."""
        self.known[says.job] = says
        self._say(says)

    def say_all(self) -> None:
        """A head has taken us in, which may not have heard what we had said."""
        for says in self.known.values():
            self._say(says)

    def _say(self, says: JobSays) -> None:
        if says.state != PENDING:  # that it knows
            self._send("head", says)
