"""What a person reads: the table on the terminal, the same as Markdown, and the reasons why a run fails."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from compat_tests.score import Row, percent
from compat_tests.settings import CHECKOUT

HEADINGS = (
    "suite",
    "Python",
    "start method",
    "passed",
    "failed",
    "waived",
    "of",
    "per cent",
    "floor",
    "seconds",
)


def table(rows: Sequence[Row], floors: dict[str, float]) -> list[tuple[str, ...]]:
    """The cells of the table: a line for each row, and a total for each suite and Python."""
    lines: list[tuple[str, ...]] = []
    for (suite, version), group in grouped(rows).items():
        lines += [_cells(suite, version, row.start_method, [row], "") for row in group]
        lines.append(_cells(suite, version, "all", group, f"{floors[suite]:g}"))
    return lines


def as_text(lines: Sequence[tuple[str, ...]]) -> str:
    """The table for a terminal."""
    widths = [max(len(line[column]) for line in (HEADINGS, *lines)) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width) for column, (cell, width) in pairs
        ).rstrip()
        for pairs in (list(enumerate(zip(line, widths, strict=True))) for line in (HEADINGS, *lines))
    )


def as_markdown(
    rows: Sequence[Row],
    lines: Sequence[tuple[str, ...]],
    command: str,
    title: str = "# CPython's own tests, run against distpool",
    counted: str = "Of the tests that the standard library passes there. A waived test counts as not passed.",
) -> str:
    """The table as `RESULTS.md` keeps it, with the failures and the waivers below."""
    parts = [
        title,
        f"{datetime.date.today().isoformat()}, commit {commit()}, {platform.platform()}, by `{command}`.",
        counted,
        "\n".join(f"| {' | '.join(line)} |" for line in (HEADINGS, ("---",) * len(HEADINGS), *lines)),
    ]
    lenders = sorted({f"{row.suite} on {row.version}: tests of {row.lent_by}" for row in rows if row.lent_by})
    if lenders:
        parts.append("Borrowed, where a build leaves its tests out: " + "; ".join(lenders) + ".")
    for heading, attribute in (("Failed", "failures"), ("Waived", "waived")):
        entries = _by_test(rows, attribute)
        if entries:
            parts.append(f"## {heading}\n\n" + "\n".join(f"- {entry}" for entry in entries))
    return "\n\n".join(parts) + "\n"


def complaints(rows: Sequence[Row], floors: dict[str, float]) -> list[str]:
    """All that makes the run fail, one sentence each; empty for a good run. No floor: nothing is too low."""
    found = []
    for row in rows:
        place = f"{row.suite} on {row.version}, {row.start_method}"
        found += [f"GUARD {place}: {test} {what}" for test, what in row.violations]
        found += [f"FAILED {place}: {test}: {_last_line(why)}" for test, why in row.failures]
    for (suite, version), group in grouped(rows).items():
        share = percent(group)
        if share is None:
            found.append(
                f"EMPTY {suite} on {version}: the standard library passes nothing, so nothing was tested"
            )
        elif share < floors.get(suite, 0.0):
            found.append(
                f"FLOOR {suite} on {version}: {share:.1f} % is below the floor of {floors[suite]:g} %"
            )
    return found


def hints(rows: Sequence[Row]) -> list[str]:
    """What is no failure, but wants a hand: waivers of tests that pass."""
    return [
        f"{row.suite} on {row.version}, {row.start_method}: {test} passes; its waiver can go"
        for row in rows
        for test in row.stale_waivers
    ]


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows by suite and Python."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.suite, row.version), []).append(row)
    return groups


def _cells(suite: str, version: str, start_method: str, rows: Sequence[Row], floor: str) -> tuple[str, ...]:
    share = percent(rows)
    return (
        suite,
        version,
        start_method,
        str(sum(row.passed for row in rows)),
        str(sum(len(row.failures) for row in rows)),
        str(sum(len(row.waived) for row in rows)),
        str(sum(row.denominator for row in rows)),
        "-" if share is None else f"{share:.1f}",
        floor,
        f"{sum(row.seconds for row in rows):.0f}",
    )


def _by_test(rows: Sequence[Row], attribute: str) -> list[str]:
    """Each test once, with the places and the first reason: most fail alike everywhere."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for test, reason in getattr(row, attribute):
            places.setdefault((test, _last_line(reason)), []).append(f"{row.version} {row.start_method}")
    return [f"`{test}` ({', '.join(where)}): {reason}" for (test, reason), where in sorted(places.items())]


def _last_line(text: str) -> str:
    """The line of a traceback that names the error; of other texts the first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if line.split(":")[0].split(".")[-1].endswith(("Error", "Exception", "Exit"))
    ]
    return (errors or lines or ["no detail"])[0][:200]


def provenance(versions: str, command: str) -> str:
    """When, of what, on what and by which command a table was made; a sentence."""
    python = f"Python {platform.python_version()}"
    return f"{datetime.date.today().isoformat()}, commit {commit()}, {python}, {versions}, by `{command}`."


def commit() -> str:
    """The checkout's, as git names it, and whether it is changed; "unknown" where there is no git."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"


def write(path: Path, text: str) -> None:
    """Write the results file."""
    path.write_text(text)
