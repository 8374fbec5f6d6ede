"""``%load_ext distpool``: a notebook whose pools, executors, joblib and Dask stand on distpool from then on.

What was imported by name before (``from multiprocessing import Pool``) stays what it was: load the extension in the
first cell. ``%unload_ext distpool`` gives everything back.
"""

from __future__ import annotations

from typing import Any

from distpool import run

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Do in this process what ``distpool run`` does for a script."""
    run.install()


def unload_ipython_extension(shell: Any) -> None:
    """Give the libraries their own names back."""
    run.uninstall()
