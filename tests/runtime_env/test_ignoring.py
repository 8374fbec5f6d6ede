"""Patterns of files that stay at home: git is the oracle."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distpool.runtime_env_packing import scan

FILES = (
    "a.log",
    "b.txt",
    "keep.log",
    "#odd",
    "!odd",
    "with blank ",
    "x[1].c",
    "x1.c",
    "data/a.log",
    "data/deep/a.log",
    "data/deep/b.txt",
    "deep/data/b.txt",
    "build/out.o",
    "src/build/out.o",
    "src/build.py",
    "foo/bar/baz",
    "foo/x/bar/baz",
    "foo/bar",
)
LINES = (
    "*.log",
    "!keep.log",
    "/a.log",
    "data/",
    "/data/",
    "!data/",
    "data/deep",
    "data/*",
    "!data/deep",
    "**/deep",
    "deep/**",
    "!deep/**/b.txt",
    "foo/**/bar",
    "build",
    "build/",
    "src/b*",
    r"\#odd",
    r"\!odd",
    "with blank",
    r"with blank\ ",
    "x[1].c",
    r"x\[1\].c",
    "x[0-9].c",
    "x[!0-9]*",
    "x[^a].c",
    "[[:alpha:]].log",
    "?.txt",
    "b.tx[",
    "**",
    "*",
    "!*.py",
    "# nothing",
    "",
    "   ",
    "foo/bar/",
    "a**g",
    "**foo/bar",
    "/",
)


def write(root: Path) -> None:
    for name in FILES:
        if name != "foo/bar":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)


def not_ignored_by_git(root: Path) -> set[str]:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(
        [
            "git",
            "-c",
            "core.excludesFile=/dev/null",
            "ls-files",
            "-z",
            "--others",
            "--exclude-per-directory=.gitignore",
        ],
        cwd=root,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.decode().split("\0")) - {""}


def taken(root: Path, excludes: tuple[str, ...] = ()) -> set[str]:
    return {member.name for member in scan(str(root), excludes) if member.source is not None}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git, the oracle, is not there")
    root = tmp_path_factory.mktemp("repository")
    write(root)
    subprocess.run(["git", "init", "-q", str(root)], check=True, timeout=60)
    (root / ".git" / "info" / "exclude").write_text("")
    return root


@pytest.mark.parametrize("line", LINES)
def test_each_pattern_means_what_it_means_to_git(repository: Path, line: str) -> None:
    (repository / ".gitignore").write_text(line + "\n")
    assert taken(repository) == not_ignored_by_git(repository)


rules = st.lists(st.sampled_from(LINES), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=rules, below=rules)
def test_several_in_several_folders(repository: Path, top: list[str], below: list[str]) -> None:
    (repository / ".gitignore").write_text("\n".join(top))
    inner = repository / "data" / ".gitignore"
    inner.write_text("\n".join(below))
    try:
        assert taken(repository) == not_ignored_by_git(repository)
    finally:
        inner.unlink()


def test_excludes_are_such_patterns_of_the_top(tmp_path: Path) -> None:
    write(tmp_path)
    left = taken(tmp_path, ("*.log", "/data/", "!keep.log", "foo/bar"))
    gone = {"a.log", "data/a.log", "data/deep/a.log", "data/deep/b.txt", "foo/bar/baz"}
    assert left == set(FILES) - gone - {"foo/bar"}


def test_a_rule_file_takes_back_nothing_of_excludes(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".distpoolignore").write_text("!a.log\n")
    assert "a.log" not in taken(tmp_path, ("*.log",))


@pytest.mark.parametrize("name", [".gitignore", ".rayignore", ".distpoolignore"])
def test_every_file_of_rules_counts(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_text("*.log\ndata\n")
    assert not {"a.log", "data/deep/b.txt"} & taken(tmp_path)
    assert "b.txt" in taken(tmp_path)


@pytest.mark.parametrize(
    "variable", ["DISTPOOL_RUNTIME_ENV_IGNORE_GITIGNORE", "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"]
)
def test_gitignore_files_can_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    write(tmp_path)
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / ".distpoolignore").write_text("*.txt\n")
    monkeypatch.setenv(variable, "1")
    assert "a.log" in taken(tmp_path)
    assert "b.txt" not in taken(tmp_path)


def test_what_never_goes_along_unless_it_is_asked_for(tmp_path: Path) -> None:
    for name in (
        ".git/config",
        "a/__pycache__/m.pyc",
        "env/pyvenv.cfg",
        "env/bin/python",
        "sub/.git",
        "m.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert taken(tmp_path) == {"m.py"}
    (tmp_path / ".distpoolignore").write_text("!__pycache__/\n")
    assert taken(tmp_path) == {"m.py", "a/__pycache__/m.pyc", ".distpoolignore"}
