"""Whose code is it: the program's own, or an installed library's?"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig

__all__ = ["is_of_a_library"]


@functools.lru_cache(maxsize=4096)
def is_of_a_library(file: str) -> bool:
    """Whether this source file belongs to an installed library, the standard one, or distpool; not to the program."""
    path = os.path.abspath(file)
    return file.startswith("<frozen") or path.startswith(_library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    folders.add(os.path.dirname(os.path.abspath(__file__)))
    return tuple(os.path.abspath(folder) + os.sep for folder in folders)
