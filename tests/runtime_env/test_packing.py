"""What goes into an archive, what it is called, and what is refused."""

from __future__ import annotations

import os
import types
import zipfile
from pathlib import Path

import pytest

from distpool import runtime_env_packing
from distpool.runtime_env_packing import Archive, pack
from tests.runtime_env.workers import Place, wheel


def held(archive: Archive) -> dict[str, bytes]:
    with zipfile.ZipFile(archive.path) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def packed(
    place: Place, entry: str | os.PathLike[str] | types.ModuleType, as_module: bool = False
) -> Archive:
    name = entry if isinstance(entry, types.ModuleType) else os.fspath(entry)
    return pack(name, (), str(place.base), as_module=as_module)


def test_a_folder_as_working_dir_and_as_module(place: Place) -> None:
    folder = place.folder("proj", {"main.py": "1", "sub/data": "2"})
    (folder / "empty" / "inner").mkdir(parents=True)
    assert held(packed(place, folder)) == {"main.py": b"1", "sub/data": b"2", "empty/inner/": b""}
    expected = {"proj/main.py": b"1", "proj/sub/data": b"2", "proj/empty/inner/": b""}
    assert held(packed(place, folder, as_module=True)) == expected


def test_a_file_a_zip_and_a_module_object(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.folder("lib", {"one.py": "x = 1"})
    assert held(packed(place, folder / "one.py", as_module=True)) == {"one.py": b"x = 1"}
    archive = place.root / "some.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("top/m.py", "z" * 1000)
    assert (
        held(packed(place, archive))
        == held(packed(place, archive, as_module=True))
        == {"top/m.py": b"z" * 1000}
    )
    package = types.ModuleType("own_package")
    package.__path__ = [str(place.folder("own_package", {"__init__.py": "y = 1"}))]
    assert held(packed(place, package, as_module=True)) == {"own_package/__init__.py": b"y = 1"}
    module = types.ModuleType("one")
    module.__file__ = str(folder / "one.py")
    assert held(packed(place, module, as_module=True)) == {"one.py": b"x = 1"}
    with pytest.raises(ValueError, match=r"module _struct has no Python file.*wheel"):
        packed(place, types.ModuleType("_struct"), as_module=True)


def test_a_wheel_lies_as_pip_would_lay_it(place: Place) -> None:
    path = wheel(place.root)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("tinything-1.0.data/purelib/more.py", "1")
        file.writestr("tinything-1.0.data/scripts/run", "2")
    names = set(held(packed(place, path, as_module=True)))
    assert {"tinything/__init__.py", "more.py", "tinything-1.0.dist-info/METADATA"} <= names
    assert not any("scripts" in name for name in names)
    with pytest.raises(ValueError, match=r"is neither a folder or a \.zip file"):
        packed(place, path)
    other = path.rename(place.root / "tinything.whl")
    with pytest.raises(ValueError, match="not named as wheels are"):
        packed(place, other, as_module=True)


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/passwd"])
def test_a_zip_that_would_write_elsewhere(place: Place, name: str) -> None:
    archive = place.root / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, "x")
    with pytest.raises(ValueError, match="outside of it"):
        packed(place, archive)
    assert os.listdir(place.base) == []


def test_what_is_not_there_or_no_such_thing(place: Place) -> None:
    with pytest.raises(ValueError, match=r"\['working_dir'\]: there is no .*nothing"):
        packed(place, "nothing")
    text = place.root / "file.txt"
    text.write_text("")
    with pytest.raises(ValueError, match=r"file.txt is neither a folder, or a .py, .zip or .whl file"):
        packed(place, text, as_module=True)
    bad = place.root / "bad.zip"
    bad.write_text("no zip")
    with pytest.raises(ValueError, match="is no zip file"):
        packed(place, bad)


def test_links_are_followed_once(place: Place) -> None:
    folder = place.folder("proj", {"a": "1"})
    other = place.folder("other", {"b": "2", "sub/c": "3"})
    (folder / "file").symlink_to(other / "b")
    (folder / "folder").symlink_to(other)
    (folder / "round").symlink_to(folder)
    (other / "sub" / "up").symlink_to(other)
    (folder / "nowhere").symlink_to("gone")
    os.mkfifo(folder / "pipe")
    assert held(packed(place, folder)) == {"a": b"1", "file": b"2", "folder/b": b"2", "folder/sub/c": b"3"}


def test_what_is_too_big_names_the_biggest(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTPOOL_RUNTIME_ENV_SIZE_MAX", "100000")
    folder = place.folder("proj", {"small": "1", "data/big": "x" * 90_000, "data/bigger": "x" * 95_000})
    with pytest.raises(ValueError, match=r"up to 0.1 MiB may go") as caught:
        packed(place, folder)
    text = str(caught.value)
    assert text.index("data/bigger (0.1 MiB)") < text.index("data/big (0.1 MiB)") < text.index("small")
    assert "excludes=[...]" in text
    assert ".distpoolignore" in text
    assert os.listdir(place.base) == []
    assert pack(str(folder), ["bigger"], str(place.base), as_module=False).size_bytes > 90_000
    monkeypatch.setenv("DISTPOOL_RUNTIME_ENV_SIZE_MAX", "1 GB")
    with pytest.raises(ValueError, match="must be a number of bytes, not '1 GB'"):
        packed(place, folder)


def test_too_many_files_name_where_they_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_env_packing, "FILES_MAX", 10)
    folder = place.folder("proj", {f"few/{n}": "" for n in range(3)} | {f"many/{n}": "" for n in range(9)})
    with pytest.raises(ValueError, match=r"holds more than 10 files, most of them in many \(9\), few \(3\)"):
        packed(place, folder)
    assert pack(str(folder), ["many"], str(place.base), as_module=False).size_bytes


def test_equal_content_is_one_archive(place: Place) -> None:
    one = packed(place, place.folder("one", {"a": "1"}))
    two = packed(place, place.folder("two", {"a": "1"}))
    assert one.path == two.path
    assert os.listdir(place.base) == [f"{one.digest}.archive"]


def test_a_folder_that_looks_as_it_did_is_not_read_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.folder("proj", {"a": "1"})
    old = os.stat(folder / "a").st_mtime - 10
    monkeypatch.setattr(runtime_env_packing, "_SETTLED_NS", -(10**18))  # as if some time had passed
    first = packed(place, folder)
    reads: list[str] = []
    real_open = runtime_env_packing.Member.open

    def counted(member: runtime_env_packing.Member) -> object:
        reads.append(member.name)
        return real_open(member)

    monkeypatch.setattr(runtime_env_packing.Member, "open", counted)
    assert packed(place, folder) == first
    assert reads == []
    os.utime(folder / "a", (old, old))
    assert packed(place, folder) == first
    assert reads == ["a"]
    (folder / "a").write_text("2")
    assert packed(place, folder) != first
    os.unlink(first.path)  # as another session's directory would have none
    (folder / "a").write_text("1")
    assert packed(place, folder) == first
    assert os.path.exists(first.path)


def test_what_was_written_just_now_is_read_again(place: Place) -> None:
    """A clock of the file system may not have ticked between two writes."""
    folder = place.folder("proj", {"a": "1"})
    facts = os.stat(folder / "a")
    first = packed(place, folder)
    (folder / "a").write_text("2")
    os.utime(folder / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert packed(place, folder).digest != first.digest


def test_a_file_that_cannot_be_read_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.folder("proj", {"a": "1"})

    def fail(_member: object) -> object:
        raise PermissionError(13, "Permission denied", "a")

    monkeypatch.setattr(runtime_env_packing.Member, "open", fail)
    with pytest.raises(PermissionError):
        packed(place, folder)
    assert os.listdir(place.base) == []


def test_names_that_are_no_utf8(place: Place) -> None:
    folder = place.folder("proj", {"a": "1"})
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("2")
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ValueError, match=r"the name .*udcff' is no text \(UTF-8\); rename it"):
        packed(place, folder)
