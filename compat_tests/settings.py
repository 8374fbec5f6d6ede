"""The two tables beside the code: `settings.toml` (floors, time-outs) and `waivers.toml` (known failures).

Waivers never make a test count as passed; see `compat_tests.score`.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
CHECKOUT = FOLDER.parent
CACHE = CHECKOUT / ".cache" / "compat_tests"


@dataclass(frozen=True)
class Settings:
    """`settings.toml`: floors in per cent by suite name, times in seconds."""

    floor_percent: dict[str, float]
    jobs: int
    timeout_s: float
    settle_s: float
    dependencies: tuple[str, ...]
    imports: tuple[str, ...]


@dataclass(frozen=True)
class Waiver:
    """One known failure: a pattern over test names, and the reason in one line. Empty tuples mean "all"."""

    suite: str
    test: str
    reason: str
    start_methods: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()

    def covers(self, suite: str, test: str, start_method: str, version: str) -> bool:
        """Whether this waiver speaks of `test` of `suite`; `version` is Python's ("3.13.0")."""
        return (
            self.suite == suite
            and fnmatch.fnmatchcase(test, self.test)
            and (not self.start_methods or start_method in self.start_methods)
            and (not self.pythons or any(same_series(version, python) for python in self.pythons))
        )


def same_series(version: str, wanted: str) -> bool:
    """Whether `version` ("3.13.0") is, or is a release of, `wanted` ("3.13.0" or "3.13")."""
    return version == wanted or version.startswith(wanted + ".")


def load_settings(path: Path = FOLDER / "settings.toml") -> Settings:
    """Read `settings.toml`. Raises KeyError if a knob is missing."""
    table = _read(path)
    return Settings(
        floor_percent={name: float(percent) for name, percent in table["floor_percent"].items()},
        jobs=int(table["run"]["jobs"]),
        timeout_s=float(table["run"]["timeout_s"]),
        settle_s=float(table["run"]["settle_s"]),
        dependencies=tuple(table["environment"]["dependencies"]),
        imports=tuple(table["environment"]["imports"]),
    )


def load_waivers(path: Path = FOLDER / "waivers.toml") -> list[Waiver]:
    """Read `waivers.toml`. Raises ValueError for a waiver without a one-line reason."""
    waivers = []
    for entry in _read(path).get("waiver", []):
        reason = str(entry.get("reason", "")).strip()
        if not reason or "\n" in reason:
            raise ValueError(f"{path.name}: the waiver of {entry.get('test')!r} needs a reason, in one line")
        waivers.append(
            Waiver(
                suite=entry["suite"],
                test=entry["test"],
                reason=reason,
                start_methods=tuple(entry.get("start_methods", ())),
                pythons=tuple(entry.get("pythons", ())),
            )
        )
    return waivers


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
