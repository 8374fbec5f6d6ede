"""A cluster that does not start, or dies at an awkward moment: every pool ends with the reason, none hangs."""

from __future__ import annotations

import pytest

from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AgentWelcome,
    ClosePool,
    ClusterLost,
    Death,
    LeaseHello,
    OpenPool,
    PoolBroken,
    WorkerDied,
)
from tests.shells.programs import outcome


def broken(out: list[tuple[str, object]]) -> bool:
    return any(isinstance(message, PoolBroken) for _, message in out)


@pytest.mark.parametrize("said_hello", [False, True])
def test_a_closed_pool_whose_workers_die_in_their_setup_breaks(said_hello: bool) -> None:
    core = OwnerCore("o", "ipc://o", 1, Limits())
    core.receive("agent:n", AgentWelcome("n", 10, "host", 2.0, {}), 0.0)
    core.receive("app", OpenPool(1, 1, b"", setup_attempts=3), 0.0)
    core.receive("app", ClosePool(1), 0.0)
    out: list[tuple[str, object]] = []
    for attempt in range(3):
        lease = f"n.1.{attempt}"
        if said_hello:
            core.receive(f"worker:{lease}", LeaseHello(lease, 1, "n", "host", 5), 0.0)
        died = WorkerDied(lease, 1, Death(5, "host", 0, 1), 0)
        out += core.receive("agent:n", died, 0.0)
        core.check()
    assert broken(out)


def test_a_pool_that_is_opened_after_the_cluster_was_lost_breaks_at_once() -> None:
    core = OwnerCore("o", "ipc://o", 1, Limits())
    core.receive("app", ClusterLost("no place"), 0.0)
    assert broken(core.receive("app", OpenPool(1, 1, b""), 0.0))
    core.check()


def test_a_cluster_that_cannot_start_fails_calls_with_the_reason() -> None:
    printed = outcome("""
        import distpool
        from distpool.scheduler.shells import session_dir
        def create():
            raise OSError("no place anywhere")
        session_dir.create = create
        for _ in range(2):
            try:
                pool = distpool.Pool(1)
                pool.apply(abs, (-1,))
            except Exception as error:
                print("no place anywhere" in repr(error))
    """)
    assert printed.split() == ["True", "True"]


def test_a_driver_with_more_descriptors_than_select_can_take() -> None:
    printed = outcome("""
        import resource
        import distpool
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
        files = [open("/dev/null") for _ in range(1100)]
        with distpool.Pool(1) as pool:
            print(pool.apply(abs, (-1,)))
    """)
    assert printed.split() == ["1"]


def test_an_agent_that_has_hung_up_and_is_not_seen_dead_yet() -> None:
    """What the core says to it goes nowhere, and that is all."""
    printed = outcome("""
        import os, signal, time
        import distpool, zmq
        from distpool.scheduler import client
        pool = distpool.Pool(2)
        pool.apply(abs, (-1,))
        session = client.session()
        agent = session.cluster._process
        engine_pool = next(iter(session._pools.values()))
        def kill_agent():
            os.kill(agent.pid, signal.SIGKILL)
            link = session.shell.agents._links[session.cluster.node]
            until = time.monotonic() + 5
            while link.getsockopt(zmq.EVENTS) & zmq.POLLOUT and time.monotonic() < until:
                os.sched_yield()
            engine_pool.resize(1)
        session.leading.tell(kill_agent)
        while session.cluster._process is agent:
            os.sched_yield()
        print(pool.apply(abs, (-2,)))
        pool.terminate()
        pool.join()
    """)
    assert printed.split() == ["2"]
