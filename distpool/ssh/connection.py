"""A link to one host by the user's own ``ssh``: its configuration, keys, agent and jump hosts are those of the user.

::

    Connection.open ── ssh -M -S PATH HOST "echo ...; cat" ──► the master: logs in, and ends with our end of its pipe
    Connection.run ─── ssh -S PATH HOST COMMAND ──► a session through it, in milliseconds

Nothing asks for a password (BatchMode), and everything has a time-out. A master whose starter is killed sees the end of
its standard input, and goes. Not here: what is run (``machine``).
"""

from __future__ import annotations

import itertools
import os
import re
import select
import subprocess
import tempfile
import time
from pathlib import Path

from distpool.errors import ClusterError
from distpool.ssh.spec import HostSpec

__all__ = ["Connection", "Done", "SshError", "private_folder", "ssh_words"]

CONNECT_S = 10
#: For the log-in too: a server may look up names, ask a directory, ...
LOGIN_S = 30.0
#: A host that says nothing for so long, three times, is lost.
ALIVE_S = 10
_SETTINGS: dict[str, str | int | bool] = {
    "BatchMode": True,
    "ConnectTimeout": CONNECT_S,
    "ServerAliveInterval": ALIVE_S,
    "LogLevel": "ERROR",
}
#: What ssh itself ends with; a command of the user's may too.
SSH_FAILED = 255
_CLOSE_S = 3.0
_READY = "distpool-ready"
#: ssh adds some characters to the path of its socket, while it makes that.
_PATH_BYTES_MAX = 85

_REMEDIES = (
    (
        "Host key verification failed",
        "log in once by hand to see and accept its key, or set StrictHostKeyChecking: accept-new in ssh_options",
    ),
    ("Permission denied", "is the right user or key named, and is the key's passphrase with ssh-agent?"),
    ("Connection refused", "no SSH server listens there: is it running, and is ssh_port right?"),
    ("Could not resolve hostname", "is the name right?"),
    ("timed out", "is it up, and does a firewall let port 22, or ssh_port, through?"),
    ("No route to host", "is it up, and on a network that this machine reaches?"),
)


_numbers = itertools.count()


class SshError(ClusterError):
    """A host cannot be reached or spoken to by SSH: cause and remedy, in one line."""


class Done:
    """How a command has ended there."""

    def __init__(self, status: int, output: bytes, errors: bytes) -> None:
        self.status = status
        self.output = output.decode(errors="replace")
        self.errors = errors.decode(errors="replace")


def private_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of this user's for the sockets of some connections, with a path that is short enough."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(parent) < _PATH_BYTES_MAX - 30 and os.access(parent, os.W_OK):
            return tempfile.TemporaryDirectory(prefix="distpool-ssh-", dir=parent)
    raise SshError("no folder for ssh's sockets: none of TMPDIR, /tmp and /var/tmp can be written to")


class Connection:
    """``folder`` is a private one (``private_folder``), which must outlive it; used by one thread at a time."""

    def __init__(self, spec: HostSpec, folder: str) -> None:
        self._spec = spec
        self._socket = f"{folder}/{next(_numbers)}"
        self._errors = Path(f"{self._socket}.err")
        self._master: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Log in. Raises SshError: that is not possible, why, and what to do."""
        more = ("-M", "-o", "ControlPersist=no", "-o", f"ControlPath={self._socket}")
        words = [*ssh_words(self._spec, *more), f"echo {_READY}; exec cat"]
        try:
            with open(self._errors, "wb") as errors:
                self._master = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # a Ctrl-C is for us: we close it
                )
        except FileNotFoundError:
            raise SshError("there is no ssh on the PATH: install OpenSSH's client") from None
        if not self._wait_ready(time.monotonic() + LOGIN_S):
            self.close()
            raise SshError(self._reason(self._errors.read_text(errors="replace")))

    def _wait_ready(self, until_s: float) -> bool:
        assert self._master is not None
        assert self._master.stdout is not None
        out = self._master.stdout.fileno()
        poll = select.poll()
        poll.register(out, select.POLLIN)
        said = b""
        while (left_s := until_s - time.monotonic()) > 0:
            if not poll.poll(left_s * 1000):
                break
            chunk = os.read(out, 65536)
            said = (said + chunk)[-65536:]
            if _READY.encode() in said.split():
                return True
            if not chunk:
                return False
        self._errors.write_text(f"the log-in took longer than {LOGIN_S:g} s: it timed out")
        return False

    def run(self, command: str, data: bytes, within_s: float) -> Done:
        """Run a command of the host's shell to its end. Raises SshError: the link was lost, or it took too long."""
        words = [*ssh_words(self._spec, "-o", f"ControlPath={self._socket}"), command]
        try:
            done = subprocess.run(words, input=data, capture_output=True, timeout=within_s, check=False)
        except subprocess.TimeoutExpired:
            raise SshError(f"it took longer than {within_s:g} s") from None
        if done.returncode == SSH_FAILED:
            raise SshError(self._reason(done.stderr.decode(errors="replace")))
        return Done(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """Hang up."""
        master, self._master = self._master, None
        if master is None:
            return
        for pipe in (master.stdin, master.stdout):
            assert pipe is not None
            pipe.close()
        try:
            master.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            master.kill()
            master.wait()

    def _reason(self, said: str) -> str:
        """The line of ssh's that says why, and what to do about it."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        for sign, remedy in _REMEDIES:
            for line in lines:
                if sign in line:
                    return f"{_plain(line)}: {remedy}"
        return _plain(lines[-1]) if lines else "the link was lost: the host is down, or the network is"


def ssh_words(spec: HostSpec, *more: str) -> list[str]:
    """The words of ``ssh`` up to the command. Of settings that are given twice, it takes the first."""
    settings = dict(spec.ssh_options)
    for name, value in _SETTINGS.items():
        settings.setdefault(name, value)
    words = ["ssh", *more]
    for name, value in settings.items():
        words += ["-o", f"{name}={_setting(value)}"]
    if spec.ssh_port is not None:
        words += ["-p", str(spec.ssh_port)]
    if spec.user:
        words += ["-l", spec.user]
    if spec.key:
        words += ["-i", os.path.expanduser(spec.key)]
    return [*words, "--", spec.host]


def _setting(value: str | int | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _plain(line: str) -> str:
    return re.sub(r"^ssh: ", "", line).rstrip(".\r")
