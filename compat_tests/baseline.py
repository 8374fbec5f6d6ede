"""What the standard library itself passes: the denominator, measured once and kept in `baselines/`.

One file for each suite, Python version and state of the test files (a hash of them is in the file's name),
so a changed test is measured anew. Within it, for each start method and test: its status, and which guarded
classes it makes instances of, which the guard later asks of distpool's run too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from compat_tests.settings import FOLDER

BASELINES = FOLDER / "baselines"


@dataclass(frozen=True)
class Known:
    """One test under the standard library: passed, failed or skipped; and the guarded classes it made."""

    status: str
    made: tuple[str, ...]


@dataclass
class Baseline:
    """The statuses of one suite on one Python, by start method and test name."""

    path: Path
    known: dict[str, dict[str, Known]] = field(default_factory=dict)

    def missing(self, start_method: str, tests: Iterable[str]) -> list[str]:
        """Those of `tests` that were never measured."""
        return [test for test in tests if test not in self.known.get(start_method, {})]

    def passed(self, start_method: str, tests: Iterable[str]) -> list[str]:
        """Those of `tests` that the standard library passes: the denominator."""
        known = self.known.get(start_method, {})
        return [test for test in tests if test in known and known[test].status == "passed"]

    def record(self, start_method: str, test: str, status: str, made: Iterable[str]) -> None:
        """Note how `test` ended."""
        self.known.setdefault(start_method, {})[test] = Known(status, tuple(sorted(made)))

    def save(self) -> None:
        """Write the file, in an order that makes its diffs readable."""
        table = {
            start_method: {test: [known.status, *known.made] for test, known in sorted(tests.items())}
            for start_method, tests in sorted(self.known.items())
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(table, indent=1) + "\n")


def load(suite: str, version: str, sources: Iterable[Path]) -> Baseline:
    """The baseline of `suite` on Python `version` for the test files `sources`; empty if never measured."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    path = BASELINES / f"{suite}-{version}-{digest.hexdigest()[:12]}.json"
    if not path.exists():
        return Baseline(path)
    table = json.loads(path.read_text())
    return Baseline(
        path,
        {
            start_method: {test: Known(status, tuple(made)) for test, (status, *made) in tests.items()}
            for start_method, tests in table.items()
        },
    )
