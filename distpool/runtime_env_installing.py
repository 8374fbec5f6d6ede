"""Virtual environments for ``pip`` and ``uv``: made once for equal requirements, and used from the cache from then on.

::

    venv-<requirements, options, local files, Python, what the program has installed>
      requirements.txt · install.log · bin/ · lib/pythonX.Y/site-packages/
                                                 _distpool_parent.pth    the program's own packages, behind these

``pip`` runs the program's pip, or where it has none the one that comes with Python, so the user's configuration (files
and ``PIP_...``) holds. ``uv`` runs uv, which has settings of its own; where there is no uv, pip takes its place.

What the program has installed counts as installed, as with Ray: only what is missing, or asked for in another version,
goes into the environment. (uv does not see it, and installs anew what its requirements name.)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from typing import Any

from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_env_cache import Cache, Deadline
from distpool.runtime_env_requirements import local_files

__all__ = ["installed"]

#: Of an installer's output, in an error.
_LINES_MAX = 25
_LINES_BYTES_MAX = 4000
#: From this version on, pip can install for another Python.
_PIP_FOR_OTHERS = (22, 3)
#: What requirements call the folder of working_dir; Ray's programs use the second.
WORKING_DIR_VARIABLES = ("DISTPOOL_RUNTIME_ENV_CREATE_WORKING_DIR", "RAY_RUNTIME_ENV_CREATE_WORKING_DIR")


def installed(
    kind: str, install: Mapping[str, Any], cache: Cache, deadline: Deadline, working_dir: str
) -> str:
    """The folder of the virtual environment for what field ``kind`` ("pip", "uv") says.

    Args:
        kind: the field's name.
        install: as ``plain_install`` made it.
        cache: where environments are kept.
        deadline: until when it must be there.
        working_dir: the unpacked working_dir, which requirements may name; "" if there is none.

    Raises:
        RuntimeEnvSetupError: it cannot be made, with the last lines of who tried.
    """

    def make(path: str, lock: int) -> None:
        _Maker(kind, install, path, lock, deadline, working_dir).make()

    return cache.use(f"venv-{_digest(kind, install, working_dir)}", make, deadline)


def _digest(kind: str, install: Mapping[str, Any], working_dir: str) -> str:
    lines = install["packages"]
    facts = {
        "kind": kind,
        "install": install,
        "files": local_files(lines),
        "python": [sys.version, sys.base_prefix, sysconfig.get_platform()],
        "parent": [[folder, _names_installed(folder)] for folder in _parent_folders()],
        "working_dir": working_dir
        if any(f"${{{name}}}" in line for name in WORKING_DIR_VARIABLES for line in lines)
        else "",
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _parent_folders() -> list[str]:
    """The folders of packages that this Python has."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]


def _names_installed(folder: str) -> list[str]:
    return sorted(
        name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".egg-link"))
    )


def site_packages(environment: str) -> str:
    """The folder of packages of a virtual environment."""
    paths = {"base": environment, "platbase": environment}
    return sysconfig.get_path("purelib", "venv" if "venv" in sysconfig.get_scheme_names() else None, paths)  # type: ignore[arg-type]


class _Maker:
    """Makes one environment; has its log, its lock and its deadline at hand."""

    def __init__(
        self,
        kind: str,
        install: Mapping[str, Any],
        path: str,
        lock: int,
        deadline: Deadline,
        working_dir: str,
    ) -> None:
        self.kind, self.install, self.path = kind, install, path
        self.deadline = deadline
        self.lock = lock
        self.python = f"{path}/bin/python"
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__")
        }
        self.environment |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
        self.environment |= dict.fromkeys(WORKING_DIR_VARIABLES, working_dir)

    def make(self) -> None:
        """Make it, in the folder that is there."""
        requirements = f"{self.path}/requirements.txt"
        with open(requirements, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self.install["packages"])
        self._make_bare()
        uv = self._uv() if self.kind == "uv" else None
        if uv is not None:
            command = [*uv, "pip", "install", "--python", self.python, "-r", requirements]
            self._run([*command, *self.install.get("uv_pip_install_options", ())], "uv pip install")
        else:
            options = self.install.get(f"{'uv_' * (self.kind == 'uv')}pip_install_options", ())
            self._run([*self._pip(), "install", "-r", requirements, *options], "pip install")
        if self.install.get(f"{self.kind}_check"):
            check = [*uv, "pip", "check", "--python", self.python] if uv else [*self._own_pip(), "check"]
            self._run(check, f"{self.kind} check")

    def _make_bare(self) -> None:
        """A virtual environment without pip, but with the program's packages behind its own."""
        self._run([sys.executable, "-P", "-m", "venv", "--without-pip", self.path], "python -m venv")
        lines = [
            f"import sys, site; sys.prefix == {self.path!r} and site.addsitedir({folder!r})\n"
            for folder in _parent_folders()
        ]
        with open(f"{site_packages(self.path)}/_distpool_parent.pth", "w", encoding="utf-8") as file:
            file.writelines(lines)

    def _pip(self) -> Sequence[str]:
        """The pip that installs into the environment; of the version that was asked for, if one was."""
        pip = self._own_pip()
        version = self.install.get("pip_version")
        if version:
            self._run([*pip, "install", f"pip{version}"], "pip install pip")
            return [self.python, "-P", "-m", "pip"]
        return pip

    def _own_pip(self) -> Sequence[str]:
        if _pip_serves_others():
            return [sys.executable, "-P", "-m", "pip", "--python", self.python]
        if not os.path.isdir(f"{site_packages(self.path)}/pip"):
            self._run([self.python, "-P", "-m", "ensurepip"], "python -m ensurepip")
        return [self.python, "-P", "-m", "pip"]

    def _uv(self) -> Sequence[str] | None:
        version = self.install.get("uv_version")
        if version:
            self._run([*self._pip(), "install", f"uv{version}"], "pip install uv")
            return [f"{self.path}/bin/uv"]
        found = shutil.which("uv")
        if found:
            return [found]
        module = importlib.util.find_spec("uv")
        return [sys.executable, "-P", "-m", "uv"] if module is not None and module.origin else None

    def _run(self, command: Sequence[str], what: str) -> None:
        """Run an installer to its end.

        It inherits the lock: if this process is killed, nobody begins anew while the installer still writes.
        """
        with open(f"{self.path}/install.log", "ab") as log:
            start = log.tell()
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    pass_fds=[self.lock],
                    start_new_session=True,
                )
            except OSError as error:
                raise RuntimeEnvSetupError(f"{what}: {command[0]} cannot be run: {error}") from error
            try:
                code = child.wait(self.deadline.left_s)
            except BaseException as error:
                _end(child)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise self.deadline.error(f"{what} was ended") from None
                raise
        if code:
            raise RuntimeEnvSetupError(
                f"{what} for runtime_env[{self.kind!r}] {self.install['packages']} ended with status {code}:\n"
                + self._last_lines(start)
            )

    def _last_lines(self, start: int) -> str:
        with open(f"{self.path}/install.log", "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - _LINES_BYTES_MAX))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LINES_MAX:])


def _end(child: subprocess.Popen[bytes]) -> None:
    """End an installer and what it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _pip_serves_others() -> bool:
    try:
        version = importlib.metadata.version("pip")
        major, minor = (int(part) for part in version.split(".")[:2])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return (major, minor) >= _PIP_FOR_OTHERS
