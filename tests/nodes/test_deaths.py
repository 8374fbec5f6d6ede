"""What dies on another node, or takes it along; nothing is left over, and what was under way ends in bounded time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distpool.errors import PoolBroken, WorkerDied
from distpool.futures import ProcessPoolExecutor
from distpool.scheduler import client
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import BY_TCP, ON_B, everything, expect_gone
from tests.processes import scene
from tests.processes.conftest import reach_agent
from tests.processes.harness import BOUND_S, parent_of
from tests.processes.scene import session_directories, wait_until

pytestmark = pytest.mark.timeout(120)


def started(folder: Path) -> int:
    """Wait until ``run_once_then_wait`` runs, and say in which process."""
    path = folder / "started"
    wait_until(path.exists, "the task runs")
    return int(path.read_text())


def nursery_of(agent: JoiningAgent) -> int:
    (pid,) = [pid for pid in processes.descendants(agent.pid) if parent_of(pid) == agent.pid]
    return pid


def test_a_worker_that_is_killed_there(pool_on_b: Any, tmp_path: Path) -> None:
    call = pool_on_b.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    os.kill(started(tmp_path), signal.SIGKILL)
    assert call.get(BOUND_S) == "b"
    with pytest.raises(WorkerDied, match="SIGKILL"):
        pool_on_b.apply(bodies.die)
    assert pool_on_b.map(bodies.node, range(10)) == ["b"] * 10


def test_what_must_not_be_repeated_is_not(second_agent: JoiningAgent, make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1, resources=ON_B, retries=0)
    array = bodies.pattern(1_000_000)
    assert pool.apply(bodies.check, (array, array.nbytes)) == "b"
    with pytest.raises(WorkerDied, match="SIGKILL"):
        pool.apply(bodies.die)
    assert (pool.apply(bodies.pattern, (1_000_000,)) == bodies.pattern(1_000_000)).all()


def test_cancel(second_agent: JoiningAgent, make_pool: Callable[..., Any], tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, resources=ON_B) as executor:
        running = executor.submit(bodies.run_once_then_wait, str(tmp_path))
        waiting = executor.submit(bodies.node)
        os.kill(started(tmp_path), 0)
        assert waiting.cancel()
        assert not running.done()
        os.kill(started(tmp_path), signal.SIGKILL)
        assert running.result(BOUND_S) == "b"
    pool = make_pool(1, resources=ON_B)
    call = pool.apply_async(bodies.wait_for_ever, (str(tmp_path),))
    wait_until(lambda: list(tmp_path.glob("waits-*")), "the task runs")
    pid = int(next(tmp_path.glob("waits-*")).name.partition("-")[2])
    pool._engine_pool.give_up(call)
    wait_until(lambda: call.ready(), "it is interrupted")
    assert pool.apply(os.getpid) == pid, "which does not cost the worker"


def test_terminate(second_agent: JoiningAgent, make_pool: Callable[..., Any], tmp_path: Path) -> None:
    pool = make_pool(2, resources=ON_B)
    pool.map_async(bodies.wait_for_ever, [str(tmp_path)] * 10, 1)
    wait_until(lambda: len(list(tmp_path.glob("waits-*"))) == 2, "two tasks run")
    pool.terminate()
    pool.join()
    wait_until(lambda: len(everything(second_agent)) == 2, "only agent and nursery are left")


def test_an_agent_that_is_killed_in_the_middle_of_a_task(
    join: Callable[..., JoiningAgent], make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    """What ran there runs again on another node that has what it asks for."""
    agents = {node: join(node, resources={"CPU": 1.0, "special": 1.0}) for node in ("b", "c")}
    pool = make_pool(1, resources={"special": 1})
    call = pool.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    started(tmp_path)
    pids = everything(agents["b"])
    os.kill(agents["b"].pid, signal.SIGKILL)
    assert call.get(BOUND_S) == "c"
    expect_gone(agents["b"], pids)
    assert pool.map(bodies.node, range(10)) == ["c"] * 10


def test_an_agent_that_is_killed_and_nobody_else_has_what_it_had(
    engine: client.Session,
    second_agent: JoiningAgent,
    pool_on_b: Any,
    make_pool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    at_home = make_pool(1)
    call = pool_on_b.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    started(tmp_path)
    pids = everything(second_agent)
    killed_s = time.monotonic()
    os.kill(second_agent.pid, signal.SIGKILL)
    with pytest.raises(PoolBroken, match=r"node:b 0\.001, and no node has that"):
        call.get(BOUND_S)
    assert time.monotonic() - killed_s < 5.0 + (DEFAULTS.join_patience_s if BY_TCP else 0.0)
    expect_gone(second_agent, pids)
    assert at_home.apply(bodies.node) == current_node(), "others do not notice"


def test_an_agent_and_its_nursery_that_are_killed_at_once(second_agent: JoiningAgent, pool_on_b: Any) -> None:
    assert pool_on_b.apply(bodies.node) == "b"
    pids = everything(second_agent)
    nursery = nursery_of(second_agent)
    for pid in (second_agent.pid, nursery):
        os.kill(pid, signal.SIGKILL)
    expect_gone(second_agent, pids)


def test_a_nursery_that_is_killed_there(second_agent: JoiningAgent, pool_on_b: Any, tmp_path: Path) -> None:
    call = pool_on_b.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    started(tmp_path)
    os.kill(nursery_of(second_agent), signal.SIGKILL)
    assert call.get(BOUND_S) == "b"
    assert set(pool_on_b.map(bodies.node, range(10))) == {"b"}


def test_a_node_that_is_stopped_is_given_up_and_comes_back(
    join: Callable[..., JoiningAgent], make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    """As if its machine had been suspended: its tasks run elsewhere, and what it says later counts for nobody."""
    agents = {node: join(node, resources={"CPU": 1.0, "special": 1.0}) for node in ("b", "c")}
    pool = make_pool(1, resources={"special": 1})
    call = pool.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    worker = started(tmp_path)
    pids = everything(agents["b"])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert call.get(DEFAULTS.node_silent_s + BOUND_S) == "c"
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # the first that goes on may have ended it
                os.kill(pid, signal.SIGCONT)
    wait_until(lambda: processes.start_time(worker) is None, "the worker that nobody counts on ends")

    def is_back() -> bool:
        try:
            return make_pool(1, resources=ON_B).apply_async(_try_node).get(BOUND_S) == "b"
        except PoolBroken:
            return False  # nobody has it yet

    wait_until(is_back, "b is back")


def _try_node() -> str:
    return current_node()


def test_the_program_is_killed(own_tmpdir: str, engine: client.Session) -> None:
    """Nothing of either node is left: not of a session whose program dies with a task under way on another node."""
    before = session_directories(own_tmpdir)
    code = """
import time
from distpool.pool import Pool
from distpool.scheduler import client
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import ON_B
with Pool(1) as here:
    here.apply(bodies.node)
    agent = JoiningAgent(client.session().cluster.address("agent"), "b")
    with Pool(2, resources=ON_B) as there:
        assert there.apply(bodies.node) == "b"
        there.map_async(time.sleep, [60.0] * 4, 1)
        print("ready", flush=True)
        here.apply(time.sleep, (60.0,))
"""
    with scene.driver(code) as it:
        it.read_until("ready")
        assert len(session_directories(own_tmpdir)) == len(before) + 2
        assert len(it.left()) >= 8
        it.process.kill()
        it.expect_nothing_left()
        wait_until(lambda: session_directories(own_tmpdir) == before, "the directories are gone")


def test_the_program_ends(own_tmpdir: str) -> None:
    code = """
from distpool.pool import Pool
from distpool.scheduler import client
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import ON_B
agent = JoiningAgent(client.session().cluster.address("agent") if Pool(1).apply(abs, (1,)) else "", "b")
print(Pool(2, resources=ON_B).apply(bodies.node))
"""
    assert scene.run(code) == "b\n"


def test_the_agent_with_the_head_is_killed(
    engine: client.Session,
    second_agent: JoiningAgent,
    pool_on_b: Any,
    make_pool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The session gets another one and goes on; nodes that had joined leave with the old one."""
    at_home = make_pool(1)
    assert at_home.apply(bodies.node) == current_node()
    call = pool_on_b.apply_async(bodies.run_once_then_wait, (str(tmp_path),))
    started(tmp_path)
    pids = everything(second_agent)
    assert isinstance(engine.cluster, EmbeddedCluster)
    assert engine.cluster._process is not None
    os.kill(engine.cluster._process.pid, signal.SIGKILL)
    with pytest.raises(PoolBroken, match="no node has that"):
        call.get(BOUND_S)
    assert at_home.apply(bodies.node) == current_node()
    expect_gone(second_agent, pids)
    reach_agent(engine)  # the next test counts what there is


def test_an_owner_on_another_node_that_is_killed(
    second_agent: JoiningAgent, make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    """A task at home has a pool on ``b``; when its worker dies, what ``b`` runs for it goes, and is not replaced."""
    at_home = make_pool(1, retries=0)
    call = at_home.apply_async(pool_from_a_task, (str(tmp_path),))
    wait_until((tmp_path / "owner").exists, "the pool in the task works")
    assert len(everything(second_agent)) == 4
    os.kill(int((tmp_path / "owner").read_text()), signal.SIGKILL)
    with pytest.raises(WorkerDied):
        call.get(BOUND_S)
    wait_until(lambda: len(everything(second_agent)) == 2, "only agent and nursery are left")


def pool_from_a_task(folder: str) -> None:
    from distpool.pool import Pool

    with Pool(2, resources=ON_B) as pool:
        wait_until(lambda: pool.apply(bodies.node) == "b", "a worker is there")
        wait_until(lambda: len(pool._engine_pool.workers()) == 2, "the other one is")
        Path(folder, "pid").write_text(str(os.getpid()))
        os.rename(f"{folder}/pid", f"{folder}/owner")
        pool.apply(bodies.wait_for_ever, (folder,))
