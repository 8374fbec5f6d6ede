"""What a node says that it has."""

from __future__ import annotations

import os

import pytest

from distpool.cpus import cpu_count
from distpool.scheduler.shells import node_resources
from distpool.scheduler.store import files


def total(
    said: dict[str, float], store: files.StoreFiles | None = None, head: bool = False
) -> dict[str, float]:
    return node_resources.total(said, "n", "ipc:///tmp/x/agent", store, holds_head=head)


def test_what_is_said_takes_the_place_of_what_is_found() -> None:
    assert total({"memory": 5.0}) == {
        "CPU": float(cpu_count()), "memory": 5.0, "node:n": 1.0, "node:127.0.0.1": 1.0,
    }  # fmt: skip
    assert total({"CPU": 0.0, "GPU": 2.0, "memory": 5.0, "x": 0.5}, head=True) == {
        "GPU": 2.0, "memory": 5.0, "x": 0.5, "node:n": 1.0, "node:127.0.0.1": 1.0, node_resources.HEAD: 1.0,
    }  # fmt: skip


def test_tasks_get_the_memory_that_the_store_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_resources, "usable_memory_bytes", lambda: 10 << 20)
    assert total({})["memory"] == float(int(0.7 * (10 << 20)))
    assert "object_store_memory" not in total({})
    store = files.create({"DISTPOOL_STORE_MEMORY": "4MB", "DISTPOOL_SPILL_LIMIT": "1MB"})
    assert store is not None
    try:
        found = total({}, store)
        assert found["object_store_memory"] == 4 << 20
        assert found["memory"] == 6 << 20
        monkeypatch.setattr(node_resources, "usable_memory_bytes", lambda: 1 << 20)
        assert "memory" not in total({}, store)
    finally:
        for fd in store.fds:
            os.close(fd)


@pytest.mark.parametrize(
    ("address", "ip"),
    [("ipc:///tmp/x/agent", "127.0.0.1"), ("tcp://10.0.0.7:555", "10.0.0.7"), ("tcp://[::1]:555", "[::1]")],
)
def test_where_an_agent_is_dialled_tells_its_ip(address: str, ip: str) -> None:
    assert node_resources.ip_of(address) == ip
