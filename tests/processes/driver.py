"""A driver for the tests to kill: it starts a session with two workers, prints who is who, and waits."""

from __future__ import annotations

import json
import os
import sys

from tests.processes.harness import STUB, Session


def main() -> None:
    worker_main = {"worker_main": STUB} if "stub" in sys.argv else {}
    session = Session(**worker_main)
    leases = session.lease(2)
    orphan = int(session.ask(leases[0], "spawn")) if worker_main else 0
    who = {
        "driver": os.getpid(),
        "agent": session.agent.pid,
        "nursery": session.nursery_pid,
        "workers": [lease.pid for lease in leases],
        "orphan": orphan,
        "directory": session.directory,
    }
    print(json.dumps(who), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
