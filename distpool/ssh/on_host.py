"""What is done on a host, there: a script that is sent over, and runs before distpool is installed.

::

    ssh HOST python -c BOOT ◄── the length of this file, this file, a request as JSON ── ``machine``
                            ──► MARK, an answer as JSON ──►

    look    which Python and which distpool are there, and which nodes run
    set_up  make the virtual environment, if there is none, and install into it what ``look`` has missed
    start   ``distpool start``, with the secret in its environment
    stop    ``distpool stop NAME``

So it runs on any Python from 3.7 on (to say that a version is too old, it must run there), and knows the standard
library only. Everything may be asked for again: what is there is left alone.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

#: Before the answer, whatever else the host prints when somebody comes in.
MARK = "distpool-answer "
#: Beside an environment: what was asked to be installed into it besides distpool.
EXTRAS_FILE = "distpool-packages.json"


def package_files(folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name within the folder, and the content, of each file of the package that lies there."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith((".py", ".typed")):
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    yield os.path.relpath(path, folder), file.read()


def package_digest(folder: str) -> str:
    """Return a name for the package that lies in this folder: equal for equal content."""
    digest = hashlib.sha256()
    for name, content in package_files(folder):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ look


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Say what is there. ``secret_of``: the node whose cluster's secret is wanted too, if it runs."""
    answer: dict[str, Any] = {
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "reached_at": (os.environ.get("SSH_CONNECTION", "").split() or ["", "", ""])[2],
        "digest": "",
        "nodes": [],
        "extras": [],
    }
    with contextlib.suppress(OSError, ValueError), open(_extras_file(request["venv"])) as file:
        answer["extras"] = json.load(file)
    if sys.version_info < (3, 11):  # noqa: UP036  (it may well be)
        return answer
    try:
        import distpool
        from distpool.scheduler.shells.started import started_nodes
    except ImportError as error:
        answer["missing"] = str(error)
        return answer
    answer["digest"] = package_digest(os.path.dirname(os.path.abspath(distpool.__file__)))
    for directory, facts in started_nodes():
        if facts["node"] == request.get("secret_of"):
            with contextlib.suppress(OSError), open(os.path.join(directory, "secret")) as file:
                answer["secret"] = file.read()
        answer["nodes"].append(facts)
    return answer


# ---------------------------------------------------------------------------------------------- set up


def set_up(request: dict[str, Any]) -> dict[str, Any]:
    """Make and fill the environment ``venv``. Several may come at once: one does it, the others find it done."""
    venv = os.path.abspath(os.path.expanduser(request["venv"]))
    os.makedirs(os.path.dirname(venv), exist_ok=True)
    with open(venv + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = os.path.join(venv, "bin", "python")
        if not os.path.exists(python):
            error = _make(venv, request["limit_s"])
            if error:
                return {"error": error}
        return _install(python, venv, request)


def _make(venv: str, limit_s: float) -> str:
    done = _run([sys.executable, "-m", "venv", venv], limit_s)
    if done.returncode == 0:
        return ""
    shutil.rmtree(venv, ignore_errors=True)
    return f"no virtual environment can be made at {venv}: {_last(done)} (on Debian, it needs python3-venv)"


def _install(python: str, venv: str, request: dict[str, Any]) -> dict[str, Any]:
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
    ]
    with tempfile.TemporaryDirectory(prefix="distpool-") as folder:
        wheel = os.path.join(folder, request["wheel_name"])
        with open(wheel, "wb") as file:
            file.write(base64.b64decode(request["wheel"]))
        done = _run([*pip, wheel, *request["packages"]], request["limit_s"])
        if done.returncode == 0 and _digest_of(python) != request["digest"]:
            # The same version was there, with another content.
            done = _run([*pip, "--force-reinstall", "--no-deps", wheel], request["limit_s"])
        if done.returncode:
            return {"error": f"pip cannot install into {venv}: {_last(done)}"}
    if _digest_of(python) != request["digest"]:
        return {"error": f"another distpool is in front of the one in {venv}: is PYTHONPATH set there?"}
    with open(_extras_file(venv), "w") as file:
        json.dump(request["packages"], file)
    return {"executable": python}


def _digest_of(python: str) -> str:
    """Say which distpool an interpreter imports: by another process, since this one may have imported it already."""
    code = "import os, distpool; print(os.path.dirname(os.path.abspath(distpool.__file__)))"
    done = _run([python, "-P", "-c", code], 60)
    return package_digest(done.stdout.strip()) if done.returncode == 0 else ""


def _extras_file(venv: str) -> str:
    return os.path.join(os.path.expanduser(venv), EXTRAS_FILE)


# ----------------------------------------------------------------------------------------- start, stop


def start(request: dict[str, Any]) -> dict[str, Any]:
    """Start a node; it goes on when we have left."""
    environment = dict(os.environ, DISTPOOL_SECRET=request["secret"])
    return _distpool(["start", *request["words"]], request["limit_s"], environment)


def stop(request: dict[str, Any]) -> dict[str, Any]:
    """End a node, if it runs."""
    return _distpool(["stop", request["name"]], request["limit_s"], None)


def _distpool(words: Sequence[str], limit_s: float, environment: dict[str, str] | None) -> dict[str, Any]:
    done = _run([sys.executable, "-P", "-m", "distpool", *words], limit_s, environment)
    return {"status": done.returncode, "output": done.stdout, "error": _last(done) if done.returncode else ""}


def _run(
    words: Sequence[str], limit_s: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"it took longer than {limit_s:g} s")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """Pick the line that says why: the last one of pip's that does, else the last."""
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"it said nothing, and ended with status {done.returncode}"])[-1]


def main() -> None:
    """Do what is asked for on standard input, and answer."""
    sys.path[:] = [place for place in sys.path if place]  # a folder of the user's is not what was installed
    request = json.loads(sys.stdin.read())
    try:
        answer = {"look": look, "set_up": set_up, "start": start, "stop": stop}[request["do"]](request)
    except OSError as error:
        answer = {"error": str(error)}
    print(MARK + json.dumps(answer))


if __name__ == "__main__":
    main()
