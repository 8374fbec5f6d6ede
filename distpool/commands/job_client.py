"""A command's dealings with a cluster about jobs, over anything that passes: the head's death, a cut, a busy agent.

::

    JobClient.ask ── Asker ──► an answer            no answer, or no link: once more, by a new link, for ``PATIENCE_S``
    submit   packs and uploads, SubmitJob            what is said twice is done once: the client has made the job's name
    follow   a part of the log, JobQuery, a part of the log, ... until it has ended and all of it is read
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from distpool.cluster_commands import found_cluster
from distpool.cluster_file import load
from distpool.errors import ClusterError
from distpool.job_process import setting_of
from distpool.runtime_env_packing import Archive
from distpool.runtime_envs import prepare
from distpool.scheduler.messages import (
    JobFacts,
    JobQuery,
    JobSpec,
    JobsReport,
    StopJob,
    SubmitJob,
    Upload,
    Uploaded,
)
from distpool.scheduler.messages.insights import LogPart, LogWanted, unpack_log
from distpool.scheduler.messages.jobs import FAILED, JOB_PREFIX, STOPPED, SUCCEEDED
from distpool.scheduler.shells.asking import ANSWER_S, Asker
from distpool.scheduler.shells.logs import PART_BYTES_MAX

__all__ = ["FINAL", "JobClient", "is_job", "place_of", "show_end"]

FINAL = (SUCCEEDED, FAILED, STOPPED)
#: A head that has died is back within seconds.
PATIENCE_S = 60.0
PAUSE_S = 0.5
UPLOAD_BYTES = 1 << 20
#: The exit status of a job that has none of its own: it was not begun, or its node was lost.
NO_STATUS = 1
Answer = TypeVar("Answer")


def is_job(word: str) -> bool:
    """Whether this is the name of a job."""
    return word.startswith(JOB_PREFIX)


def place_of(file: str | None, address: str | None) -> tuple[str, str]:
    """Address and secret of a cluster: that of a file, a named one, or the one that is found. Raises ClusterError."""
    if file is None:
        return found_cluster(address)
    cluster = load(file)
    try:
        return cluster.address_path.read_text().strip(), cluster.secret_path.read_text().strip()
    except OSError as error:
        raise ClusterError(
            f"it is not known here where the cluster of {file} is ({error.strerror}): `distpool up {file}` finds out"
        ) from None


@dataclass
class JobClient:
    """``place``: address and secret."""

    place: tuple[str, str]
    _asker: Asker | None = field(default=None, init=False)

    def __enter__(self) -> JobClient:
        self._asker = Asker(*self.place)  # whoever cannot be reached at all is not waited for
        return self

    def __exit__(self, *_: object) -> None:
        if self._asker is not None:
            self._asker.close()

    # -------------------------------------------------------------------------------------- jobs

    def submit(self, words: Sequence[str], runtime_env: Mapping[str, Any]) -> JobFacts:
        """Hand in a job; it is sure to be run on return. Raises ClusterError, and what ``prepare`` raises."""
        job = JOB_PREFIX + _new_name()
        with tempfile.TemporaryDirectory(prefix="distpool-submit-") as folder:
            payload = prepare(runtime_env, folder).payload()
            setting = setting_of(payload)
            for archive in payload.archives:
                self._upload(archive)
        spec = JobSpec(job, tuple(words), setting, time.time())
        return self._one(lambda: self._ask(SubmitJob(0, spec), JobsReport))

    def jobs(self) -> tuple[JobFacts, ...]:
        """All that the head remembers."""
        return self._patiently(lambda: self._ask(JobQuery(0), JobsReport)).jobs

    def job(self, name: str) -> JobFacts:
        """One of them. Raises ClusterError: there is none of that name."""
        return self._one(lambda: self._ask(JobQuery(0, name), JobsReport))

    def stop(self, name: str) -> JobFacts:
        """Have it ended, if it has not."""
        return self._one(lambda: self._ask(StopJob(0, name), JobsReport))

    def wait_end(self, name: str, write: Callable[[bytes], None] | None = None, offset: int = 0) -> JobFacts:
        """Wait for its end; ``write`` is given what it prints from this offset of its log on."""
        while True:
            facts = self.job(name)  # first this, and then the log: so nothing of that is missed
            if write is not None:
                offset = self.write_log(facts, write, offset)
            if facts.state in FINAL:
                return facts
            time.sleep(PAUSE_S)

    def write_log(self, facts: JobFacts, write: Callable[[bytes], None], offset: int) -> int:
        """What there is of its log from an offset on; returns the offset of what is still to come."""
        while True:
            part = self.log_part(facts, offset)
            if part is None or not part.data:
                return offset
            if part.offset > offset > 0:
                print("\n... what was here has been removed: the log was too long ...", file=sys.stderr)
            write(part.data)
            offset = part.offset + len(part.data)

    def log_part(self, facts: JobFacts, offset: int, size: int = PART_BYTES_MAX) -> LogPart | None:
        """What it has printed; None: that is gone, with its node, or it has not begun."""
        about = msgspec.json.encode(LogWanted(0, offset, size, facts.job)).decode()

        def ask() -> LogPart | None:
            assert self._asker is not None
            surveyed = self._asker.survey("logs", owners=False, node=facts.node, about=about)
            if surveyed.missing or not surveyed.nodes or not surveyed.nodes[0].own:
                if facts.state in FINAL:
                    return None
                raise ClusterError(f"node {facts.node} does not answer")
            part = unpack_log(surveyed.nodes[0].own)
            return None if part.refusal else part

        try:
            return self._patiently(ask)
        except ClusterError:
            if self.job(facts.job).state in FINAL:
                return None  # it has gone with its node meanwhile
            raise

    # ---------------------------------------------------------------------------------- archives

    def _upload(self, archive: Archive) -> None:
        with open(archive.path, "rb") as file:
            size, offset, whole = os.fstat(file.fileno()).st_size, 0, False
            while not whole:
                file.seek(offset)
                data = file.read(UPLOAD_BYTES)
                last = offset + len(data) >= size
                part = Upload(0, archive.digest, offset, data, last)
                answer = self._patiently(lambda part=part: self._ask(part, Uploaded))  # type: ignore[misc]
                if answer.refusal:
                    raise ClusterError(f"{archive.label} cannot be sent: {answer.refusal}")
                offset, whole = answer.bytes, answer.whole

    # ------------------------------------------------------------------------------------ asking

    def _ask(self, question: Any, kind: type[Answer]) -> Answer:
        assert self._asker is not None
        answer: Any = self._asker.ask(question, kind, ANSWER_S)
        return answer  # type: ignore[no-any-return]

    def _one(self, ask: Callable[[], JobsReport]) -> JobFacts:
        report = self._patiently(ask)
        if report.refusal:
            raise ClusterError(report.refusal)
        return report.jobs[0]

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._asker is None:
                    self._asker = Asker(*self.place)
                return ask()
            except ClusterError:
                if time.monotonic() > until_s:
                    raise
                if self._asker is not None and self._asker.lost:
                    self._asker.close()
                    self._asker = None
                time.sleep(PAUSE_S)


def show_end(facts: JobFacts) -> str:
    """How it has ended, in a line; "" if there is nothing to say."""
    if facts.state == SUCCEEDED:
        return ""
    if facts.reason:
        return f"{facts.job} {'was stopped' if facts.state == STOPPED else 'has failed'}: {facts.reason}"
    return f"{facts.job} {'was stopped' if facts.state == STOPPED else f'has failed, with status {facts.status}'}"


def _new_name() -> str:
    import secrets

    return secrets.token_hex(5)
