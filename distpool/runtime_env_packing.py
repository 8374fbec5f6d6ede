"""Folders, modules, .zip and .whl files as archives that are named by their content.

::

    working_dir="proj"         proj/main.py              ──►  main.py
    py_modules=["lib/util"]    lib/util/__init__.py      ──►  util/__init__.py
                ["one.py"]     one.py                    ──►  one.py
                ["x.zip"]      as it is                  ──►  as it is
                ["y.whl"]      as pip would install it   ──►  y/..., y-1.0.dist-info/...
                                      │
                       members (name, executable?, bytes)
                                      │ one pass: digest and copy
                                      ▼
                       DIRECTORY/<digest>.archive            a plain zip, not compressed: it is for this machine

Equal content has an equal digest, wherever it lies and whenever it was written, so it is the same archive, the same
environment and the same workers. A folder whose files look as they did (names, sizes, times) is not read again.

Symbolic links are followed, as with Ray. Sockets and devices stay at home, and so does what the rules of
``runtime_env_ignoring`` name, version control (``.git``), byte code and virtual environments.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import IO, Any

from distpool.runtime_env_ignoring import Rules, rule_files

__all__ = ["Archive", "Member", "pack", "scan", "store", "write_archive"]

SIZE_VARIABLE = "DISTPOOL_RUNTIME_ENV_SIZE_MAX"
SIZE_BYTES_MAX = 512 << 20
#: A folder with more files is most likely not what was meant: a home, or one with a link to everything.
FILES_MAX = 100_000
#: So many of the biggest files does an error name.
_NAMED = 5
_CHUNK_BYTES = 1 << 20
#: Folders whose archives are remembered.
_KNOWN_MAX = 64
#: What was changed so shortly before it was read may be changed again without another time.
_SETTLED_NS = 100_000_000

_AT_HOME: tuple[str, ...] = (
    ".git",
    ".hg/",
    ".svn/",
    "__pycache__/",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
)
_AT_HOME += (".ruff_cache/", ".tox/", ".nox/")
_WHEEL = re.compile(r"[^-]+-[^-]+(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive. It lies at ``path``; on a node that does not see that, ``data`` holds it."""

    digest: str
    label: str  # what was packed, for people
    path: str
    size_bytes: int
    data: bytes | None = None

    def contained(self) -> Archive:
        """The same with the bytes in it. Raises OSError."""
        if self.data is not None:
            return self
        with open(self.path, "rb") as file:
            return replace(self, data=file.read())


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or a folder (its name ends with "/"), and what is to be read for it."""

    name: str
    size_bytes: int
    executable: bool
    source: Any  # a path, or (ZipFile, ZipInfo); None for a folder
    stamp: tuple[int, ...] = ()

    def open(self) -> IO[bytes]:
        """Its bytes."""
        if isinstance(self.source, str):
            return open(self.source, "rb")
        file, info = self.source
        return file.open(info)  # type: ignore[no-any-return]


_known: OrderedDict[Any, tuple[bytes, Archive]] = OrderedDict()


def pack(entry: str | ModuleType, excludes: Sequence[str], directory: str, *, as_module: bool) -> Archive:
    """Pack what an entry of ``working_dir`` or ``py_modules`` means into an archive in ``directory``.

    Args:
        entry: a path, or a module that was imported.
        excludes: patterns of files that are left out of a folder.
        directory: where archives are.
        as_module: whether it is to be imported by its own name, so that a folder's name is part of it.

    Raises:
        ValueError: there is no such thing, or it is more than may be sent.
        OSError: a file cannot be read, or the archive not be written.
    """
    field = "py_modules" if as_module else "working_dir"
    path = _path_of(entry) if isinstance(entry, ModuleType) else os.path.abspath(os.path.expanduser(entry))
    if os.path.isdir(path):
        inside = os.path.basename(path) + "/" if as_module else ""
        members = [replace(member, name=inside + member.name) for member in scan(path, excludes)]
        return _pack_folder(members, (path, tuple(excludes), directory, inside), f"{field} {path}", directory)
    if not os.path.isfile(path):
        raise ValueError(f"runtime_env[{field!r}]: there is no {path}")
    suffix = os.path.splitext(path)[1]
    if as_module and suffix == ".py":
        members = [_file(os.path.basename(path), path, os.stat(path))]
        return store(members, f"{field} {path}", directory)
    if suffix == ".zip" or (as_module and suffix == ".whl"):
        return _pack_zip(path, f"{field} {path}", directory, is_wheel=suffix == ".whl")
    kinds = "a folder, or a .py, .zip or .whl file" if as_module else "a folder or a .zip file"
    raise ValueError(f"runtime_env[{field!r}]: {path} is neither {kinds}")


def _path_of(module: ModuleType) -> str:
    """The folder of a package, or the file of a module."""
    folders = list(getattr(module, "__path__", None) or ())
    if folders:
        return str(folders[0])
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        raise ValueError(
            f"runtime_env['py_modules']: module {module.__name__} has no Python file that could be sent; install it "
            "with pip=, or name a wheel"
        )
    return str(file)


def _pack_folder(members: list[Member], identity: tuple[Any, ...], label: str, directory: str) -> Archive:
    looks = hashlib.blake2b(digest_size=16)
    newest = 0
    for member in members:
        looks.update(
            f"{member.name}\0{member.size_bytes}\0{member.executable}\0{member.stamp}\0".encode(*_ENCODING)
        )
        newest = max(newest, *member.stamp) if member.stamp else newest
    known = _known.get(identity)
    if known is not None and known[0] == looks.digest() and os.path.exists(known[1].path):
        _known.move_to_end(identity)
        return known[1]
    now = time.time_ns()
    archive = store(members, label, directory)
    if newest + _SETTLED_NS < now:
        _known[identity] = looks.digest(), archive
        while len(_known) > _KNOWN_MAX:
            _known.popitem(last=False)
    return archive


_ENCODING = ("utf-8", "surrogateescape")


def scan(root: str, excludes: Sequence[str] = ()) -> list[Member]:
    """The files of a folder that are taken along, and its empty folders, by name.

    Raises:
        ValueError: there are more than ``FILES_MAX``.
        OSError: a folder cannot be read.
    """
    found: list[Member] = []
    own = Rules().with_lines(excludes)

    def visit(folder: str, inside: str, rules: Rules, above: frozenset[tuple[int, int]]) -> None:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        if inside and "pyvenv.cfg" in names:
            return  # a virtual environment: it would not run elsewhere
        for name in rule_files():
            if name in names:
                with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                    rules = rules.with_lines(file, inside.rstrip("/"))
        before = len(found)
        for entry in entries:
            name = inside + entry.name
            try:
                facts = entry.stat()
            except FileNotFoundError:  # a link that leads nowhere, or gone by now
                continue
            is_folder = stat.S_ISDIR(facts.st_mode)
            if rules.ignores(name, is_folder) or own.ignores(name, is_folder):
                continue
            if is_folder:
                place = facts.st_dev, facts.st_ino
                if place not in above:  # else a link to a folder that it lies in
                    visit(entry.path, name + "/", rules, above | {place})
            elif stat.S_ISREG(facts.st_mode):
                found.append(_file(name, entry.path, facts))
        if len(found) > FILES_MAX:
            most = Counter(member.name.partition("/")[0] for member in found).most_common(_NAMED)
            named = ", ".join(f"{name} ({count:,})" for name, count in most)
            raise ValueError(
                f"{root} holds more than {FILES_MAX:,} files, most of them in {named}: leave out what workers do not "
                "need (excludes=[...], or a .distpoolignore file)"
            )
        if len(found) == before and inside:
            found.append(Member(inside, 0, False, None))

    top = os.stat(root)
    visit(root, "", Rules().with_lines(_AT_HOME), frozenset({(top.st_dev, top.st_ino)}))
    return found


def _file(name: str, path: str, facts: os.stat_result) -> Member:
    stamp = facts.st_mtime_ns, facts.st_ctime_ns
    return Member(name, facts.st_size, bool(facts.st_mode & stat.S_IXUSR), path, stamp)


def _pack_zip(path: str, label: str, directory: str, *, is_wheel: bool) -> Archive:
    if is_wheel and not _WHEEL.fullmatch(os.path.basename(path)):
        raise ValueError(
            f"runtime_env['py_modules']: {path} is not named as wheels are (name-version-python-abi-platform.whl)"
        )
    try:
        with zipfile.ZipFile(path) as file:
            return store(list(_members_of(file, is_wheel)), label, directory)
    except zipfile.BadZipFile as error:
        raise ValueError(f"runtime_env: {path} is no zip file: {error}") from None


def _members_of(file: zipfile.ZipFile, is_wheel: bool) -> Iterator[Member]:
    for info in sorted(file.infolist(), key=lambda info: info.filename):
        name = info.filename
        if is_wheel and (data := re.match(r"[^/]+\.data/(\w+)/(.*)", name)):
            if data[1] not in ("purelib", "platlib"):  # scripts, headers: nothing that is imported
                continue
            name = data[2]
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"runtime_env: {file.filename} holds {name!r}, which would lie outside of it")
        if name:
            executable = bool(info.external_attr >> 16 & stat.S_IXUSR)
            is_folder = name.endswith("/")
            yield Member(
                name, info.file_size, executable and not is_folder, None if is_folder else (file, info)
            )


def store(members: Sequence[Member], label: str, directory: str) -> Archive:
    """Write the archive of these members, unless it is there.

    Raises:
        ValueError: they are more than may be sent.
        OSError: a file cannot be read, or the archive not be written.
    """
    _refuse_too_big(members, label)
    for member in members:
        if not member.name.isprintable() and member.name != member.name.encode(*_ENCODING).decode(
            errors="replace"
        ):
            raise ValueError(
                f"{label}: the name {member.name!r} is no text (UTF-8); rename it, or leave it out (excludes=[...])"
            )
    fd, temporary = tempfile.mkstemp(prefix="packing-", dir=directory)
    try:
        with open(fd, "wb") as file:
            digest = write_archive(members, file)
        path = f"{directory}/{digest}.archive"
        if os.path.exists(path):
            os.unlink(temporary)
        else:
            os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    return Archive(digest, label, path, os.stat(path).st_size)


def write_archive(members: Sequence[Member], file: IO[bytes]) -> str:
    """Write a zip of the members, and say the digest of what they hold."""
    total = hashlib.blake2b(digest_size=16)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(members, key=lambda member: member.name):
            info = zipfile.ZipInfo(member.name)
            info.external_attr = (0o755 if member.executable else 0o644) << 16
            content = hashlib.blake2b(digest_size=16)
            if member.source is not None:
                with member.open() as source, archive.open(info, "w", force_zip64=True) as target:
                    while chunk := source.read(_CHUNK_BYTES):
                        content.update(chunk)
                        target.write(chunk)
            else:
                archive.writestr(info, b"")
            total.update(f"{member.name}\0{member.executable}\0".encode(*_ENCODING) + content.digest())
    return total.hexdigest()


def _refuse_too_big(members: Sequence[Member], label: str) -> None:
    size = sum(member.size_bytes for member in members)
    size_max = _size_max()
    if size <= size_max:
        return
    biggest = sorted(members, key=lambda member: -member.size_bytes)[:_NAMED]
    named = ", ".join(f"{member.name} ({_mib(member.size_bytes)})" for member in biggest)
    raise ValueError(
        f"{label} holds {_mib(size)} in {len(members):,} files, and up to {_mib(size_max)} may go to the workers; the "
        f"biggest are {named}. Leave out what they do not need (excludes=[...], or a .distpoolignore file), have them "
        f"read big data where it lies, or raise {SIZE_VARIABLE} (bytes)"
    )


def _size_max() -> int:
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return SIZE_BYTES_MAX
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{SIZE_VARIABLE} must be a number of bytes, not {text!r}") from None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
