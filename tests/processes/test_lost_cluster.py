"""A cluster that cannot be had is an error with its cause; the next call tries again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import distpool
from distpool.errors import ClusterError, DistpoolError
from distpool.scheduler import client
from distpool.scheduler.shells import embedded


@pytest.fixture
def first_start_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    client.shutdown()
    start, starts = embedded.EmbeddedCluster.start, []

    def fail_once(cluster: embedded.EmbeddedCluster) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise ClusterError("nothing works today")
        start(cluster)

    monkeypatch.setattr(embedded.EmbeddedCluster, "start", fail_once)
    yield
    client.shutdown()


def double(x: int) -> int:
    return 2 * x


def test_a_remote_call(first_start_fails: None) -> None:
    with pytest.raises(DistpoolError, match="nothing works today"):
        distpool.get(distpool.remote(double).remote(1))
    assert not distpool.is_initialized()
    assert distpool.get(distpool.remote(double).remote(2)) == 4


def test_a_pool(first_start_fails: None) -> None:
    with pytest.raises(DistpoolError, match="nothing works today"), distpool.Pool(1) as pool:
        pool.apply(double, (1,))
    with distpool.Pool(1) as pool:
        assert pool.apply(double, (2,)) == 4
