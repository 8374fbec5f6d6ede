"""What stands on distpool under ``distpool run`` beyond the standard library: joblib and Dask; Ray if asked.

::

    import joblib ── its package has been run ──► its backend "loky", the default one, is distpool's
    import dask ───────────────────────────────► its default scheduler is distpool's
    import ray (--ray) ───────► distpool, and ray.util.queue is distpool.util.queue

Nothing is imported before the program imports it. A library without a front door of ours, or too old for it, stays as
it is.

What it is not: the names of the standard library; ``run`` replaces those, name by name. And not pandas, which is only
replaced for those who ask (``run_pandas``).
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec

from distpool.worker_hooks import HOOKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

# ------------------------------------------------------------------------------- after an import


def _joblib_stands_here(joblib: Any) -> Callable[[], None] | None:
    """Put our backend into loky's place; returns what undoes it, or None if it could not be done."""
    try:
        stand_in = importlib.import_module("distpool.joblib").LokyBackend
        backends = joblib.parallel.BACKENDS
        original = backends["loky"]
    except (ImportError, AttributeError, KeyError):
        # It is older than our backend, without multiprocessing, or another module of that name. Or it is our backend
        # that imports it, and will call `stand` at its end.
        return None
    backends["loky"] = stand_in

    def undo() -> None:
        backends["loky"] = original

    return undo


def _dask_stands_here(dask: Any) -> Callable[[], None] | None:
    """Make our scheduler Dask's default; returns what undoes it, or None if there is none."""
    try:
        importlib.import_module("distpool.dask")  # which makes the name known to Dask
        before = dask.config.get("scheduler", None)
        if before is not None:
            return None  # the user has chosen one
        dask.config.set(scheduler="distpool")
    except (ImportError, AttributeError):
        return None

    def undo() -> None:
        dask.config.set(scheduler=before)

    return undo


_AFTER: dict[str, Callable[[Any], Callable[[], None] | None]] = {
    "joblib": _joblib_stands_here,
    "dask": _dask_stands_here,
}
_undo: dict[str, Callable[[], None]] = {}


class _AfterImport:
    """A finder that finds what the others find, and lets us know when the module has been run."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Ask the other finders; change nothing but what happens after the module was run."""
        if name not in _AFTER:
            return None
        others = (
            getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not _AfterImport
        )
        specs = (find(name, path, target) for find in others if find is not None)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_stand(module: ModuleType) -> None:
                run(module)
                stand(name, module)

            spec.loader.exec_module = run_and_stand
        return spec


def stand(name: str, module: ModuleType) -> None:
    """Let this library stand on distpool, if libraries are to."""
    if _AfterImport in sys.meta_path and name not in _undo:
        undo = _AFTER[name](module)
        if undo is not None:
            _undo.setdefault(name, undo)  # our own module, imported just now, may have been here first


def install() -> None:
    """Let joblib and Dask stand on distpool, in this process and in its workers. Again: nothing changes."""
    if _AfterImport in sys.meta_path:
        return
    sys.meta_path.insert(0, _AfterImport)
    for name in _AFTER:
        if name in sys.modules:
            stand(name, sys.modules[name])


def uninstall() -> None:
    """Give the libraries what they had."""
    if _AfterImport in sys.meta_path:
        sys.meta_path.remove(_AfterImport)
    while _undo:
        _undo.popitem()[1]()


# ------------------------------------------------------------------------------------------ Ray


class _Ray:
    """A finder and loader, before an installed Ray could be found: ``ray.x`` is ``distpool.x``."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim ``ray``, and those modules of it that distpool has."""
        if name.partition(".")[0] != "ray":
            return None
        from importlib.util import find_spec

        if find_spec(_ours(name)) is None:
            return None
        return ModuleSpec(name, _Ray, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Take an empty module: it is thrown away in `exec_module`."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put ours where the import system looks for it."""
        sys.modules[module.__name__] = importlib.import_module(_ours(module.__name__))


def _ours(name: str) -> str:
    return "distpool" + name.removeprefix("ray")


def stand_for_ray() -> None:
    """From now on ``import ray`` gives distpool, in this process and in its workers."""
    if _Ray not in sys.meta_path:
        sys.meta_path.insert(0, _Ray)
        HOOKS.append(stand_for_ray)
