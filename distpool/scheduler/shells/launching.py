"""Starting an agent process and hearing its first word: for the driver of an embedded session, and for a joining node.

::

    starter ── exec, AgentRequest as a JSON line ──► agent
            ◄── {"ready": true, "node": ...}, or {"ready": false, "error": why} ── agent

Not here: what is asked of it (``embedded``, ``joining``), and what it does (``agent``).
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from distpool.errors import ClusterError


class AgentProcess:
    """An agent that was started, from its exec on; or another ``module`` that is asked and answers in the same way.

    ``start_s`` bounds the wait for its first word, in seconds.

    ``output``: where what it and its workers print goes, instead of to our own. ``module``: what runs, if not
    an agent. The session ``directory`` is the
    agent's to remove, even if we die before ``first_word`` asks it for anything.
    """

    def __init__(
        self,
        directory: str,
        request: Mapping[str, Any],
        fds: tuple[int, ...],
        environment: Mapping[str, str],
        start_s: float,
        output: int | None = None,
        module: str = "distpool.scheduler.shells.agent",
    ) -> None:
        self._start_s = start_s
        ask_read, self._ask = os.pipe()
        self._tell, tell_write = os.pipe()
        arguments = [str(ask_read), str(tell_write), directory]
        command = [sys.executable, "-m", module, *arguments]
        try:
            with _no_fork:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(ask_read, tell_write, *fds),
                    env=_with_package({**_hash_seed(request.get("secret", "")), **environment}),
                )
        except BaseException:
            os.close(self._ask)
            os.close(self._tell)
            raise
        finally:
            os.close(ask_read)
            os.close(tell_write)
        self._request = json.dumps(request).encode() + b"\n"

    def ask_only(self) -> None:
        """Ask, and do not wait: its end will be seen, and why is in its output."""
        try:
            os.write(self._ask, self._request)
        except BrokenPipeError:
            pass  # it has ended
        finally:
            os.close(self._ask)
            os.close(self._tell)

    def first_word(self) -> dict[str, Any]:
        """Ask, and wait for the answer. Raises ClusterError with what it said, or that it said nothing; OSError."""
        try:
            os.write(self._ask, self._request)
            answer: dict[str, Any] = json.loads(self._read_line())
        finally:
            os.close(self._ask)
            os.close(self._tell)
        if not answer["ready"]:
            raise ClusterError(answer["error"])
        return answer

    def _read_line(self) -> bytes:
        deadline = time.monotonic() + self._start_s
        data = b""
        poll = select.poll()  # select takes no descriptor above 1023
        poll.register(self._tell, select.POLLIN)
        while not data.endswith(b"\n"):
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            chunk = os.read(self._tell, 4096) if ready else b""
            if not chunk:
                what = "ended before it was ready" if ready else f"was not ready within {self._start_s:.0f} s"
                raise ClusterError(f"the agent process {what}; it may have said why on stderr")
            data += chunk
        return data


def _hash_seed(secret: str) -> dict[str, str]:
    """One seed for ``hash`` on all nodes of a cluster, which strangers cannot guess.

    Work that is shared out by the hashes of strings must be so alike everywhere; of one node all workers are forks.
    """
    if not secret:
        return {}
    seed = hashlib.blake2b(b"distpool hash seed", key=secret.encode()[:64], digest_size=4).digest()
    return {"PYTHONHASHSEED": str(int.from_bytes(seed, "little"))}


def _with_package(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, by which the agent also finds the package when it runs from a checkout."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    path = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": root if not path else f"{root}{os.pathsep}{path}"}


#: Held while a process is started: a fork by another thread at that instant would inherit the pipe by which ``Popen``
#: hears that the exec went well, and keep it waiting for as long as the fork lives.
_no_fork = threading.Lock()


def _forked_child() -> None:
    global _no_fork
    _no_fork = threading.Lock()


# The lock is looked up at each fork, as it is another one in a forked child.
os.register_at_fork(
    before=lambda: _no_fork.acquire(),
    after_in_parent=lambda: _no_fork.release(),
    after_in_child=_forked_child,
)
