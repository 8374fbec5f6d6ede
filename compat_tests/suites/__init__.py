"""The suites, by name. To add one: a module here with a `SUITE`, its name below, its floor in settings.toml.

Suites are read on both sides: the runner asks for names and source files, the test process collects the
tests. So these modules import nothing of what they test at their top level.
"""

from __future__ import annotations

from compat_tests.suites import executor, names, pool
from compat_tests.suites.model import Guarded, Suite

__all__ = ["SUITES", "Guarded", "Suite"]

SUITES: dict[str, Suite] = {suite.name: suite for suite in (pool.SUITE, executor.SUITE, names.SUITE)}
