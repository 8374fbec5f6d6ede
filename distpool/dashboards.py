"""``dashboard=True``: the page of ``distpool dashboard`` for this program, from its start to its end.

::

    init(dashboard=True), Pool(dashboard=9000) ──► open_dashboard ── a process of its own: distpool dashboard
                                     stdin: whom to ask ──►            ──► Asker ──► this session's agent
                                     ◄── stdout: its address, or why there is none
    shutdown(), or the end of the program: stdin closes, and it ends

A process of its own, so a page that many look at takes no time of the program's, and its death is not noticed here.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time

from distpool.scheduler import client

__all__ = ["close_dashboard", "open_dashboard"]

#: It imports a web server, and looks at the cluster once.
START_S = 30.0
#: How long it has to end, when it is told.
END_S = 5.0

_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None
_pid = 0
_url = ""


def open_dashboard(where: bool | int | str = True) -> str:
    """Serve this session's page, if that is not done already; its address, which is printed on standard error, too.

    Args:
        where: True for any port of this machine's own; a port; or "HOST:PORT" to be seen from elsewhere.

    Raises:
        ValueError: that is no place.
        RuntimeError: it did not start, and why.
    """
    global _process, _pid, _url
    words = _words_of(where)
    with _lock:
        if _process is not None and _pid == os.getpid() and _process.poll() is None:
            return _url
        session = client.session()
        session.contact  # noqa: B018  # its cluster is up then, and has an address
        address, secret = session.cluster.home_address, ""
        if session.cluster.keys is not None:
            address, secret = address.partition("://")[2], client.secret_of_environment()
        process = subprocess.Popen(
            [sys.executable, "-m", "distpool", "dashboard", "--for-program", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is the program's; it ends with that
            env=_environment(),
        )
        try:
            told = _first_word(
                process, json.dumps({"address": address, "secret": secret, "pid": os.getpid()})
            )
        except BaseException:
            process.kill()
            _end(process)
            raise
        _process, _pid, _url = process, os.getpid(), told
        atexit.register(close_dashboard)
    print(f"distpool dashboard: {told}", file=sys.stderr, flush=True)
    return told


def close_dashboard() -> None:
    """End it. Does nothing where there is none."""
    global _process
    with _lock:
        process, _process = _process, None
        if process is not None and _pid == os.getpid():
            _end(process)


def _words_of(where: bool | int | str) -> list[str]:
    if where is True:
        return []
    if isinstance(where, int):
        return ["--port", str(where)]
    host, _, port = where.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError(f"dashboard is True, a port, or 'HOST:PORT', not {where!r}")
    return ["--host", host.strip("[]"), "--port", port]


def _environment() -> dict[str, str]:
    """Of this program; with where it has found distpool itself."""
    import distpool

    found = os.path.dirname(os.path.dirname(os.path.abspath(distpool.__file__)))
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{found}{os.pathsep}{path}" if path else found}


def _first_word(process: subprocess.Popen[str], asked: str) -> str:
    """Its address. Raises RuntimeError, with what it said."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(asked + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # its first word says why
    until_s = time.monotonic() + START_S
    ready, _, _ = select.select([process.stdout], [], [], max(0.0, until_s - time.monotonic()))
    line = process.stdout.readline() if ready else ""
    if not line:
        reason = f"nothing came within {START_S:g} s" if not ready else "its process ended"
        raise RuntimeError(f"the dashboard did not start: {reason}")
    told = json.loads(line)
    if "error" in told:
        raise RuntimeError(f"the dashboard did not start: {told['error']}")
    url: str = told["url"]
    return url


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.close()
    except OSError:
        pass  # it has ended, and what it was told is lost
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
