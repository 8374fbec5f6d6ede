"""`with pd.progress():` shows how many fragments of a plan are done, as `Pool.map(progress=True)` shows items.

How many there will be is known stage by stage, so the total grows. `DISTPOOL_PROGRESS=1` asks for it everywhere. What
drawing raises ends the drawing, and nothing else.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

_asked: Any = None


@contextlib.contextmanager
def progress(show: Any = True) -> Iterator[None]:
    """Show the progress of plans that run in fragments, for a while. Not a name of pandas.

    Args:
        show: True, a description, or a dict of `description`, `unit`, `file`; False for none.

    Raises:
        TypeError: it is nothing of the kind.
    """
    global _asked
    from distpool.progress import options_of

    options_of(show)
    before, _asked = _asked, show
    try:
        yield
    finally:
        _asked = before


class Shown:
    """The bar of one plan, if there is to be one. Fragments are counted by the thread that runs the plan."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._total = self._done = 0
        self._began_s = time.monotonic()
        with contextlib.suppress(Exception):
            self._bar = _bar()

    @property
    def interval_s(self) -> float | None:
        """How long to wait between two looks; None: as long as it takes."""
        return None if self._bar is None else float(self._bar.interval_s)

    def more(self, count: int) -> None:
        """So many more are to be done."""
        self._total += count
        self.look()

    def one_done(self) -> None:
        """One is done."""
        self._done += 1
        self.look()

    def look(self, ended: str = "") -> None:
        """Show how far it is; for the last time if it has `ended`: done, or stopped."""
        if self._bar is None:
            return
        from distpool.progress_bars import Reading

        reading = Reading(self._done, self._total, 0, time.monotonic() - self._began_s, ended)
        try:
            (self._bar.finish if ended else self._bar.draw)(reading)
        except Exception:  # a closed stream, a broken terminal: the work has nothing to do with it
            self._bar = None
        if ended:
            self._bar = None


def _bar() -> Any:
    import dataclasses

    from distpool.progress import options_of
    from distpool.progress_bars import bar_for

    options = options_of(_asked)
    if options is None:
        return None
    return bar_for(dataclasses.replace(options, unit="fragments") if options.unit == "items" else options)
