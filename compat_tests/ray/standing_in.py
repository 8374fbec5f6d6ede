"""`import ray` gives distpool: all that "one changed import" means, for programs that are not changed at all.

::

    import ray                          sys.modules["ray"]             is distpool
    from ray.util.queue import Queue    sys.modules["ray.util.queue"]  is distpool.util.queue

Only names are mapped, one to one: what distpool does not have fails as any missing name does, where it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class StandingIn:
    """Finder and loader in one. It stands first in `sys.meta_path`, before an installed Ray could be found."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "ray" and not name.startswith("ray."):
            return None
        if importlib.util.find_spec(_ours(name)) is None:
            return None
        return ModuleSpec(name, StandingIn, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Take an empty module: `exec_module` puts ours in its place."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(_ours(module.__name__))


def install() -> None:
    """From now on, in this process, `ray` is distpool."""
    sys.meta_path.insert(0, StandingIn)


def _ours(name: str) -> str:
    return "distpool" + name.removeprefix("ray")
