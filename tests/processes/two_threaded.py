"""A module that starts a thread when it is imported, as some libraries do: no place for it in a nursery."""

from __future__ import annotations

import threading

from tests.processes.stub_worker import unclean as main

threading.Thread(target=threading.Event().wait, daemon=True).start()

__all__ = ["main"]
