"""What front doors want done when a pool is opened: in its owner, and in every worker before the initializer runs.

``distpool run`` lets the standard library's names stand on distpool in this process, and so in its workers too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a program under ``distpool run`` that makes no pool must not pay for this import
    from collections.abc import Callable

#: Importable functions without arguments; what is here when a pool is opened runs in each of its workers.
HOOKS: list[Callable[[], None]] = []

#: Functions without arguments; they run in this process when a pool is opened, before anything is pickled for it.
OWNER_HOOKS: list[Callable[[], None]] = []

#: In a worker: how many more items than calls it has worked off since it began; chunks of a map add to it.
more_items = 0
