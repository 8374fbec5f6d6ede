"""The session directory: private, short enough, swept when its session is dead and never before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distpool.scheduler.shells import session_dir


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Two candidates of the test's own, with short names; nobody else's sessions are swept by these tests."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="dp") as root:
        parents = [Path(root) / "a", Path(root) / "b"]
        for parent in parents:
            parent.mkdir()
        monkeypatch.setattr(session_dir, "_parents", lambda: [str(parent) for parent in parents])
        yield parents


def test_a_new_directory_is_private_and_locked(places: list[Path]) -> None:
    path, lock = session_dir.create()
    assert os.path.dirname(path) == str(places[0])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert session_dir.sweep() == []
    os.close(lock)
    assert session_dir.sweep() == [path]
    assert not os.path.exists(path)


def test_the_lock_lives_as_long_as_any_process_that_inherited_it() -> None:
    path, lock = session_dir.create()
    code = "import sys; print('here', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=(lock,), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    os.close(lock)
    assert session_dir.sweep() == []
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert session_dir.sweep() == [path]


def test_a_place_that_is_too_long_or_cannot_be_written_is_passed_over(
    places: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 200)
    long.mkdir()
    monkeypatch.setattr(
        session_dir, "_parents", lambda: [str(long), str(tmp_path / "missing"), str(places[1])]
    )
    path, lock = session_dir.create()
    os.close(lock)
    assert os.path.dirname(path) == str(places[1])
    monkeypatch.setattr(session_dir, "_parents", lambda: [str(long)])
    with pytest.raises(OSError, match="set TMPDIR"):
        session_dir.create()


def test_nothing_else_is_swept(places: list[Path], tmp_path: Path) -> None:
    parent = places[0]
    mine = f"{session_dir.PREFIX}-{os.getuid()}-"
    target = tmp_path / "target"
    target.mkdir()
    (target / "lock").touch()
    (parent / f"{mine}link").symlink_to(target)
    (parent / f"{mine}file").touch()
    for name in (f"{session_dir.PREFIX}-{os.getuid() + 1}-other-user", "unrelated", f"{mine}being-made"):
        (parent / name).mkdir()
    (parent / "unrelated" / "lock").touch()
    before = sorted(os.listdir(parent))
    assert session_dir.sweep() == []
    assert sorted(os.listdir(parent)) == before
    assert (target / "lock").exists()


def test_a_directory_whose_maker_died_before_it_had_a_lock_goes_in_time(places: list[Path]) -> None:
    path = places[0] / f"{session_dir.PREFIX}-{os.getuid()}-old"
    path.mkdir()
    os.utime(path, (0, 0))
    assert session_dir.sweep() == [str(path)]


def test_a_maker_that_met_a_sweeper_makes_another(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open
    swept: list[str] = []

    def open_and_be_swept(path: str, *args: int) -> int:
        """Between the making of the lock file and the taking of the lock, another session's start sweeps."""
        fd = real_open(path, *args)
        if not swept:
            swept.append(path)
            assert session_dir.sweep() == [os.path.dirname(path)]
        return fd

    with monkeypatch.context() as patch:
        patch.setattr(session_dir.os, "open", open_and_be_swept)
        path, lock = session_dir.create()
    assert os.path.dirname(swept[0]) != path
    assert os.path.exists(f"{path}/lock")
    os.close(lock)


def test_removing_twice_is_harmless() -> None:
    path, lock = session_dir.create()
    os.close(lock)
    session_dir.remove(path)
    session_dir.remove(path)
    assert not os.path.exists(path)
