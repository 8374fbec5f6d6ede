"""What is read of a node's memory: of the machine, of control groups old and new, and of a limit of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from distpool.errors import StoreError
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import MemoryLow, MemoryScarce
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.node_memory import NodeMemory
from distpool.scheduler.shells.own_memory import own_memory_bytes

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The files of a machine with 1,000 MiB, of which 500 are left."""
    say(tmp_path, "proc/meminfo", meminfo(1000, 500))
    say(tmp_path, "proc/self/cgroup", "")
    return tmp_path


def meminfo(total_mib: int, available_mib: int) -> str:
    return f"MemTotal: {total_mib << 10} kB\nMemFree: 1 kB\nMemAvailable: {available_mib << 10} kB\nBuffers: 0 kB\n"


def say(root: Path, path: str, text: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


def look(root: Path, **environment: str) -> MemoryLow | None:
    return low(NodeMemory(DEFAULTS, environment, str(root)), {})


def low(memory: NodeMemory, pids: dict[int, int]) -> MemoryLow | None:
    return next((said for said in memory.look(pids) if isinstance(said, MemoryLow)), None)


def test_the_machine(machine: Path) -> None:
    assert look(machine) is None
    say(machine, "proc/meminfo", meminfo(1000, 49))
    assert look(machine) == MemoryLow(1000 * MIB, 49 * MIB, {})
    assert look(machine, DISTPOOL_MEMORY_FREE_MIN="4%") is None
    assert look(machine, DISTPOOL_MEMORY_FREE_MIN="0.04") is None
    assert look(machine, DISTPOOL_MEMORY_FREE_MIN="60%") is not None


def test_that_it_is_scarce_is_said_earlier_and_once(machine: Path) -> None:
    memory = NodeMemory(DEFAULTS, {}, str(machine))
    assert memory.look({}) == []
    say(machine, "proc/meminfo", meminfo(1000, 149))
    assert memory.look({}) == [MemoryScarce(True, 1000 * MIB, 149 * MIB)]
    say(machine, "proc/meminfo", meminfo(1000, 49))
    assert memory.look({}) == [MemoryLow(1000 * MIB, 49 * MIB, {})]
    say(machine, "proc/meminfo", meminfo(1000, 150))
    assert memory.look({}) == [MemoryScarce(False, 0, 0)]
    assert memory.look({}) == []


def test_it_may_be_told_not_to_look() -> None:
    assert not NodeMemory(DEFAULTS, {"DISTPOOL_MEMORY_FREE_MIN": "0"}).watches
    assert NodeMemory(DEFAULTS, {}).watches
    with pytest.raises(StoreError, match="a share such as 5%"):
        EmbeddedCluster(environment={"DISTPOOL_MEMORY_FREE_MIN": "lots"})
    with pytest.raises(StoreError, match="a size such as"):
        EmbeddedCluster(environment={"DISTPOOL_MEMORY_LIMIT": "lots"})


def test_a_control_group_of_version_2_and_one_above_it(machine: Path) -> None:
    say(machine, "proc/self/cgroup", "0::/above/mine")
    mine, above = "sys/fs/cgroup/above/mine", "sys/fs/cgroup/above"
    say(machine, f"{mine}/memory.max", "max")
    say(machine, f"{above}/memory.max", 200 * MIB)
    say(machine, f"{above}/memory.current", 195 * MIB)
    say(machine, f"{above}/memory.stat", f"anon 1\ninactive_file {100 * MIB}\nactive_file 7")
    assert look(machine) is None, "the cache of files is had back at once"
    say(machine, f"{above}/memory.stat", f"anon 1\ninactive_file {1 * MIB}")
    assert look(machine) == MemoryLow(200 * MIB, 6 * MIB, {})


def test_a_control_group_of_version_1(machine: Path) -> None:
    say(machine, "proc/self/cgroup", "5:cpu:/x\n4:memory,other:/mine\n0::/")
    mine = "sys/fs/cgroup/memory/mine"
    say(machine, f"{mine}/memory.limit_in_bytes", 100 * MIB)
    say(machine, f"{mine}/memory.usage_in_bytes", 99 * MIB)
    say(machine, f"{mine}/memory.stat", f"cache 5\ntotal_inactive_file {2 * MIB}")
    assert look(machine) == MemoryLow(100 * MIB, 3 * MIB, {})
    say(machine, f"{mine}/memory.limit_in_bytes", (1 << 63) - 4096)  # no limit
    assert look(machine) is None


def test_a_limit_of_the_workers_own(machine: Path) -> None:
    """Theirs is what they have for themselves, whatever the machine has."""
    code = "import sys; x = bytearray(50 << 20); print('there', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    with child:
        assert child.stdout.readline() == b"there\n"
        used = own_memory_bytes(child.pid)
        assert 50 * MIB < used < 100 * MIB
        memory = NodeMemory(DEFAULTS, {"DISTPOOL_MEMORY_LIMIT": "52M"}, str(machine))
        short = low(memory, {7: child.pid})
        assert short is not None
        assert short.total_bytes == 52 * MIB
        assert 50 * MIB < short.used_bytes[7] < 100 * MIB
        roomy = NodeMemory(DEFAULTS, {"DISTPOOL_MEMORY_LIMIT": "200M"}, str(machine))
        assert roomy.look({7: child.pid}) == []
        child.stdin.close()
    assert own_memory_bytes(child.pid) == 0


def test_this_machine() -> None:
    """Wherever the tests run, there is something to read, and it is not short."""
    short = low(NodeMemory(DEFAULTS, {"DISTPOOL_MEMORY_FREE_MIN": "0.999"}), {1: os.getpid()})
    assert short is not None
    assert 0 < short.available_bytes < short.total_bytes
    assert short.used_bytes[1] > MIB
