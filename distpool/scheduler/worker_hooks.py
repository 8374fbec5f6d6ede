"""What front doors want done in every worker before its pool's initializer runs.

``distpool run`` lets the standard library's names stand on distpool in this process, and so in its workers too.
"""

from __future__ import annotations

from collections.abc import Callable

#: Importable functions without arguments; what is here when a pool is opened runs in each of its workers.
HOOKS: list[Callable[[], None]] = []
