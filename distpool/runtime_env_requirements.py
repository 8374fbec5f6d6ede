"""Requirements files as lists of lines that mean the same anywhere, and what local files they lead to.

::

    requirements.txt                     lines
      -r more.txt            ──►           what is in more.txt
      ./wheels/a-1.0...whl                 /home/me/wheels/a-1.0...whl
      numpy==2.0  # why                    numpy==2.0

A path within a file is meant from that file's folder, one in a list from the folder that the program is in; both as pip
has it. Lines are not understood beyond that: pip or uv will. ``${NAME}`` is left for them to replace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["local_files", "plain_install"]

_DEPTH_MAX = 20
_INCLUDE = re.compile(r"(?:-r|--requirement)(?:\s+|=|(?<=-r))(.+)")
#: Options that take a path.
_PATH_OPTION = re.compile(r"(-c|--constraint|-e|--editable|-f|--find-links)(\s+|=)(.+)")
_COMMENT = re.compile(r"(^|\s)#.*$")


def plain_install(kind: str, value: Any) -> dict[str, Any]:
    """What field ``kind`` ("pip", "uv") says, in its longest form: "packages" is a list of lines.

    Raises:
        ValueError: a requirements file is not there, or includes itself.
    """
    plain = dict(value) if isinstance(value, dict) else {"packages": value}
    packages = plain["packages"]
    if isinstance(packages, str):
        plain["packages"] = _lines_of(kind, os.path.abspath(os.path.expanduser(packages)), 0)
    else:
        plain["packages"] = _lines(kind, packages, os.getcwd(), 0)
    return plain


def _lines_of(kind: str, path: str, depth: int) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ValueError(f"runtime_env[{kind!r}]: requirements file {path}: {error.strerror}") from None
    if depth > _DEPTH_MAX:
        raise ValueError(f"runtime_env[{kind!r}]: requirements file {path} includes itself")
    return _lines(kind, re.sub(r"\\\n", "", text).split("\n"), os.path.dirname(path), depth)


def _lines(kind: str, lines: Sequence[str], folder: str, depth: int) -> list[str]:
    found = []
    for raw in lines:
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        include = _INCLUDE.fullmatch(line)
        if include and "${" not in line:
            found += _lines_of(kind, os.path.join(folder, include[1].strip()), depth + 1)
        else:
            found.append(_absolute(line, folder))
    return found


def _absolute(line: str, folder: str) -> str:
    option = _PATH_OPTION.fullmatch(line)
    if option:
        return f"{option[1]}{option[2]}{_absolute_path(option[3], folder, is_path=True)}"
    return line if line.startswith("-") else _absolute_path(line, folder, is_path=False)


def _absolute_path(text: str, folder: str, *, is_path: bool) -> str:
    """A path that leads to something from ``folder``, from anywhere; other text as it is."""
    path, extras = re.fullmatch(r"(.*?)(\[[\w.,\s-]*\])?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if not (is_path or "/" in path or path.endswith((".whl", ".zip", ".tar.gz")) or path == "."):
        return text
    joined = os.path.normpath(os.path.join(folder, os.path.expanduser(path)))
    return joined + (extras or "") if os.path.exists(joined) else text


def local_files(lines: Sequence[str]) -> list[tuple[str, int, int]]:
    """Path, time and size of each file that the lines lead to: if one changes, another environment is meant."""
    found = []
    for line in lines:
        option = _PATH_OPTION.fullmatch(line)
        path = re.sub(r"\[[^\]]*\]$", "", option[3] if option else line)
        path = path.partition(" @ file://")[2] or path
        if not os.path.isabs(path):
            continue
        if os.path.isdir(path) and not (option and option[1] in ("-f", "--find-links")):
            from distpool.runtime_env_packing import scan

            for member in scan(path):
                if member.stamp:
                    found.append((f"{path}/{member.name}", member.stamp[0], member.size_bytes))
        elif os.path.isfile(path):
            facts = os.stat(path)
            found.append((path, facts.st_mtime_ns, facts.st_size))
    return found
