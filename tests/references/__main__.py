"""``python -m tests.references SEED``: one world, told as it goes."""

from __future__ import annotations

import sys

from .world import run

run(int(sys.argv[1]), print)
