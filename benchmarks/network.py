"""A network of one's own: a namespace in which loopback is all there is.

`unshare -n` gives a process such a namespace (as root, or through a user namespace where the kernel allows
it); inside, loopback is down and is raised here. Peers that would listen to the world are run only there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from functools import cache

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ = "16sh14x"


@cache
def isolating_command() -> tuple[str, ...]:
    """What to put before a command to run it in a namespace of its own; empty where that is not permitted."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    prefixes = ((unshare, "--net"), (unshare, "--map-root-user", "--net"))
    for prefix in prefixes if os.geteuid() == 0 else prefixes[1:]:
        if subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=10).returncode == 0:
            return prefix
    return ()


def raise_loopback() -> None:
    """Bring `lo` up, and refuse to go on unless it is the only interface that is up.

    Raises:
        RuntimeError: another interface is up, so this is not a namespace of our own.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        others = [
            name for _, name in socket.if_nameindex() if name != "lo" and _flags(handle, name) & _IFF_UP
        ]
        if others:
            raise RuntimeError(
                f"interfaces {', '.join(others)} are up: this is no network namespace of its own; "
                "start this process under `unshare --net`"
            )
        request = struct.pack(_IFREQ, b"lo", _flags(handle, "lo") | _IFF_UP)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, request)


def _flags(handle: socket.socket, name: str) -> int:
    answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack(_IFREQ, name.encode(), 0))
    flags: int = struct.unpack(_IFREQ, answer)[1]
    return flags
