"""A second node for a test, by name ``b``; it is gone afterwards, with every process and file of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distpool import Pool
from distpool.scheduler import client
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.joining import JoiningAgent
from tests.processes.conftest import leaks as leaks
from tests.processes.conftest import own_tmpdir as own_tmpdir
from tests.processes.conftest import pools_that_end, reach_agent
from tests.processes.harness import BOUND_S, survivors

#: What a pool asks for to have its workers on that node: any number of them fits.
ON_B = {"node:b": 0.001}


def everything(agent: JoiningAgent) -> list[int]:
    """The pids of a node: its agent, its nursery, its workers and what they have started."""
    return [agent.pid, *processes.descendants(agent.pid)]


def expect_gone(agent: JoiningAgent, pids: list[int]) -> None:
    """Nothing of a node outlives its end: none of these processes, and not its directory."""
    assert agent.wait_gone(BOUND_S), "the agent is still there"
    assert survivors(pids, within_s=BOUND_S) == []
    assert not os.path.exists(agent.directory)


#: Whether nodes join by TCP instead of unix sockets; the soak runs all of these tests once more like that.
BY_TCP = bool(os.environ.get("DISTPOOL_NODES_BY_TCP"))
SECRET = "a secret of the tests"


def warm() -> client.Session:
    """This process's session, which has had a worker, so that a test finds all of its descriptors there already."""
    if BY_TCP and client.current() is None:
        client.start(EmbeddedCluster(listen="127.0.0.1:0", secret=SECRET))
    with Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    pool.join()
    session = client.session()
    reach_agent(session)
    return session


@pytest.fixture(scope="package", autouse=True)
def started(own_tmpdir: str) -> None:
    """Before any test looks what there is."""
    warm()


@pytest.fixture
def engine(started: None) -> client.Session:
    """This process's session; a test that ends it has another one started behind it."""
    return client.session()


@pytest.fixture
def join(engine: client.Session, leaks: None) -> Iterator[Callable[..., JoiningAgent]]:
    """Has a node join this process's session."""
    made: list[JoiningAgent] = []

    def join(node: str = "b", **options: Any) -> JoiningAgent:
        head = engine.cluster.address("agent")
        if BY_TCP:
            head = engine.cluster.port_address
            options = {"listen": "127.0.0.1:0", "secret": SECRET, **options}
        made.append(JoiningAgent(head, node, **options))
        return made[-1]

    yield join
    for agent in made:
        pids = everything(agent)
        agent.stop()
        expect_gone(agent, pids)


@pytest.fixture
def second_agent(join: Callable[..., JoiningAgent]) -> JoiningAgent:
    """A node ``b`` with two CPUs."""
    return join(resources={"CPU": 2.0})


@pytest.fixture
def make_pool(engine: client.Session) -> Iterator[Callable[..., Any]]:
    """Opens pools that are ended with the test."""
    with pools_that_end() as make:
        yield make


@pytest.fixture
def pool_on_b(second_agent: JoiningAgent, make_pool: Callable[..., Any]) -> Any:
    """A pool of two workers on node ``b``."""
    return make_pool(2, resources=ON_B)
