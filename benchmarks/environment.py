"""Which interpreter runs which peer, and the peers' own environment.

The standard library and distpool run in the interpreter that runs the benchmarks. Everything else is looked
for in an environment of its own, `.cache/peers` at the repository's root, then in this interpreter; so that
comparing with Ray or Dask never adds their dependencies to distpool's environment, nor the other way round.
Rows with arrays and frames need numpy, pandas and pyarrow, which belong to the peers' environment: where this
interpreter lacks them, such a row is measured there for everybody.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from benchmarks.lane import ROOT
from benchmarks.model import Peer, Row

_CACHE = ROOT / ".cache"
FOLDER = _CACHE / "peers"
_PYTHON = FOLDER / "bin" / "python"
_ASK_TIMEOUT_S = 60.0
_INSTALL_TIMEOUT_S = 1800.0

_ASK_VERSIONS = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs, and the version found there."""

    python: str
    version: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where every peer runs, row by row: `installed` is what was found in each interpreter, name by version."""

    installed: Mapping[str, Mapping[str, str]]

    def has(self, peer: Peer) -> bool:
        """Whether a peer is installed anywhere."""
        return isinstance(self.find(peer, ()), Place)

    def find(self, peer: Peer, needs: Iterable[str]) -> Place | str:
        """Where a peer runs a row that needs these libraries, or the reason why it cannot.

        The standard library and distpool leave this interpreter only where it lacks what the row needs and the
        peers' own has it, and then both do.
        """
        needs = tuple(needs)
        if peer.distribution is None:
            for python, versions in self.installed.items():
                wanted = needs if python == sys.executable else (*needs, *_requirements())
                if all(name in versions for name in wanted):
                    return Place(python, self._own_version(peer, versions))
            return f"needs {', '.join(needs)}, and they are not installed here (`--peers all` installs them)"
        for python in reversed(tuple(self.installed)):
            versions = self.installed[python]
            if peer.distribution in versions:
                missing = [name for name in needs if name not in versions]
                if missing:
                    return f"needs {', '.join(missing)} beside it, not installed (`--peers all` installs it)"
                return Place(python, versions[peer.distribution])
        return "not installed (`--peers all` installs it)"

    def libraries(self, peer: Peer, needs: Iterable[str]) -> dict[str, str]:
        """The versions of these libraries where the peer runs a row that needs them."""
        place = self.find(peer, needs)
        return (
            {name: self.installed[place.python][name] for name in needs} if isinstance(place, Place) else {}
        )

    def _own_version(self, peer: Peer, versions: Mapping[str, str]) -> str:
        if peer.family == "distpool":
            return versions.get("distpool", "this checkout")
        return ".".join(map(str, sys.version_info[:3])) if peer.family == "stdlib" else ""


def install(peers: Iterable[Peer], rows: Iterable[Row]) -> None:
    """Make the peers' environment if it is missing, and install in it what peers and rows need and it lacks.

    Where rows need libraries that this interpreter lacks, what distpool itself requires goes there too, so that
    it can run beside them. What cannot be installed stays missing, and its cells say so; pip has printed why.
    """
    needs = {name for row in rows for name in row.needs}
    wanted = {peer.distribution for peer in peers if peer.distribution} | needs
    if any(name not in _versions(sys.executable, sorted(needs)) for name in needs):
        wanted |= set(_requirements())
    _CACHE.mkdir(exist_ok=True)
    (_CACHE / ".gitignore").write_text("*\n")
    if not _PYTHON.exists():
        _say(f"making the peers' environment in {FOLDER.relative_to(ROOT)}")
        venv.create(FOLDER, with_pip=True)
    there = _versions(str(_PYTHON), sorted(wanted))
    missing = sorted(wanted - there.keys())
    if missing:
        _say(f"installing {', '.join(missing)} there (some minutes the first time)")
        # One by one: a library that has no build for this Python must not keep the others away.
        for name in missing:
            command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
            subprocess.run(command, check=False, timeout=_INSTALL_TIMEOUT_S)


def locate(peers: Iterable[Peer], rows: Iterable[Row]) -> Places:
    """Look what is installed in this interpreter and in the peers' own."""
    names = {peer.distribution for peer in peers if peer.distribution}
    names |= {name for row in rows for name in row.needs} | set(_requirements())
    installed = {sys.executable: _versions(sys.executable, [*sorted(names), "distpool"])}
    if _PYTHON.exists():
        installed[str(_PYTHON)] = _versions(str(_PYTHON), sorted(names))
    return Places(installed)


@cache
def _requirements() -> tuple[str, ...]:
    """The names of what distpool itself requires, from its metadata."""
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    lines = metadata["options"]["install_requires"].split()
    return tuple(re.split(r"[<>=!~;\[]", line)[0] for line in lines)


def _versions(python: str, names: list[str]) -> dict[str, str]:
    answer = subprocess.run(
        [python, "-c", _ASK_VERSIONS, *names],
        capture_output=True,
        text=True,
        check=True,
        timeout=_ASK_TIMEOUT_S,
    )
    versions: dict[str, str] = json.loads(answer.stdout)
    return versions


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
