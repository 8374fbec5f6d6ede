"""The tables: for the terminal (with rich where it is installed), and as Markdown for `RESULTS.md`.

Markdown is kept by sections, one for each group of rows between two marker comments, so that a run of some
groups replaces just these and leaves the others with the date and commit that they were measured at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import Place, Places
from benchmarks.model import Metric, Peer
from benchmarks.rows import Group
from benchmarks.verdict import Line, Verdict

_HEADING = """# Benchmarks

Each row was measured in one interleaved run: every library once a round, the order turning, each
measurement in a fresh process; shown is the best of the rounds. The machine is shared, so **only ratios
within a row mean anything**. Task bodies are those of `bodies.py`, the same for all.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the tables say about the run besides its numbers."""

    facts: Sequence[tuple[str, str]]
    peers: Mapping[str, Peer]
    places: Places
    rounds: int
    quick: bool
    arguments: Sequence[str]


def number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def target_cells(line: Line) -> list[tuple[str, str, str]]:
    """For each target of a line: the target, what was measured, the verdict in a word."""
    return [
        (verdict.target.text, _measured(line.metric, verdict), _word(verdict)) for verdict in line.verdicts
    ]


def _measured(metric: Metric, verdict: Verdict) -> str:
    if verdict.measured is None:
        return "-"
    if verdict.target.percent:
        return f"{number(100 * verdict.measured)} %"
    return (
        f"{number(verdict.measured)}x"
        if verdict.target.against
        else f"{number(verdict.measured)} {metric.unit}"
    )


def _word(verdict: Verdict) -> str:
    return {True: "met", False: "NOT MET", None: "not measured"}[verdict.met]


def peer_cells(line: Line, peers: Mapping[str, Peer]) -> list[tuple[str, str, str]]:
    """For each peer of a line: its title, its best or why there is none, and distpool's ratio to it."""
    cells: list[tuple[str, str, str]] = []
    for name in line.row.lineup:
        if name not in peers or (name not in line.best and name not in line.reasons):
            continue
        value = line.best.get(name)
        shown = number(value) if value is not None else line.reasons[name] or "-"
        cells.append((peers[name].title, shown, _against(line, name)))
    return cells


def _against(line: Line, name: str) -> str:
    ours, theirs = line.ours, line.best.get(name)
    if name == line.row.ours or ours is None or theirs is None or ours <= 0 or theirs <= 0:
        return ""
    return f"{number(ours / theirs if line.metric.better == 'higher' else theirs / ours)}x"


# ---------------------------------------------------------------- terminal


def show(lines: Iterable[Line], setting: Setting) -> None:
    """Print the numbers and the targets."""
    lines = list(lines)
    numbers: list[tuple[str, ...]] = []
    targets: list[tuple[str, ...]] = []
    for line in lines:
        title = f"{line.metric.title} [{line.metric.unit}]"
        for place, cells in enumerate(peer_cells(line, setting.peers)):
            numbers.append((title if place == 0 else "", *cells))
        targets.extend((line.metric.title, *cells) for cells in target_cells(line))
    _print_table("Best of the rounds", ("measured", "library", "best", "distpool is"), numbers)
    _print_table("Targets", ("row", "target", "measured", "verdict"), targets)
    for line in lines:
        if line.metric.limit and any(verdict.met is False for verdict in line.verdicts):
            print(f"{line.metric.title}: {line.metric.limit}")
    if setting.quick:
        print("A quick run with fewer tasks: a look, not a result.")


def _print_table(title: str, heads: tuple[str, ...], cells: list[tuple[str, ...]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(title, heads, cells)
        return
    table = Table(*heads, title=title, title_justify="left")
    for row in cells:
        style = "red" if row[-1] == "NOT MET" else "green" if row[-1] == "met" else ""
        table.add_row(*(re.sub(r"\[", r"\\[", cell) for cell in row), style=style)
    Console().print(table)


def _print_plain(title: str, heads: tuple[str, ...], cells: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (heads, *cells)) for column in range(len(heads))]
    print(f"\n{title}")
    for row in (heads, tuple("-" * width for width in widths), *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# ---------------------------------------------------------------- Markdown


def write_markdown(path: Path, groups: Iterable[Group], lines: Iterable[Line], setting: Setting) -> None:
    """Replace in `path` the sections of the groups that were measured; keep all others."""
    lines = list(lines)
    text = path.read_text() if path.exists() else _HEADING
    for group in groups:
        section = _section(group, [line for line in lines if line.row in group.rows], setting)
        begin, end = f"<!-- group: {group.key} -->", f"<!-- end: {group.key} -->"
        block = f"{begin}\n{section}\n{end}"
        if begin in text and end in text:
            text = text[: text.index(begin)] + block + text[text.index(end) + len(end) :]
        else:
            text = f"{text.rstrip()}\n\n{block}\n"
    path.write_text(text)


def _section(group: Group, lines: list[Line], setting: Setting) -> str:
    """One group: how it was measured, the targets, each library's numbers, why some are missing."""
    command = shlex.join(["python", "-m", "benchmarks", *setting.arguments])
    parts = [f"## {group.title}", "", *_how(lines, setting), f"- Repeat: `{command}`"]
    left_out = [row.key for row in group.rows if all(line.row.key != row.key for line in lines)]
    if left_out:
        parts.append(f"- Rows left out of this run: {', '.join(left_out)}")
    if setting.quick:
        parts.append("- **A quick run with fewer tasks: a look, not a result.**")
    parts += ["", "| row | distpool | target | measured | |", "|---|---|---|---|---|"]
    for line in lines:
        ours = f"{number(line.ours)} {line.metric.unit}" if line.ours is not None else "-"
        for target, measured, word in target_cells(line) or [("", "", "")]:
            parts.append(f"| {line.metric.title} | {ours} | {target} | {measured} | {word} |")
    parts += ["", *_numbers_table(lines, setting)]
    limits = [
        f"- {line.metric.title}: {line.metric.limit}"
        for line in lines
        if line.metric.limit and any(verdict.met is False for verdict in line.verdicts)
    ]
    return "\n".join([*parts, *(["", "Limits, from a profile:", "", *limits] if limits else [])])


def _how(lines: list[Line], setting: Setting) -> list[str]:
    shown = {name for line in lines for name in line.best}
    versions: dict[str, str] = {}
    for line in lines:
        for peer in (setting.peers[name] for name in setting.peers if name in line.best):
            place = setting.places.find(peer, line.row.needs)
            if isinstance(place, Place) and place.version:
                versions[peer.distribution or peer.family] = place.version
            versions |= setting.places.libraries(peer, line.row.needs) if peer.name == line.row.ours else {}
    shares = {
        f"{setting.peers[name].title} {line.row.share_of(setting.peers[name]):.0%}": None
        for name in setting.peers
        for line in lines
        if name in shown and name in line.row.lineup and line.row.share_of(setting.peers[name]) < 1
    }
    facts = [f"- {what}: {value}" for what, value in setting.facts]
    facts.append(f"- Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    facts.append(f"- Rounds: {setting.rounds}, the best counts (memory: one)")
    if shares:
        facts.append(f"- Share of the tasks that slow libraries ran: {', '.join(shares)}")
    return facts


def _numbers_table(lines: list[Line], setting: Setting) -> list[str]:
    """Metrics down, libraries across; a reason in place of a number is a footnote."""
    names = [name for name in setting.peers if any(name in line.row.lineup for line in lines)]
    heads = " | ".join(setting.peers[name].title for name in names)
    table = [f"| best | {heads} |", "|---" * (len(names) + 1) + "|"]
    notes: dict[str, int] = {}
    for line in lines:
        cells = []
        for name in names:
            if name in line.best:
                cells.append(number(line.best[name]))
            elif line.reasons.get(name):
                note = f"{setting.peers[name].title}: {line.reasons[name]}"
                cells.append(f"({notes.setdefault(note, len(notes) + 1)})")
            else:
                cells.append("")
        table.append(f"| {line.metric.title}, {line.metric.unit} | {' | '.join(cells)} |")
    # One line of Markdown each, whatever a library's message contains.
    footnotes = [f"({place}) {' '.join(note.split())[:300]}  " for note, place in notes.items()]
    return [*table, *(["", *footnotes] if footnotes else [])]
