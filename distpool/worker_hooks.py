"""What front doors want done in every worker before its pool's initializer runs.

``distpool run`` lets the standard library's names stand on distpool in this process, and so in its workers too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a program under ``distpool run`` that makes no pool must not pay for this import
    from collections.abc import Callable

#: Importable functions without arguments; what is here when a pool is opened runs in each of its workers.
HOOKS: list[Callable[[], None]] = []
