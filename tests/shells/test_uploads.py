"""Archives that jobs bring along: parts come in order, from whomever, and what is there need not come again."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from distpool.scheduler.messages import JobSays, JobSpec, RunJob, Upload, Uploaded
from distpool.scheduler.shells import jobs
from distpool.scheduler.shells.jobs import PART_S, JobProcesses
from distpool.scheduler.shells.logs import Logs


@pytest.fixture
def node(tmp_path: Path) -> JobProcesses:
    return JobProcesses(zmq.Poller(), str(tmp_path), "tcp://127.0.0.1:1", Logs(str(tmp_path), 0))


def test_two_send_the_same_and_it_is_there_once(node: JobProcesses, tmp_path: Path) -> None:
    assert node.upload(Upload(1, "d1", 0, b"one ", False)) == Uploaded(1, 4, False)
    assert node.upload(Upload(2, "d1", 0, b"one ", False)) == Uploaded(2, 4, False), "that is there"
    assert node.upload(Upload(3, "d1", 4, b"two", True)) == Uploaded(3, 7, True)
    assert node.upload(Upload(4, "d1", 4, b"two", True)) == Uploaded(4, 7, True)
    assert [path.name for path in tmp_path.iterdir()] == ["d1.archive"]
    assert (tmp_path / "d1.archive").read_bytes() == b"one two"


def test_what_is_not_sent_to_its_end_goes(node: JobProcesses, tmp_path: Path) -> None:
    node.upload(Upload(1, "d1", 0, b"one ", False))
    node.tick(node.wake_s - PART_S / 2)
    assert [path.name for path in tmp_path.iterdir()] == ["d1.archive.part"]
    node.tick(node.wake_s)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", ["../up", "a/b", ""])
def test_a_name_is_no_path(node: JobProcesses, tmp_path: Path, digest: str) -> None:
    assert "is no digest" in node.upload(Upload(1, digest, 0, b"x", True)).refusal
    (says,) = node.do(RunJob(JobSpec(f"job-{digest}", ("true",))))
    assert isinstance(says, JobSays)
    assert says.state == "failed"
    assert list(tmp_path.iterdir()) == []


def test_it_has_its_limit(node: JobProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ARCHIVE_BYTES_MAX", 6)
    node.upload(Upload(1, "d1", 0, b"one ", False))
    assert "6 bytes at most" in node.upload(Upload(2, "d1", 4, b"two", True)).refusal
    assert list(tmp_path.iterdir()) == []
