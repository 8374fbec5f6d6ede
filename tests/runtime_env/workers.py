"""Processes that stand for workers: each becomes what a payload says, then runs some code and tells what came of it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from distpool.runtime_envs import Prepared

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0

_WORKER = """
import json, pickle, sys
payload, base, before, code = pickle.load(sys.stdin.buffer)
exec(before)
from distpool.exceptions import RuntimeEnvSetupError
from distpool.runtime_envs import apply
try:
    apply(payload, base)
except RuntimeEnvSetupError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit(3)
result = None
exec(code)
print(json.dumps({"result": result}))
"""


class Worker:
    """One such process."""

    def __init__(
        self,
        place: Place,
        payload: Any,
        code: str = "",
        before: str = "",
        environment: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        cwd: Path | None = None,
        base: Path | None = None,
    ) -> None:
        started = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=started,
            cwd=cwd or place.root,
        )
        place.processes.append(self.process)
        assert self.process.stdin is not None
        self.process.stdin.write(pickle.dumps((payload, str(base or place.base), before, code)))
        self.process.stdin.close()
        self.process.stdin = None

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=WAIT_S)

    def said(self) -> dict[str, Any]:
        out, errors = self.process.communicate(timeout=WAIT_S)
        lines = out.decode().splitlines()
        assert lines, errors.decode()
        assert self.process.returncode in (0, 3), errors.decode()
        said: dict[str, Any] = json.loads(lines[-1])
        return said

    def result(self) -> Any:
        said = self.said()
        assert "result" in said, said
        return said["result"]

    def error(self) -> str:
        said = self.said()
        assert "error" in said, said
        return str(said["error"])


class Place:
    """Where a test's session, cache and files are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = root / "session"
        self.cache = root / "cache"
        self.base.mkdir(mode=0o700)
        self.processes: list[subprocess.Popen[bytes]] = []

    def prepare(self, env: Any, parent: Any = None) -> Prepared:
        from distpool.runtime_envs import prepare

        return prepare(env, str(self.base), parent)

    def folder(self, name: str, files: dict[str, str]) -> Path:
        """A folder with these files."""
        folder = self.root / name
        for key, text in files.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    def worker(self, env: Any, code: str = "", **more: Any) -> Worker:
        payload = self.prepare(env).payload() if isinstance(env, dict) else env
        return Worker(self, payload, code, **more)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=WAIT_S)


def wheel(
    folder: Path,
    name: str = "tinything",
    version: str = "1.0",
    needs: str = "",
    more: dict[str, str] | None = None,
) -> Path:
    """A wheel that needs no building; ``more`` are files beside its package."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if needs:
        metadata += f"Requires-Dist: {needs}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {
        f"{name}/__init__.py": f"version = {version!r}\ndef say(): print('said')\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": tags,
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-say = {name}:say\n",
        **(more or {}),
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path
