"""The driver's own modules: when workers that have an older version are of no use, and how another node gets them.

Own is what was loaded from a file outside of Python's library and of site-packages: modules beside the script, a
package in development. On one machine workers import them from the same files: they have the driver's ``sys.path``.

::

    helper.py is edited ─► importlib.reload(helper) ─► driver_modules_version() is another one
                                                          │ it is part of what makes workers equal
                                                          ▼
                                            new tasks go to new workers, which import the new file

    on another node:  pack_driver_modules ─► DriverModules ─► enter_driver_modules
                       the files of all that is loaded          where the files are not the same: a copy, in
                                                                the same place of sys.path

An edit alone changes nothing: until the driver has loaded it anew, tasks mean what they meant. (A worker that starts
meanwhile imports what lies on the disk; there is nowhere else to have it from.) Not here: ``__main__``, whose functions
are sent by value, and modules that only a task imports: for other nodes they go into ``working_dir`` or ``py_modules``.
"""

from __future__ import annotations

import functools
import os
import re
import site
import sys
import sysconfig
import threading
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from distpool.runtime_env_applying import kept, unpacked
from distpool.runtime_env_cache import Cache, Deadline, cache_directory
from distpool.runtime_env_packing import Archive, Member, scan, store
from distpool.scheduler.serialize import Exporter, stored
from distpool.scheduler.shells import worker_start

__all__ = [
    "Carried",
    "DriverModules",
    "driver_modules_version",
    "enter_driver_modules",
    "pack_driver_modules",
]

#: ``sys.modules`` is looked through at most so often, ...
_LOOK_S = 0.2
#: ... and the driver's own modules that are known, so often.
_GLANCE_S = 0.001
#: A package with more than this is taken along without its data.
_PACKAGE_BYTES_MAX = 32 << 20
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")


class _State:
    """What was seen at the last look."""

    def __init__(self) -> None:
        self.version = 0
        self.looked = self.glanced = float("-inf")
        #: The driver's own modules, and what each was loaded by: a reload makes another one.
        self.own: dict[str, Any] = {}
        #: By module name: the spec that it was loaded by, and what its file was like; None: not the driver's own.
        self.seen: dict[str, tuple[Any, tuple[Any, ...] | None]] = {}


_state = _State()


def driver_modules_version() -> int:
    """A number that changes when one of the driver's own modules was edited and loaded anew.

    Takes a fraction of a microsecond; once in a millisecond, one or two more, and once in 0.2 s, for a thousand
    modules, about a millisecond. A reload is seen by the first call that is a millisecond after another.
    """
    state = _state
    now = time.monotonic()
    if now - state.glanced < _GLANCE_S:
        return state.version
    state.glanced = now
    if now - state.looked < _LOOK_S:
        modules = sys.modules
        for name, spec in state.own.items():
            module = modules.get(name)
            if module is not None and module.__spec__ is not spec:
                break
        else:
            return state.version
    state.looked = now
    return _look(state)


def _look(state: _State) -> int:
    """Look at each module that was loaded since the last time."""
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        known = state.seen.get(name)
        if known is not None and known[0] is spec:
            continue
        looks = _looks(module, spec)
        if known is not None and known[1] is not None and looks != known[1]:
            state.version += 1
        state.seen[name] = spec, looks
        if looks is not None:
            state.own[name] = spec
    return state.version


def look_anew() -> None:
    """Have the next call of ``driver_modules_version`` look, however short a time ago it last did."""
    _state.looked = _state.glanced = float("-inf")


def _looks(module: Any, spec: Any) -> tuple[Any, ...] | None:
    """File, time and size of one of the driver's own modules; None for any other."""
    file = _own_file(module, spec)
    if file is None:
        return None
    try:
        facts = os.stat(file)
    except OSError:
        return (file,)
    return file, facts.st_mtime_ns, facts.st_size


def _own_file(module: Any, spec: Any) -> str | None:
    """The file of a module of the driver's own."""
    file = getattr(spec, "origin", None)
    name = getattr(module, "__name__", "")
    if not isinstance(module, ModuleType) or not isinstance(file, str) or not os.path.isabs(file):
        return None
    if not isinstance(name, str) or name.partition(".")[0] in ("distpool", "__main__", "__mp_main__"):
        return None
    if _is_installed(file) or _is_installed(_real(file)):
        return None
    return file if os.path.isfile(file) else None


def _is_installed(file: str) -> bool:
    return file.startswith(_library()) or _INSTALLED.search(file) is not None


def _real(file: str) -> str:
    """The file without symbolic links. A worker's first call asks that of hundreds, which lie in a few folders."""
    if os.path.islink(file):
        return os.path.realpath(file)
    folder, name = os.path.split(file)
    return os.path.join(_real_folder(folder), name)


@functools.lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


_folders: tuple[str, ...] = ()


def _library() -> tuple[str, ...]:
    """The folders of what is installed."""
    global _folders
    if not _folders:
        names = ("stdlib", "platstdlib", "purelib", "platlib")
        found = [*(sysconfig.get_path(name) for name in names), site.getusersitepackages()]
        _folders = tuple(os.path.realpath(folder) + os.sep for folder in found if folder)
    return _folders


# ---------------------------------------------------------------------------------- another node


@dataclass(frozen=True, slots=True)
class DriverModules:
    """The driver's own modules, for a node that may not have them.

    ``roots`` are folders of its ``sys.path``; ``files`` what they hold: number of the root, name, size and time.
    """

    archive: Archive
    roots: tuple[str, ...]
    files: tuple[tuple[int, str, int, int], ...]

    def contained(self) -> DriverModules:
        """The same with the bytes in it. Raises OSError."""
        return replace(self, archive=self.archive.contained())


def pack_driver_modules(base_dir: str) -> DriverModules | None:
    """Pack all that is loaded of the driver's own, of a package all that lies in it; None if there is nothing.

    Raises:
        ValueError, OSError: see ``pack``.
    """
    roots: dict[str, int] = {}
    members: dict[str, Member] = {}
    files: list[tuple[int, str, int, int]] = []
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        file = _own_file(module, spec)
        if file is None:
            continue
        root, inside = _place(name, file, bool(getattr(spec, "submodule_search_locations", None)))
        if root is None:
            continue
        number = roots.setdefault(root, len(roots))
        for member in _files_of(root, inside, file):
            named = f"{number}/{member.name}"
            if named not in members:
                members[named] = replace(member, name=named)
                files.append((number, member.name, member.size_bytes, member.stamp[0]))
    if not members:
        return None
    archive = store(list(members.values()), "the program's own modules", base_dir)
    return DriverModules(archive, tuple(roots), tuple(files))


def _place(name: str, file: str, is_package: bool) -> tuple[str | None, str]:
    """The folder of ``sys.path`` that leads to a module, and what of it belongs to its topmost package."""
    parts = name.split(".")
    path = os.path.dirname(file) if is_package else file
    tail = path.split(os.sep)[-len(parts) :]
    if [*tail[:-1], tail[-1].partition(".")[0]] != parts:
        return None, ""  # somebody's own way of finding modules
    root = os.sep.join(path.split(os.sep)[: -len(parts)]) or os.sep
    return root, tail[0]


def _files_of(root: str, inside: str, file: str) -> list[Member]:
    """What belongs to a module: its topmost package, or where that is too much, or there is none, its own file."""
    path = os.path.join(root, inside)
    found: list[Member] = []
    if os.path.isdir(path):
        try:
            found = [member for member in scan(path) if member.source is not None]
        except ValueError:
            pass
    if not found:
        facts = os.stat(file)
        return [Member(os.path.relpath(file, root), facts.st_size, False, file, (facts.st_mtime_ns,))]
    if sum(member.size_bytes for member in found) > _PACKAGE_BYTES_MAX:
        found = [member for member in found if member.name.endswith(".py")]
    return [replace(member, name=f"{inside}/{member.name}") for member in found]


def enter_driver_modules(modules: DriverModules, base_dir: str, cache_dir: str | None = None) -> bool:
    """In a worker, before any user code: have the driver's modules. Says whether its files were not there themselves.

    Raises:
        RuntimeEnvSetupError: they cannot be unpacked.
    """
    missing = {
        number
        for number, name, size, time_ns in modules.files
        if not _is_here(modules.roots[number], name, size, time_ns)
    }
    if not missing:
        return False
    folder = unpacked(kept(modules.archive, base_dir), Cache(cache_dir or cache_directory()), Deadline(-1))
    for number in sorted(missing):
        root, copy = modules.roots[number], f"{folder}/{number}"
        place = sys.path.index(root) if root in sys.path else 0
        sys.path.insert(place, copy)
    return True


class Carried:
    """What the workers of a session's pools do first where they may be on other machines: enter the driver's modules.

    The modules are pickled, and stored if they are big, once for all pools that are opened before one of them changes.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a pool may be opened by a __del__ while another is
        self._last: tuple[DriverModules | None, Any, bytes, list[Any]] = (None, None, b"", [])

    def blob(self, exporter: Exporter, directory: str) -> tuple[bytes, list[Any]]:
        """A pickle of hooks, and what must be kept for as long as it is used.

        ``directory`` is the session's, for the archive: another one when its agent has died.

        Raises:
            OSError, ValueError: see ``pack``.
        """
        modules = pack_driver_modules(directory)
        store = stored.current()
        with self._lock:
            known, known_store, blob, keep = self._last
            if blob and known == modules and known_store is store:
                return blob, keep
            keep = []
            hooks = () if modules is None else (_Entering(modules.contained()),)
            blob = exporter.dumps(hooks, keep=keep)
            self._last = modules, store, blob, keep
            return blob, keep


class _Entering:
    """The hook itself, in a worker."""

    def __init__(self, modules: DriverModules) -> None:
        self._modules = modules

    def __call__(self) -> None:
        worker = worker_start.this_worker
        if worker is not None:
            enter_driver_modules(self._modules, worker.directory)


def _is_here(root: str, name: str, size: int, time_ns: int) -> bool:
    try:
        facts = os.stat(f"{root}/{name}")
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (size, time_ns)
