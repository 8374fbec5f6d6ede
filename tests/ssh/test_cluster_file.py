"""What is wrong with a cluster's file is said in a line, with the number of the one that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from distpool import cli
from distpool.cluster_file import load
from distpool.ssh.spec import VENV

ON_DEMAND = "hosts:\n  - a\n  - {host: b, on_demand: true}\n"


def written(tmp_path: Path, text: str, name: str = "cluster.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_list_of_addresses_is_enough(tmp_path: Path) -> None:
    cluster = load(written(tmp_path, "hosts: [10.0.0.1, gpu.example.org]", "lab.yaml"))
    assert (cluster.name, cluster.port) == ("lab", 9437)
    assert [(host.host, host.name, host.venv) for host in cluster.hosts] == [
        ("10.0.0.1", "10.0.0.1", VENV),
        ("gpu.example.org", "gpu.example.org", VENV),
    ]


def test_hosts_have_the_defaults_that_they_do_not_change(tmp_path: Path) -> None:
    text = """
defaults: {user: me, num_cpus: 4, labels: {zone: a}}
hosts:
  - 10.0.0.1
  - {host: 10.0.0.2, name: big, num_cpus: 64, labels: {zone: b, rack: 7}, resources: {license: 1.5}}
"""
    first, second = load(written(tmp_path, text)).hosts
    assert (first.user, first.num_cpus, first.labels) == ("me", 4, {"zone": "a"})
    assert (second.user, second.num_cpus, second.labels) == ("me", 64, {"zone": "b", "rack": 7})
    assert second.resources == {"license": 1.5}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hosts: [a]\nprt: 1\n", ":2: prt: there is no such key; did you mean port?"),
        (
            "hosts:\n  - a\n  - host: b\n    num_cpu: 3\n",
            ":4: hosts[1].num_cpu: there is no such key; did you mean num_cpus?",
        ),
        ("defaults:\n  usr: me\nhosts: [a]\n", ":2: defaults.usr: there is no such key; did you mean user?"),
        (
            "hosts:\n  - host: a\n    ssh_port: 22x\n",
            ":3: hosts[0].ssh_port: expected `int | null`, got `str`",
        ),
        ("hosts:\n  - host: a\n    ssh_port: 70000\n", ":3: hosts[0].ssh_port: expected `int` <= 65535"),
        ("hosts:\n  - host: a\n    num_cpus: -2\n", ":3: hosts[0].num_cpus: expected `float` >= 0.0"),
        (
            "hosts:\n  - host: a\n    resources:\n      license: many\n",
            ":3: hosts[0].resources: expected `float`",
        ),
        ("defaults:\n  user: 7\nhosts: [a]\n", ":2: defaults.user: expected `str`, got `int`"),
        ("hosts: [a]\npackages: numpy\n", ":2: packages: expected `array`, got `str`"),
        ("hosts:\n  - a\n  - {host: b, name: a}\n", ":3: hosts[1] has the name a of hosts[0]"),
        ("hosts:\n  - a\n  - {host: b, name: my node}\n", ":3: 'my node' cannot be the name of a node"),
        ("hosts:\n  - {name: b}\n", ":2: hosts[0]: a host is its address, or has a key host: ADDRESS"),
        ("hosts:\n  - {host: a, on_demand: true}\n", ":2: the first host has the head"),
        (f"{ON_DEMAND}", ":3: hosts on demand need the key autoscaling"),
        ("hosts: [a]\nautoscaling: {max_nodes: 1}\n", ":2: autoscaling: no host has on_demand: true"),
        (f"{ON_DEMAND}autoscaling:\n  provider: local\n", ":5: autoscaling.provider: it is ssh"),
        (
            f"{ON_DEMAND}autoscaling:\n  node_types:\n    cpu:\n      resource: {{CPU: 1}}\n",
            ":7: autoscaling.node_types.cpu.resource: there is no such key; did you mean resources?",
        ),
        ("hosts: []\n", ":1: hosts: there should be a list of hosts"),
        ("port: 1\n", ":1: hosts: there should be a list of hosts"),
        ("", ":1: a cluster's file has keys at its top"),
        ("hosts: [a]\nport: 1\nport: 2\n", ":3: port is there already, in line 2"),
        ("hosts: [a\nport: 1\n", ":2: this is no YAML: expected ',' or ']', but got ':'"),
        ("hosts: [a]\nname: '../up'\n", ":2: '../up' is no name for a cluster"),
        ("hosts: \x00", ": this is no YAML: unacceptable character"),
    ],
    ids=lambda value: None if value.startswith(":") else "file",
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    assert cli.main(["up", path]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"distpool up: {path}{complaint}")
    assert said.err.count("\n") == 1


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down", "/no/cluster.yaml"]) == 1
    assert "/no/cluster.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "down", "exec", "submit", "jobs"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "cluster.yaml" in capsys.readouterr().out
