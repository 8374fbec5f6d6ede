"""The folder for caches: made once, kept while it is used, and swept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distpool import runtime_env_cache
from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_env_cache import AGE_S_MAX, Cache, Deadline, cache_directory
from tests.runtime_env.workers import ROOT, Place

#: Uses an entry, says so, and goes on until its standard input ends.
USER = """
import sys
from distpool.runtime_env_cache import Cache, Deadline
Cache(sys.argv[1]).use(sys.argv[2], lambda path, lock: None, Deadline(-1))
print("used", flush=True)
sys.stdin.read()
"""


class Entries:
    """A cache, and what was made in it."""

    def __init__(self, folder: Path) -> None:
        self.cache = Cache(str(folder))
        self.made: list[str] = []

    def use(self, name: str, size_bytes: int = 100, session: str = "") -> str:
        def make(path: str, _lock: int) -> None:
            self.made.append(name)
            with open(f"{path}/data", "wb") as file:
                file.write(os.urandom(size_bytes))

        return self.cache.use(name, make, Deadline(5), session)

    def names(self) -> set[str]:
        return {name for name in os.listdir(self.cache.directory) if not name.endswith(".lock")}

    def age(self, name: str, age_s: float) -> None:
        then = time.time() - age_s
        os.utime(f"{self.cache.directory}/{name}.lock", (then, then))


@pytest.fixture
def entries(place: Place) -> Entries:
    return Entries(place.cache)


def test_an_entry_is_made_once(entries: Entries) -> None:
    path = entries.use("a")
    assert entries.use("a") == path
    runtime_env_cache.release_all()
    assert entries.use("a") == path
    assert entries.made == ["a"]
    assert os.listdir(path) == ["data"]


def test_what_was_removed_behind_its_back_is_made_again(entries: Entries) -> None:
    path = entries.use("a")
    os.unlink(f"{path}/data")
    os.rmdir(path)
    assert os.listdir(entries.use("a")) == ["data"]
    assert entries.made == ["a", "a"]


def test_an_entry_that_fails_leaves_nothing_and_can_be_tried_again(entries: Entries) -> None:
    def fail(path: str, _lock: int) -> None:
        os.mkdir(f"{path}/half")
        raise RuntimeEnvSetupError("no")

    with pytest.raises(RuntimeEnvSetupError, match="no"):
        entries.cache.use("a", fail, Deadline(5))
    assert entries.names() == set()
    entries.use("a")
    assert entries.made == ["a"]


def test_read_only_folders_in_it_are_no_obstacle(entries: Entries) -> None:
    def make(path: str, _lock: int) -> None:
        os.makedirs(f"{path}/a/b")
        os.chmod(f"{path}/a/b", 0o500)
        os.chmod(f"{path}/a", 0o500)

    entries.cache.use("a", make, Deadline(5))
    runtime_env_cache.release_all()
    assert entries.cache.sweep(time.time() + 2 * AGE_S_MAX) == ["a"]
    assert os.listdir(entries.cache.directory) == []


def test_old_entries_are_swept_unless_they_are_used(entries: Entries) -> None:
    for name in ("old", "new", "used"):
        entries.use(name)
    runtime_env_cache.release_all()
    for name in ("old", "used"):
        entries.age(name, AGE_S_MAX + 60)
    held = entries.use("used")
    entries.age("used", AGE_S_MAX + 60)
    assert entries.cache.sweep() == ["old"]
    assert entries.names() == {"new", "used"}
    assert os.listdir(held) == ["data"]


def test_use_makes_young_again(entries: Entries) -> None:
    entries.use("a")
    runtime_env_cache.release_all()
    entries.age("a", AGE_S_MAX + 60)
    entries.use("a")
    runtime_env_cache.release_all()
    assert entries.cache.sweep() == []


def test_what_another_process_uses_stays_until_it_ends(entries: Entries) -> None:
    entries.use("a")
    runtime_env_cache.release_all()
    user = subprocess.Popen(
        [sys.executable, "-c", USER, entries.cache.directory, "a"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == b"used\n"
        much_later = time.time() + 2 * AGE_S_MAX
        assert entries.cache.sweep(much_later) == []
        user.kill()
        user.wait(60)
        assert entries.cache.sweep(much_later) == ["a"]
    finally:
        user.kill()
        user.communicate(timeout=60)


def test_too_much_goes_by_last_use(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("third", "first", "second")):
        entries.use(name, 100_000)
        entries.age(name, [100, 300, 200][number])
    runtime_env_cache.release_all()
    monkeypatch.setenv("DISTPOOL_CACHE_SIZE_MAX", "250000")
    assert entries.cache.sweep() == ["first"]
    entries.use("new", 200_000)  # whoever makes one sweeps
    assert entries.names() == {"new"}


def test_entries_of_a_session_go_with_it(entries: Entries, place: Place) -> None:
    entries.use("a", session=str(place.base))
    entries.use("b")
    runtime_env_cache.release_all()
    assert entries.cache.sweep() == []
    place.base.rmdir()
    assert entries.cache.sweep() == ["a"]


def test_what_was_never_finished_is_swept(entries: Entries) -> None:
    folder = Path(entries.cache.directory)
    (folder / "half").mkdir()
    (folder / "half.lock").write_text("")
    (folder / "torn.lock").write_text('{"size_b')
    assert sorted(entries.cache.sweep()) == ["half", "torn"]
    assert os.listdir(folder) == []


def test_who_waits_for_an_entry_that_is_swept_makes_it_anew(entries: Entries) -> None:
    """The lock that was waited for is no longer the entry's."""
    entries.use("a")
    real_open = os.open
    runtime_env_cache.release_all()
    opened: list[str] = []

    def open_then_swept(path: str, *args: int) -> int:
        fd = real_open(path, *args)
        if path.endswith("a.lock") and not opened:
            opened.append(path)
            monkeypatch.setattr(os, "open", real_open)
            assert entries.cache.sweep(time.time() + 2 * AGE_S_MAX) == ["a"]
        return fd

    monkeypatch = pytest.MonkeyPatch()
    try:
        monkeypatch.setattr(os, "open", open_then_swept)
        path = entries.use("a")
    finally:
        monkeypatch.undo()
    assert opened
    assert entries.made == ["a", "a"]
    assert os.listdir(path) == ["data"]


def test_waiting_ends_with_the_deadline(entries: Entries) -> None:
    def make(_path: str, _lock: int) -> None:
        with pytest.raises(
            RuntimeEnvSetupError, match=r"not ready within 0.01 s: another worker is still making"
        ):
            entries.cache.use("a", make, Deadline(0.01))

    entries.cache.use("a", make, Deadline(5))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTPOOL_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == "/home/somebody/.cache/distpool"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == "/x/distpool"
    monkeypatch.setenv("DISTPOOL_CACHE_DIR", "~/y")
    assert cache_directory() == "/home/somebody/y"
