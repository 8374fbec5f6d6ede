"""On a host: run one command for somebody who waits for it elsewhere, and end it when that one is gone.

::

    distpool exec ── ssh ──► sshd ── errand NODE COMMAND ... ──► the command, in the cluster of that node
                     gone ──► end of our output ──► SIGHUP to all of the command, SIGKILL after a while

Without that, a command goes on when its line is cut: sshd tells nobody. (With a terminal, the kernel does.) With
``--held`` standard input is not the command's: its end, too, says that who has asked is gone.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence

from distpool.scheduler.shells import processes
from distpool.scheduler.shells.started import SECRET_FILE, started_nodes

HANG_UP_S = 5.0


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status, as a shell gives it."""
    held, (node, *command) = words[0] == "--held", words[words[0] == "--held" :]
    terminal = os.isatty(0)
    processes.become_subreaper()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if held else None,
            env=_environment(node),
            start_new_session=not terminal,
        )
    except OSError as error:
        print(f"distpool exec: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    if terminal:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for the command, and so is its answer
    elif not _wait_end(child, held):
        os.killpg(child.pid, signal.SIGHUP)
        try:
            child.wait(HANG_UP_S)
        except subprocess.TimeoutExpired:
            pass
        processes.end_descendants()
        return 128 + signal.SIGHUP
    status = child.wait()
    return status if status >= 0 else 128 - status


def _wait_end(child: subprocess.Popen[bytes], held: bool) -> bool:
    """Wait for the end of the command; False: nobody reads what it says any more."""
    fate = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(fate, select.POLLIN)
    poll.register(1, 0)  # the end of a pipe or socket is always told
    if held:
        poll.register(0, select.POLLIN)
    return any(fd == fate for fd, _ in poll.poll())


def _environment(node: str) -> dict[str, str]:
    """Programs of the environment come first, and find the cluster of the node that runs here."""
    folder = os.path.dirname(sys.executable)
    path = os.pathsep.join([folder, *filter(None, [os.environ.get("PATH")])])
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix}
    for directory, facts in started_nodes():
        if facts["node"] == node:
            environment |= {
                "DISTPOOL_ADDRESS": facts["at"],
                "DISTPOOL_SECRET_FILE": f"{directory}/{SECRET_FILE}",
            }
    return environment


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
