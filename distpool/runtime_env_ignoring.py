"""Which files of a folder stay at home: patterns as in ``.gitignore`` files, read as git reads them.

::

    excludes=[...]                                            of the whole folder
    .gitignore, .rayignore, .distpoolignore in any folder     of that folder and what is below it
        │ a later rule beats an earlier one, a deeper file's a higher one's
        ▼
    Rules.ignores("data/big.bin", is_folder=False)

A line is a pattern; empty lines and ``#`` lines are none. ``!`` takes back what an earlier rule left out (but nothing
of a folder that is itself left out). With ``/`` at the beginning or in the middle it is meant from its own folder on,
else at any depth; with ``/`` at the end it means folders only. ``*`` and ``?`` stand for anything but ``/``, ``[a-z]``
for one character, ``**/``, ``/**`` and ``/**/`` for folders in between. ``\\`` takes the next character as it is.

``DISTPOOL_RUNTIME_ENV_IGNORE_GITIGNORE=1`` (or Ray's ``RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1``) has ``.gitignore`` files
not looked at. Not here: git's own ``info/exclude``, and its user's settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Rules", "rule_files"]

_GITIGNORE_OFF = ("DISTPOOL_RUNTIME_ENV_IGNORE_GITIGNORE", "RAY_RUNTIME_ENV_IGNORE_GITIGNORE")


def rule_files() -> tuple[str, ...]:
    """The names of the files with rules, a later one's beat an earlier one's."""
    if any(os.environ.get(name, "0") not in ("", "0") for name in _GITIGNORE_OFF):
        return (".rayignore", ".distpoolignore")
    return (".gitignore", ".rayignore", ".distpoolignore")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    takes_back: bool
    folders_only: bool


class Rules:
    """The rules that hold in one folder; a folder below begins with those of the one above it."""

    def __init__(self, rules: tuple[_Rule, ...] = ()) -> None:
        self._rules = rules

    def with_lines(self, lines: Iterable[str], folder: str = "") -> Rules:
        """These and, with more weight, ``lines``, which stand in ``folder`` ("a/b", "" for the top)."""
        more = tuple(rule for line in lines if (rule := _rule(line, folder)) is not None)
        return Rules(self._rules + more) if more else self

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether what lies at ``path`` ("a/b/c", from the top) is left out; that of its folder is asked before."""
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return not rule.takes_back
        return False


def _rule(line: str, folder: str) -> _Rule | None:
    text = _without_blanks(line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    takes_back = text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.removesuffix("/")
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    start = re.escape(folder) + "/" if folder else ""
    body = _translated(text)
    if body is None:  # as git has it: such a pattern matches nothing
        return None
    return _Rule(
        re.compile(start + ("" if anchored else "(?:.*/)?") + body, re.DOTALL), takes_back, folders_only
    )


def _without_blanks(line: str) -> str:
    """Blanks at the end do not count, unless a backslash is before them."""
    text = line.rstrip(" ")
    if len(text) < len(line) and (len(text) - len(text.rstrip("\\"))) % 2:
        text += " "
    return text


def _translated(pattern: str) -> str | None:
    """The regular expression for a pattern without its first and last slash."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern[at:] == "**" and at > 0 and pattern[at - 1] == "/":
            out, at = out + ".+", at + 2
        elif pattern[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif pattern[at] == "?":
            out, at = out + "[^/]", at + 1
        elif pattern[at] == "[":
            found = re.compile(r"\[([!^]?)(\]?(?:\\.|\[:\w+:\]|[^\]\\])*)\]").match(pattern, at)
            if found is None:
                return None
            out, at = out + _one_of(found[1], found[2]), found.end()
        elif pattern[at] == "\\":
            if at + 1 == len(pattern):
                return None
            out, at = out + re.escape(pattern[at + 1]), at + 2
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return out


_CLASSES = {"[:alpha:]": "a-zA-Z", "[:digit:]": "0-9", "[:alnum:]": "a-zA-Z0-9", "[:space:]": r"\s"}
_CLASSES |= {"[:lower:]": "a-z", "[:upper:]": "A-Z", "[:xdigit:]": "0-9a-fA-F"}


def _one_of(negation: str, members: str) -> str:
    """The set of a regular expression; it never holds the slash."""
    parts = re.findall(r"\[:\w+:\]|\\.|.", members, re.DOTALL)
    inside = ""
    for number, part in enumerate(parts):
        if part in _CLASSES:
            inside += _CLASSES[part]
        elif part == "-" and 0 < number < len(parts) - 1:
            inside += "-"
        else:
            inside += re.escape(part[-1])
    return f"(?!/)[{'^' if negation else ''}{inside}]"
