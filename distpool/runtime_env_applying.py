"""In a worker, before any code of the user's: become what a ``runtime_env`` says.

::

    Payload ──► apply
      env_vars ─────────► os.environ                 ${NAME} is what NAME is then, "" if there is none
      working_dir ──────► unpacked, once a session; the current folder, and the front of sys.path
      py_modules ───────► unpacked, once a machine; on sys.path
      pip, uv ──────────► a virtual environment from the cache; its packages on sys.path
      worker_process_setup_hook ─► called

What is first on ``sys.path`` wins: working_dir, py_modules, PYTHONPATH of env_vars, the virtual environment, and then
all that the program itself has. Only distpool and what it stands on (zmq, msgspec, cloudpickle, psutil) are always
those of the program: this process runs on them already.

Children of this process find the same by PYTHONPATH, PATH, VIRTUAL_ENV and ``sys.executable``. What this process has
imported already, and what the dynamic linker has read (``LD_LIBRARY_PATH``), no environment changes.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import re
import sys
import time
import traceback
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_env_cache import Cache, Deadline, cache_directory
from distpool.runtime_env_fields import HOOK, INSTALLERS, PACKED
from distpool.runtime_env_packing import Archive

__all__ = ["Payload", "adopted", "apply", "archive_called", "unpacked"]

#: Imported by their names, these are the program's own in any environment.
OUR_PACKAGES = ("distpool", "zmq", "msgspec", "cloudpickle", "psutil")
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_HOOK_LINES_MAX = 15


@dataclass(frozen=True, slots=True)
class Payload:
    """What a worker needs to become ready. Small, and of plain values only; archives lie beside it as files.

    ``env`` is what ``prepare`` made of a runtime_env: names of archives in the place of paths, all else in full.
    ``hook`` is its function, pickled: loading it may import what only this environment has, so it is loaded last.
    ``drop`` are folders that the sender has by an environment of its own; they are no part of this one.
    """

    env: dict[str, Any]
    hook: bytes = b""
    archives: tuple[Archive, ...] = ()
    drop: tuple[str, ...] = ()

    def contained(self) -> Payload:
        """The same with the archives in it, for a node that does not see this one's files. Raises OSError."""
        return replace(self, archives=tuple(archive.contained() for archive in self.archives))


#: What this worker has become, or None: a task's own tasks inherit it.
_adopted: Payload | None = None
#: The folders that it has by that.
_folders: tuple[str, ...] = ()


def adopted() -> dict[str, Any] | None:
    """In a worker: the runtime_env that it was started with, as ``prepare`` takes it; else None."""
    return None if _adopted is None else dict(_adopted.env)


def folders_adopted() -> tuple[str, ...]:
    """In a worker: what its environment has put on ``sys.path``, PYTHONPATH and PATH."""
    return _folders


def archive_called(name: str) -> Archive:
    """The archive that an inherited entry names. Raises ValueError."""
    digest = name.removeprefix(PACKED)
    for archive in () if _adopted is None else _adopted.archives:
        if archive.digest == digest:
            return archive
    raise ValueError(f"runtime_env: {name!r} was packed by another program; give the path of what it holds")


def apply(payload: Payload, base_dir: str, cache_dir: str | None = None) -> None:
    """Become what ``payload`` says. Call it once, in a worker's main thread, before any of the user's code.

    Args:
        payload: from ``prepare``.
        base_dir: this node's session directory; archives that came in the payload are kept there for later.
        cache_dir: where unpacked archives and virtual environments are kept; see ``cache_directory``.

    Raises:
        RuntimeEnvSetupError: it cannot be had, with the reason and the remedy.
    """
    global _adopted
    env = payload.env
    deadline = Deadline(env.get("config", {}).get("setup_timeout_seconds", 600))
    try:
        payload = replace(payload, archives=tuple(kept(archive, base_dir) for archive in payload.archives))
        _leave(payload.drop)
        variables = _set_variables(env.get("env_vars", {}))
        # What was expanded here must not be once more in the workers of this one's tasks, which begin with its values.
        _adopted = replace(payload, env={**env, "env_vars": variables} if variables else dict(env))
        archives = {PACKED + archive.digest: archive for archive in payload.archives}
        installer = next((name for name in INSTALLERS if name in env), None)
        cache = Cache(cache_dir or cache_directory()) if archives or installer else None
        front: list[str] = []
        working_dir = ""
        if cache is not None:
            if "working_dir" in env:
                # A program writes into its working folder: another session begins with a clean one.
                working_dir = unpacked(archives[env["working_dir"]], cache, deadline, session=base_dir)
                front.append(working_dir)
            front += [unpacked(archives[name], cache, deadline) for name in env.get("py_modules", ())]
        if "PYTHONPATH" in env.get("env_vars", {}):
            front += [folder for folder in os.environ["PYTHONPATH"].split(os.pathsep) if folder]
        environment = ""
        if cache is not None and installer is not None:
            from distpool.runtime_env_installing import installed

            environment = installed(installer, env[installer], cache, deadline, working_dir)
        _enter(front, working_dir, environment)
    except RuntimeEnvSetupError:
        raise
    except Exception as error:
        raise RuntimeEnvSetupError(f"{type(error).__name__}: {error}") from error
    if payload.hook or HOOK in env:
        _adopted.env[HOOK] = _called(payload.hook, env.get(HOOK, ""))


def kept(archive: Archive, base_dir: str) -> Archive:
    """The archive as a file of this node."""
    if archive.data is None:
        return archive
    path = f"{base_dir}/{archive.digest}.archive"
    if not os.path.exists(path):
        temporary = f"{base_dir}/unpacking-{os.getpid()}-{archive.digest}"
        with open(temporary, "xb") as file:
            file.write(archive.data)
        os.rename(temporary, path)
    return replace(archive, path=path, data=None)


def unpacked(archive: Archive, cache: Cache, deadline: Deadline, session: str = "") -> str:
    """The folder with what an archive holds; with ``session`` (its directory), one that only this session uses."""
    name = f"work-{os.path.basename(session)}-{archive.digest}" if session else f"code-{archive.digest}"

    def make(path: str, _lock: int) -> None:
        try:
            _extract(archive, path, deadline)
        except FileNotFoundError as error:
            raise RuntimeEnvSetupError(
                f"{archive.label}: its archive {archive.path} is gone; was its session's directory removed?"
            ) from error
        except zipfile.BadZipFile as error:
            raise RuntimeEnvSetupError(
                f"{archive.label}: its archive {archive.path} is damaged: {error}"
            ) from error

    return cache.use(name, make, deadline, session)


def _extract(archive: Archive, path: str, deadline: Deadline) -> None:
    with zipfile.ZipFile(archive.path) as file:
        for info in file.infolist():
            if deadline.left_s == 0:
                raise deadline.error(f"unpacking of {archive.label} was ended")
            target = file.extract(info, path)
            if info.external_attr >> 16 & 0o100:
                os.chmod(target, 0o755)


def _leave(folders: Sequence[str]) -> None:
    """Forget the environment that the sender is in: the paths that it gave to this process lead through it."""
    if not folders:
        return
    sys.path[:] = [folder for folder in sys.path if folder not in folders]
    for name in ("PATH", "PYTHONPATH"):
        if name in os.environ:
            kept = [folder for folder in os.environ[name].split(os.pathsep) if folder not in folders]
            os.environ[name] = os.pathsep.join(kept)
    if os.path.join(os.environ.get("VIRTUAL_ENV", ""), "bin") in folders:
        del os.environ["VIRTUAL_ENV"]


def _set_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Set them, and say what they are now."""
    now = {}
    for name, text in variables.items():
        now[name] = os.environ[name] = _REFERENCE.sub(lambda match: os.environ.get(match[1], ""), text)
    if "TZ" in variables:
        time.tzset()
    return now


def _enter(front: Sequence[str], working_dir: str, environment: str) -> None:
    """Change folder and paths."""
    global _folders
    if not (front or environment):
        return
    _folders = tuple(front)
    here = os.getcwd()
    own = [os.path.join(here, folder) if folder else here for folder in sys.path]
    sys.meta_path.insert(0, _OwnPackages(own))
    sys.path[:] = [*front, *(folder for folder in own if folder not in front)]
    if environment:
        _enter_environment(environment, len(front))
    if working_dir:
        os.chdir(working_dir)
    for_children = [
        folder for folder in front if folder not in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    ]
    if for_children:
        given = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*for_children, *([given] if given else [])])
    importlib.invalidate_caches()


def _enter_environment(environment: str, position: int) -> None:
    """Have the packages of a virtual environment, also those that it has by .pth files (``-e``)."""
    global _folders
    import site

    from distpool.runtime_env_installing import site_packages

    before = list(sys.path)
    site.addsitedir(site_packages(environment))
    added = [folder for folder in sys.path if folder not in before]
    sys.path[:] = [*before[:position], *added, *before[position:]]
    _folders += (*added, f"{environment}/bin")
    sys.executable = f"{environment}/bin/python"
    os.environ["VIRTUAL_ENV"] = environment
    os.environ["PATH"] = os.pathsep.join([f"{environment}/bin", os.environ.get("PATH", os.defpath)])


class _OwnPackages:
    """Finds what distpool stands on where the program found it, whatever else of that name is on ``sys.path``."""

    def __init__(self, path: list[str]) -> None:
        self._path = path

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As ``importlib.abc.MetaPathFinder`` has it."""
        if path is None and name in OUR_PACKAGES:
            return importlib.machinery.PathFinder.find_spec(name, self._path)
        return None


def _called(blob: bytes, name: str) -> Any:
    """Call ``worker_process_setup_hook``: a pickled function, or the name of one. Returns the one or the other."""
    try:
        if blob:
            from distpool.scheduler.serialize import loads

            hook = given = loads(blob, label=HOOK)
        else:
            module, _, attribute = name.rpartition(".")
            hook, given = getattr(importlib.import_module(module), attribute), name
        hook()
        return given
    except Exception as error:
        lines = traceback.format_exc().splitlines()[-_HOOK_LINES_MAX:]
        raise RuntimeEnvSetupError(
            f"worker_process_setup_hook raised {type(error).__name__}: {error}\n" + "\n".join(lines)
        ) from error
