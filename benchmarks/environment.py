"""Which interpreter runs which peer, and the peers' own environment.

The standard library and distpool run in the interpreter that runs the benchmarks. Everything else is looked
for in an environment of its own, `.cache/peers` at the repository's root, then in this interpreter; so that
comparing with Ray or Dask never adds their dependencies to distpool's environment, nor the other way round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.lane import ROOT
from benchmarks.model import Peer

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


def install(peers: Iterable[Peer]) -> None:
    """Make the peers' environment if it is missing, and install in it what the peers need and it lacks.

    What cannot be installed stays missing, and its cells say so; pip has printed why.
    """
    wanted = sorted({peer.distribution for peer in peers if peer.distribution})
    _CACHE.mkdir(exist_ok=True)
    (_CACHE / ".gitignore").write_text("*\n")
    if not _PYTHON.exists():
        _say(f"making the peers' environment in {FOLDER.relative_to(ROOT)}")
        venv.create(FOLDER, with_pip=True)
    missing = [name for name in wanted if name not in _versions(str(_PYTHON), wanted)]
    if missing:
        _say(f"installing {', '.join(missing)} there (some minutes the first time)")
        # One by one: a library that has no build for this Python must not keep the others away.
        for name in missing:
            command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
            subprocess.run(command, check=False, timeout=_INSTALL_TIMEOUT_S)


def locate(peers: Iterable[Peer]) -> dict[str, Place]:
    """Where each peer runs, by name; a peer that is not installed anywhere is missing."""
    peers = list(peers)
    names = sorted({peer.distribution for peer in peers if peer.distribution})
    here = _versions(sys.executable, [*names, "distpool"])
    there = _versions(str(_PYTHON), names) if _PYTHON.exists() else {}
    python_version = ".".join(map(str, sys.version_info[:3]))
    places: dict[str, Place] = {}
    for peer in peers:
        if peer.distribution is None:
            version = here.get("distpool", "this checkout") if peer.family == "distpool" else python_version
            places[peer.name] = Place(sys.executable, version)
        elif peer.distribution in there:
            places[peer.name] = Place(str(_PYTHON), there[peer.distribution])
        elif peer.distribution in here:
            places[peer.name] = Place(sys.executable, here[peer.distribution])
    return places


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
