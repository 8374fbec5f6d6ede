"""One host of a cluster, and all that can be done to it: look, set up, start and stop its node.

::

    Machine.look ──► Seen            set_up: the environment has this very distpool, and the packages that are asked for
    start, stop  ──► a line          each of them may be said again: what is there is left alone

What runs there is ``on_host``, sent along each time. Raises SshError wherever the host does not do what it should.
Not here: in which order, and on which hosts at one time (``hosts``).
"""

from __future__ import annotations

import base64
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from distpool.ssh import on_host
from distpool.ssh.connection import Connection, SshError, ssh_words
from distpool.ssh.spec import HostSpec
from distpool.ssh.wheel import Wheel, this_digest, this_wheel

__all__ = ["Machine", "Seen", "errand_words"]

LOOK_S, SET_UP_S, START_S = 60.0, 900.0, 90.0
#: A node that is stopped ends what it runs, for as long as it was told at its start (30 s); then it is killed.
STOP_S = 60.0
#: Reads the script, and leaves its request to it. It has no quotes, since it is within some.
_BOOT = "import sys; f = sys.stdin.buffer; exec(f.read(int(f.readline())))"


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is on a host: see ``on_host.look``. ``nodes`` are those of this user's that run there."""

    python: tuple[int, ...]
    executable: str
    reached_at: str
    digest: str
    nodes: tuple[dict[str, Any], ...]
    extras: tuple[str, ...]
    missing: str = ""
    secret: str = ""

    def node(self, name: str) -> dict[str, Any] | None:
        """What the node of this name has left word of, if it runs."""
        return next((node for node in self.nodes if node["node"] == name), None)


class Machine:
    """A host with a link to it, from ``with`` on. ``folder``: see ``Connection``."""

    def __init__(self, spec: HostSpec, folder: str) -> None:
        self.spec = spec
        self._link = Connection(spec, folder)

    def __enter__(self) -> Machine:
        self._link.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()

    def look(self) -> Seen:
        """What is there. Raises SshError also for a Python that cannot be one of the cluster's."""
        seen = msgspec.convert(
            self._ask("look", LOOK_S, venv=self.spec.venv, secret_of=self.spec.name), type=Seen
        )
        if seen.python[:2] != sys.version_info[:2]:
            found, here = ".".join(map(str, seen.python)), ".".join(map(str, sys.version_info[:2]))
            raise SshError(
                f"{seen.executable} is Python {found}, and this is {here}: functions could not travel between "
                f"them; name one with `python: /path/to/python{here}` (and another `venv`, if that has been made)"
            )
        return seen

    def lacks(self, seen: Seen, packages: Sequence[str]) -> bool:
        """Whether something is to be installed."""
        return seen.digest != this_digest() or list(seen.extras) != list(packages)

    def set_up(self, packages: Sequence[str], wheel: Wheel | None = None) -> None:
        """Install this distpool and these packages into the host's environment, which is made if need be."""
        wheel = wheel or this_wheel()
        self._ask(
            "set_up",
            SET_UP_S,
            venv=self.spec.venv,
            digest=this_digest(),
            packages=list(packages),
            wheel_name=wheel.name,
            wheel=base64.b64encode(wheel.data).decode(),
        )

    def start(self, words: Sequence[str], secret: str) -> None:
        """``distpool start`` with these words."""
        self._ask("start", START_S, words=list(words), secret=secret)

    def stop(self, name: str) -> None:
        """``distpool stop`` of the node of this name."""
        self._ask("stop", STOP_S, name=name)

    # ------------------------------------------------------------------------------------------------ asking

    def _ask(self, what: str, within_s: float, **request: Any) -> dict[str, Any]:
        """Have the script do something there; its answer."""
        code = Path(on_host.__file__).read_bytes()
        said = json.dumps({"do": what, "limit_s": within_s - 5.0, **request}).encode()
        venv, python = _venv_python(self.spec), _path(self.spec.python)
        choose = f'p={venv}; test -x "$p" || p={python}; exec "$p" -c "{_BOOT}"'
        command = f"sh -c {shlex.quote(choose)}"  # whatever shell it is that the user logs in to
        done = self._link.run(command, b"%d\n%b%b" % (len(code), code, said), within_s)
        for line in reversed(done.output.splitlines()):
            if line.startswith(on_host.MARK):
                answer: dict[str, Any] = json.loads(line.removeprefix(on_host.MARK))
                if answer.get("error"):
                    raise SshError(str(answer["error"]))
                return answer
        raise SshError(self._no_answer(done.status, done.errors))

    def _no_answer(self, status: int, errors: str) -> str:
        lines = [line for line in errors.splitlines() if line.strip()]
        why = lines[-1].strip() if lines else f"status {status}, and not a word"
        if status in (126, 127):
            return (
                f"there is no {self.spec.python} there ({why}): name Python with `python: /path/to/python3`"
            )
        return f"Python does not run there: {why}"


def errand_words(spec: HostSpec, words: Sequence[str], *options: str) -> list[str]:
    """A local command that runs these words on a host: see ``errand``. ``-t`` is ssh's, for a terminal.

    It is a link of its own: so it ends with whoever runs it, however that ends.
    """
    terminal = ["-t"] if "-t" in options else ["-T"]
    more = [option for option in options if option != "-t"]
    inner = shlex.join(["-P", "-m", "distpool.ssh.errand", *more, spec.name, *words])
    return [*ssh_words(spec, *terminal), f"exec {_venv_python(spec)} {inner}"]


def _venv_python(spec: HostSpec) -> str:
    return f"{_path(spec.venv)}/bin/python"


def _path(path: str) -> str:
    """A path as a word of a shell's: only the home in it is the host's business."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:])
    return shlex.quote(path)
