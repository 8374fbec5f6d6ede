"""Jobs: programs that were handed to a cluster, and go on when whoever did that has left.

::

    asker ── Upload, Upload, ... ──► agent: an archive, as a file of its node
          ── SubmitJob, StopJob, JobQuery ──► agent ── Asked ──► head ── RunJob, EndJob ──► agent ──► a process
          ◄── JobsReport ──                                         ◄── JobSays ───
                                                                     ── JobNoted (it need not be said again) ──►

A job runs on the node whose agent was asked. The asker has made its name, so that what is said twice is done once.
"""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message

__all__ = [
    "EndJob",
    "JobFacts",
    "JobNoted",
    "JobQuery",
    "JobSays",
    "JobSpec",
    "JobsReport",
    "RunJob",
    "StopJob",
    "SubmitJob",
    "Upload",
    "Uploaded",
]

#: The states of a job; the last three are for ever.
PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED = "pending", "running", "succeeded", "failed", "stopped"
#: How the name of a job begins.
JOB_PREFIX = "job-"


class JobSpec(msgspec.Struct, frozen=True, array_like=True):
    """``words`` are run; ``setting`` is for the job's process alone (see ``distpool.job_process``).

    ``submitted_s``: when, in seconds since 1970 by the submitter's clock; for people.
    """

    job: str
    words: tuple[str, ...]
    setting: bytes = b""
    submitted_s: float = 0.0


class JobFacts(msgspec.Struct, frozen=True, array_like=True):
    """A job as the head knows it. ``status``: the program's exit status, once it has one. ``reason``: of a failure."""

    job: str
    node: str
    words: tuple[str, ...]
    state: str
    status: int | None = None
    reason: str = ""
    submitted_s: float = 0.0


class SubmitJob(Message, frozen=True):
    """Run this on the asker's node; answered once it is sure to be run."""

    request: int
    spec: JobSpec


class StopJob(Message, frozen=True):
    """End a job; answered at once, with it as it is by then."""

    request: int
    job: str


class JobQuery(Message, frozen=True):
    """Which jobs are there? Or only this one."""

    request: int
    job: str = ""


class JobsReport(Message, frozen=True):
    """They are these, in the order in which they came. ``refusal``: why what was asked for is not done."""

    request: int
    jobs: tuple[JobFacts, ...]
    refusal: str = ""


class Upload(Message, frozen=True):
    """A part of an archive, whose digest names it; one with ``last`` makes it whole.

    It is taken if just so much is there as comes before it. Several may upload the same, each going on where it is.
    """

    request: int
    digest: str
    offset: int
    data: bytes
    last: bool


class Uploaded(Message, frozen=True):
    """So much of it is there; ``whole``: all of it. ``refusal``: why no more is taken."""

    request: int
    bytes: int
    whole: bool
    refusal: str = ""


class RunJob(Message, frozen=True):
    """Start a job, unless it has been started."""

    spec: JobSpec


class EndJob(Message, frozen=True):
    """End a job; that it has ended is said whether or not there was one."""

    job: str


class JobSays(Message, frozen=True):
    """What has become of a job: it is running, or has ended with this status, or was not begun, and why."""

    job: str
    state: str
    status: int | None = None
    reason: str = ""


class JobNoted(Message, frozen=True):
    """The end of this job is known for good."""

    job: str
