"""Whether something was said already: for warnings that would come once for each of a million items.

Kept in each process for itself. Stands in for ``ray.util.log_once`` and what belongs to it.
"""

from __future__ import annotations

import time

#: For which keys it was said, and when it may be said again.
_said: dict[str, float] = {}
_AGAIN_S = 60.0

_disabled = False
_periodic = False


def log_once(key: str) -> bool:
    """Whether this is the first time that ``key`` is asked for here: True once, then False.

    After ``enable_periodic_logging`` it is True again each minute.
    """
    if _disabled:
        return False
    now = time.monotonic()
    if key not in _said:
        _said[key] = now
        return True
    if _periodic and now - _said[key] > _AGAIN_S:
        _said[key] = now
        return True
    return False


def disable_log_once_globally() -> None:
    """Have ``log_once`` return False from now on in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """Have ``log_once`` return True once a minute for each key, in this process."""
    global _disabled, _periodic
    _disabled, _periodic = False, True
