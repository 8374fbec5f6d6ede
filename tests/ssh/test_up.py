"""A cluster on hosts that SSH logs in to: brought up, used, and taken down, by commands on a laptop."""

from __future__ import annotations

import json
import os
import signal
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Host
from tests.processes.scene import wait_until
from tests.ssh.sshd import Network

pytestmark = pytest.mark.timeout(120)

#: A task on each of the nodes, and how many CPUs they have.
EVERYWHERE = """
import json, distpool
from distpool.scheduler.node_identity import current_node
where = distpool.remote(current_node)
distpool.init()
tasks = [where.options(resources={f"node:{node['NodeName']}": 0.01}).remote() for node in distpool.nodes()]
print(json.dumps([distpool.cluster_resources()["CPU"], sorted(distpool.get(tasks))]))
"""


@pytest.fixture(scope="module")
def up(net: Network) -> Iterator[tuple[Network, str, str]]:
    """The hosts with a cluster on them, its file, and what ``up`` has said."""
    file = net.file()
    status, text = net.distpool("up", file)
    assert status == 0, text
    yield net, file, text
    status, text = net.distpool("down", file)
    assert status == 0, text
    assert [nodes_of(host) for host in net.hosts] == [[], [], []]


def nodes_of(host: Host) -> list[str]:
    """The agents that run there; their nurseries are forks of them."""
    words = [command_of(pid) for pid in host.pids()]
    return sorted({each for each in words if "shells.agent" in each})


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def test_what_is_missing_is_installed_and_what_is_there_left_alone(net: Network) -> None:
    """Into an environment with pip, what distpool stands on, and another distpool: nothing is fetched."""
    a = net.hosts[0]
    place = net.folder / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    inside = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for each in Path(next(path for path in sys.path if path.endswith("site-packages"))).iterdir():
        if "distpool" not in each.name:
            (inside / each.name).symlink_to(each)
    (inside / "distpool").mkdir()
    (inside / "distpool" / "__init__.py").write_text("an_older_one = True\n")
    file = net.file(a, name="new", more="packages: [psutil]", venv=str(place))
    status, said = net.distpool("up", file)
    assert status == 0, said
    assert said.startswith("a  installs distpool\na  starts its node\na  is up\n")
    assert "an_older_one" not in (inside / "distpool" / "__init__.py").read_text()
    assert (place / "bin" / "distpool").exists()
    assert nodes_of(a)[0].startswith(f"{place}/bin/python")
    assert net.distpool("up", file)[1].startswith("a  is up, and nothing was to be done\n")
    assert net.distpool("down", file) == (0, "a  ends its node\na  has ended\n")


def test_three_hosts_are_up_and_a_second_time_nothing_is_done(up: tuple[Network, str, str]) -> None:
    """The second time is on another laptop, which does not know the secret yet."""
    net, file, text = up
    assert "DISTPOOL_ADDRESS=10.77.0.1:9437" in text
    before = [host.pids() for host in net.hosts]
    other = net.folder / "other-state"
    status, again = net.distpool("up", file, env={"XDG_STATE_HOME": str(other)})
    assert status == 0, again
    secret = (other / "distpool" / "cluster.cluster-secret").read_text()
    assert secret == Path(text.split("DISTPOOL_SECRET_FILE=")[1].split()[0]).read_text()
    assert "Nothing was to be done on 3 hosts." in again
    assert [host.pids() for host in net.hosts] == before
    words = dict(line.split("  ", 1) for line in again.splitlines()[:3])
    assert words == dict.fromkeys("abc", "is up, and nothing was to be done")


def test_a_program_on_the_laptop_uses_all_of_them(up: tuple[Network, str, str]) -> None:
    net, _, text = up
    line = next(line for line in text.splitlines() if "DISTPOOL_ADDRESS" in line)
    variables = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert Path(variables["DISTPOOL_SECRET_FILE"]).stat().st_mode & 0o777 == 0o600
    status, said = net.laptop.run("-c", EVERYWHERE, env=variables)
    assert status == 0, said
    assert json.loads(said) == [6, ["a", "b", "c"]]


def test_the_secret_is_on_no_command_line(up: tuple[Network, str, str]) -> None:
    net, _, text = up
    secret_file = text.split("DISTPOOL_SECRET_FILE=")[1].split()[0]
    secret = Path(secret_file).read_text().strip()
    lines = [command_of(pid) for host in net.hosts for pid in host.pids()]
    assert "shells.agent" in "".join(lines)
    assert not [line for line in lines if secret in line]
    assert secret not in text


def test_exec_runs_in_the_cluster_and_brings_output_and_status(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    status, said = net.distpool("exec", file, "--", "python", "-c", EVERYWHERE)
    assert (status, json.loads(said)[1]) == (0, ["a", "b", "c"]), said
    status, said = net.distpool("exec", file, "--host", "b", "--", "sh", "-c", 'echo "it\'s $TMPDIR"; exit 7')
    assert (status, said) == (7, f"it's {net.hosts[1].folder}\n")
    assert net.distpool("exec", file, "--", "no-such-program")[0] == 127


def test_exec_on_all_hosts_names_them(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    status, said = net.distpool(
        "exec",
        file,
        "--all",
        "--",
        "sh",
        "-c",
        "echo $TMPDIR; test $TMPDIR != $1",
        "",
        str(net.hosts[2].folder),
    )
    assert status == 1
    assert sorted(said.splitlines()) == [f"{host.name}: {host.folder}" for host in net.hosts]


def test_who_leaves_ends_what_he_has_executed(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    code = "sleep 4711 & setsid sleep 4711 & echo runs; wait"
    child = net.laptop.start("-m", "distpool", "exec", file, "--", "sh", "-c", code)
    assert child.stdout is not None
    assert child.stdout.readline() == "runs\n"

    def sleepers() -> list[int]:
        return [pid for pid in net.hosts[0].pids() if command_of(pid).startswith("sleep 4711")]

    wait_until(lambda: len(sleepers()) == 2, "both run")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode != 0
    wait_until(lambda: not sleepers(), "both are gone")


def test_who_is_killed_ends_it_too(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    child = net.laptop.start(
        "-m", "distpool", "exec", file, "--all", "--", "sh", "-c", "echo runs; exec sleep 4712"
    )
    assert child.stdout is not None
    assert sorted(child.stdout.readline() for _ in "abc") == ["a: runs\n", "b: runs\n", "c: runs\n"]
    child.kill()
    child.communicate(timeout=30)
    wait_until(lambda: not net.laptop.pids(), "the links are gone")

    def left() -> list[int]:
        return [pid for host in net.hosts for pid in host.pids() if "sleep 4712" in command_of(pid)]

    wait_until(lambda: not left(), "it is gone there")


def test_a_host_that_cannot_be_reached_is_named_and_the_others_go_on(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    text = Path(file).read_text() + "  - {host: 10.77.0.98, name: far, ssh_options: {ConnectTimeout: 2}}\n"
    text += "  - {host: 10.77.0.2, name: closed, ssh_port: 2222}\n"
    text += "  - {host: 10.77.0.3, name: stranger, key: /dev/null}\n"
    other = Path(file).with_name("more.yaml")
    other.write_text(text.replace("hosts:", "name: cluster\nhosts:", 1))
    status, said = net.distpool("up", str(other))
    assert status == 1
    assert said.count("is up, and nothing was to be done") == 3
    assert (
        "closed: connect to host 10.77.0.2 port 2222: Connection refused: no SSH server listens there" in said
    )
    assert "stranger: root@10.77.0.3: Permission denied (publickey): is the right user or key named" in said
    assert "far: connect to host 10.77.0.98 port 22: No route to host" in said or "timed out" in said
    assert "distpool up: 3 of 6 hosts failed: far, closed, stranger\n" in said


def test_a_port_that_is_taken_and_a_node_of_another_cluster(up: tuple[Network, str, str]) -> None:
    net, _, _ = up
    a, b, c = net.hosts
    status, said = net.distpool("up", net.file(b, a, name="other"))
    assert status == 1
    assert "b: a node named b runs there, in the cluster of 10.77.0.1:9437" in said
    assert "a: nothing was started, since the head, b, is not up" in said
    file = Path(net.file(a, name="taken"))
    file.write_text(file.read_text().replace("name: a}", "name: again}"))
    status, said = net.distpool("up", str(file))
    assert status == 1
    assert "again: distpool start: this node cannot listen at 10.77.0.1:9437: Address already in use" in said
    assert len(nodes_of(a)) == 1
    del c


def test_a_job_is_lost_with_its_node_which_is_started_again(up: tuple[Network, str, str]) -> None:
    net, file, _ = up
    c = net.hosts[2]
    submit = ("distpool", "submit", "--no-wait", "--working-dir", str(net.folder / "empty"))
    (net.folder / "empty").mkdir()
    status, said = net.distpool("exec", file, "--host", "c", "--", *submit, "--", "sleep", "4714")
    assert status == 0, said
    job = said.splitlines()[-1].split()[0]
    wait_until(lambda: "sleep 4714" in "".join(map(command_of, c.pids())), "it runs")
    for pid in c.pids():
        if "shells.agent" in command_of(pid):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "sleep 4714" not in "".join(map(command_of, c.pids())), "it is gone")
    wait_until(lambda: not nodes_of(c), "all of the node is")

    said = ""

    def failed() -> bool:
        nonlocal said
        status, said = net.distpool("jobs", file)
        assert status == 0, said
        return any(
            job in line and "failed" in line and "node c was lost" in line for line in said.splitlines()
        )

    wait_until(failed, lambda: f"the loss of {job} is said, instead of: {said}")
    status, said = net.distpool("up", file)
    assert status == 0, said
    assert "c  is up\n" in said
    assert said.count("nothing was to be done") == 2
