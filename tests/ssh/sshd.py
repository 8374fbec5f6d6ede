"""Real SSH servers on the hosts of ``tests.cluster.hosts``, and one more host that has none: the user's laptop.

Each server has files, /dev/shm and /run of its own, and lets in by one key, which is made for the test. What it starts
runs in its host, and is killed with that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import hosts
from tests.cluster.hosts import Host

#: Found also where the PATH is a plain user's.
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
_OWN_RUN = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'


def refusal() -> str:
    """Why there can be no such hosts here; "" if there can."""
    if SSHD is None or shutil.which("ssh") is None:
        return "needs OpenSSH's server and client (Debian: openssh-server)"
    return hosts.refusal()


@dataclass
class Network:
    """Hosts with a server, and the laptop."""

    hosts: list[Host]
    laptop: Host
    folder: Path

    def file(self, *named: Host, name: str = "cluster", more: str = "", venv: str = sys.prefix) -> str:
        """A cluster's file with these hosts (all): its path."""
        lines = [
            "defaults:",
            f"  key: {self.folder}/key",
            "  user: root",
            f"  venv: {venv}",
            "  num_cpus: 2",
            "  ssh_options:",
            f"    UserKnownHostsFile: {self.folder}/known_hosts",
            "    StrictHostKeyChecking: accept-new",
            "    IdentitiesOnly: true",
            more,
            "hosts:",
            *[f"  - {{host: {host.address}, name: {host.name}}}" for host in named or self.hosts],
        ]
        path = self.folder / f"{name}.yaml"
        path.write_text("\n".join(filter(None, lines)) + "\n")
        return str(path)

    def distpool(self, *words: str, env: Mapping[str, str] = {}) -> tuple[int, str]:
        """Run a command of distpool's on the laptop."""
        return self.laptop.run("-m", "distpool", *words, env=env)


@contextmanager
def network(folder: Path, *names: str) -> Iterator[Network]:
    """So many hosts with a server, and the laptop."""
    _made(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")])
    with hosts.network(folder, *names, "laptop") as made:
        servers = [_serve(host, folder) for host in made[:-1]]
        try:
            for host in made[:-1]:
                _wait_served(host)
            yield Network(made[:-1], made[-1], folder)
        finally:
            for server in servers:
                server.kill()
                server.wait()


def _serve(host: Host, folder: Path) -> subprocess.Popen[bytes]:
    key = f"{host.folder}-key"
    _made(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    settings = f"""
        ListenAddress {host.address}
        HostKey {key}
        AuthorizedKeysFile {folder}/key.pub
        PidFile none
        UsePAM no
        StrictModes no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PermitRootLogin prohibit-password
        MaxStartups 100
        SetEnv TMPDIR={host.folder} XDG_STATE_HOME={host.folder}-state
    """
    config = Path(f"{host.folder}-sshd_config")
    config.write_text(settings)
    assert SSHD is not None
    words = host.command("sh", "-c", _OWN_RUN, "sh", SSHD, "-D", "-e", "-f", str(config))
    with open(f"{host.folder}-sshd.log", "wb") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait_served(host: Host, within_s: float = 20.0) -> None:
    words = ["ip", "netns", "exec", host.space, "ss", "-Hltn", "sport = :22"]
    until_s = time.monotonic() + within_s
    while not subprocess.run(words, capture_output=True, check=True).stdout:
        assert time.monotonic() < until_s, Path(f"{host.folder}-sshd.log").read_text()
        time.sleep(0.02)


def _made(words: list[str]) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
