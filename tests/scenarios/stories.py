"""The stories. Each function's docstring is the head of its transcript, and its name is the file's."""

from __future__ import annotations

from distpool.scheduler.messages import GroupFacts, GroupQuery, MakeGroup, RemoveGroup, Strategy
from tests.simulation.groups import GroupBook

from .stage import Stage, Story


def a_tasks_way() -> Stage:
    """A pool is opened, its worker forked and set up; a task is offered, run and delivered; the pool is closed."""
    stage = Stage()
    book = stage.pool(1)
    stage.say("a task")
    stage.submit(book, ("plain", 0.003))
    stage.run(0.1)
    stage.say("close")
    stage.program.close(book)
    stage.run(0.1)
    return stage


def a_job_outlives_the_head() -> Stage:
    """A program that was handed in goes on, and ends, while there is no head; the next one hears of it."""
    stage = Stage(with_head=True)
    stage.lines.clear()
    jobs = stage.world.submitted
    jobs.hand_in("job-0", "n0", 0.5)
    stage.run(0.1)
    stage.say("the head dies, the job ends, a new head")
    stage.world.stop_head()
    stage.run(1.0)
    stage.world.start_head()
    stage.run(3.0)
    stage.say("somebody looks")
    jobs.look("job-0", "n0")
    stage.run(0.1)
    return stage


def short_tasks_travel_in_batches() -> Stage:
    """Two are offered while nothing is measured; then what is ahead of a worker grows with what its tasks take."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, *[("plain", 0.001)] * 60)
    stage.run(0.3)
    return stage


def a_worker_dies_in_the_middle_of_a_task() -> Stage:
    """The slot shows the running attempt: that task is charged and tried again; the one behind it is not charged."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("crash_once", 0.003), ("plain", 0.001))
    stage.run(0.3)
    return stage


def retries_are_spent() -> Stage:
    """A poison task fails with its worker's death after retries + 1 tries; its neighbour never notices."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("crash", 0.003), ("plain", 0.001), retries=1)
    stage.run(0.3)
    return stage


def a_task_ends_its_own_process() -> Stage:
    """os._exit in a task: that call fails at once, whatever its retries."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("exit", 0.001))
    stage.run(0.1)
    return stage


def a_task_raises() -> Stage:
    """The exception travels as bytes, beside the values."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("raise", 0.001), ("plain", 0.001))
    stage.run(0.1)
    return stage


def recall_from_behind_a_long_task() -> Stage:
    """A worker falls silent: what lies behind its long task is recalled, and runs on the other one."""
    stage = Stage()
    book = stage.pool(2)
    stage.submit(book, *[("plain", 0.0001)] * 8)
    stage.run(0.1)
    stage.say("one long task among short ones")
    stage.submit(book, ("plain", 1.0), *[("plain", 0.0001)] * 7)
    stage.run(1.5)
    return stage


def tasks_that_meet() -> Stage:
    """Two tasks wait for each other on two workers, after short ones: neither may hide behind the other."""
    stage = Stage()
    book = stage.pool(2)
    stage.submit(book, *[("plain", 0.0001)] * 8)
    stage.run(0.1)
    stage.say("the meeting")
    book.barrier_size = 2
    stage.submit(book, ("barrier", 0.0), ("barrier", 0.0))
    stage.run(0.5)
    return stage


def an_answer_in_the_mailbox() -> Stage:
    """retries=0: the worker is killed after it recorded its answer and before it sent it. Neither lost nor repeated."""
    stage = Stage()
    book = stage.pool(1)
    stage.kill_at("answered")
    stage.submit(book, ("plain", 0.002), ("plain", 0.001), retries=0)
    stage.run(0.2)
    return stage


def an_answer_dies_with_its_worker() -> Stage:
    """A finished result that was not sent dies with its worker: run again, uncharged."""
    stage = Stage()
    book = stage.pool(1)
    stage.kill_at("finished")
    stage.submit(book, ("plain", 0.002), retries=1)
    stage.run(0.2)
    return stage


def no_retries_left_unstarted() -> Stage:
    """retries=0: the running task fails with its worker; the ones behind it have not started, and are run."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("crash", 0.002), ("plain", 0.001), ("plain", 0.001), retries=0)
    stage.run(0.3)
    return stage


def cancel_what_has_not_started() -> Stage:
    """A pending task is cancelled at once; an offered one when the worker has given it back."""
    stage = Stage()
    book = stage.pool(1)
    jobs = stage.submit(book, ("plain", 0.5), ("plain", 0.001), ("plain", 0.001))
    stage.run(0.002)
    stage.program.cancel(jobs[1:], running=False)
    stage.run(0.7)
    return stage


def cancel_what_runs() -> Stage:
    """KeyboardInterrupt in the task ends it."""
    stage = Stage()
    book = stage.pool(1)
    jobs = stage.submit(book, ("plain", 5.0))
    stage.run(0.01)
    stage.program.cancel(jobs, running=True)
    stage.run(0.2)
    return stage


def cancel_what_does_not_listen() -> Stage:
    """A task deaf to KeyboardInterrupt: SIGKILL for its worker after the grace, and a replacement."""
    stage = Stage()
    book = stage.pool(1)
    jobs = stage.submit(book, ("deaf", 60.0))
    stage.run(0.01)
    stage.program.cancel(jobs, running=True)
    stage.run(1.5)
    return stage


def a_task_runs_out_of_its_time() -> Stage:
    """Two tasks may run for 0.1 s. The slot says when one of them started: it is told at once, then interrupted."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("plain", 5.0), ("plain", 0.05), limit_s=0.1)
    stage.run(0.4)
    return stage


def one_that_is_overdue_and_does_not_listen() -> Stage:
    """SIGKILL after the grace, if its slot still shows it; nobody waits for that, and nobody else pays."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("deaf", 60.0), ("plain", 0.001), retries=0, limit_s=0.1)
    stage.run(1.5)
    return stage


def a_worker_is_too_big() -> Stage:
    """After a task it has more memory than it may: it gives back what it has not started, and is replaced."""
    stage = Stage()
    book = stage.pool(1, wears=1.0)
    stage.submit(book, ("plain", 0.001), ("plain", 0.001))
    stage.run(0.2)
    return stage


def shrink_while_tasks_run() -> Stage:
    """The idle worker goes at once; the next when its task is done, and only then has it a grace."""
    stage = Stage({"n0": 3.0})
    book = stage.pool(3)
    stage.submit(book, ("plain", 0.3), ("plain", 0.2))
    stage.run(0.05)
    stage.program.resize(book, 1)
    stage.run(0.4)
    return stage


def the_initializer_fails() -> Stage:
    """Three workers in a row fail in their set-up: the pool is broken, and so are its tasks."""
    stage = Stage()
    book = stage.program.open_pool(1, setup_fails=1.0)
    stage.submit(book, ("plain", 0.001))
    stage.run(0.5)
    stage.program.terminate(book)
    stage.run(0.1)
    return stage


def max_tasks_per_child() -> Stage:
    """After two tasks a worker retires, and the level that stands brings the next."""
    stage = Stage()
    book = stage.pool(1, max_tasks=2)
    stage.submit(book, *[("plain", 0.001)] * 3)
    stage.run(0.3)
    return stage


def resize() -> Stage:
    """A pool grows by a new level, and shrinks by retiring the worker that has least."""
    stage = Stage()
    book = stage.pool(1)
    stage.say("grow to 2")
    stage.program.resize(book, 2)
    stage.run(0.1)
    stage.say("shrink to 1")
    stage.program.resize(book, 1)
    stage.run(0.1)
    return stage


def terminate() -> Stage:
    """Every task fails at once, every worker is killed, and PoolGone comes when all are reaped."""
    stage = Stage()
    book = stage.pool(2)
    stage.submit(book, *[("plain", 5.0)] * 3)
    stage.run(0.1)
    stage.say("terminate")
    stage.program.terminate(book)
    stage.run(0.1)
    return stage


def a_task_submits_tasks() -> Stage:
    """The worker is an owner itself: it asks its own agent for leases, and its children never meet the driver."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("nested", 0.001), argument=[2, 0.001, True, 1])
    stage.run(0.5)
    return stage


def a_waiting_task_lends_its_cpu() -> Stage:
    """One CPU, leased by a task that waits for its children: they run on the CPU that it lends."""
    stage = Stage({"n0": 1.0})
    book = stage.program.open_pool(1, dedicated=False, resources={"CPU": 1.0})
    stage.submit(book, ("nested", 0.001), argument=[1, 0.001, False, 1])
    stage.run(0.5)
    return stage


def an_owner_dies_in_a_worker() -> Stage:
    """A worker that is an owner is killed: its children's workers go with it, and its task is tried again."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("nested", 0.001), argument=[1, 0.3, True, 1])
    stage.run(0.2)
    stage.say("SIGKILL for the worker whose task waits")
    next(iter(stage.world.machines["n0"].workers.values())).die(9)
    stage.run(1.0)
    return stage


def the_agent_is_lost_and_comes_back() -> Stage:
    """A node crashes with a task running; it boots again as a new incarnation, and the task runs there, uncharged."""
    stage = Stage(apart=True)
    book = stage.pool(1)
    stage.submit(book, ("plain", 0.5))
    stage.run(0.1)
    stage.say("n0 crashes")
    stage.world.uncertain()
    stage.world.machines["n0"].crash()
    stage.run(0.5)
    stage.say("n0 boots")
    stage.world.machines["n0"].boot()
    stage.run(2.0)
    return stage


def spill_back() -> Stage:
    """The first node has one CPU: it points to the other for what it cannot grant, by the head's view."""
    stage = Stage({"n0": 1.0, "n1": 2.0})
    book = stage.program.open_pool(3, dedicated=False, resources={"CPU": 1.0})
    stage.submit(book, *[("plain", 0.2)] * 3)
    stage.run(0.6)
    return stage


def no_node_has_that() -> Stage:
    """What no node can ever grant is refused with what was asked and what there is."""
    stage = Stage()
    book = stage.program.open_pool(1, dedicated=False, resources={"GPU": 1.0})
    stage.submit(book, ("plain", 0.001))
    stage.run(0.2)
    return stage


def the_head_stops() -> Stage:
    """Tasks go on without a head; the agent introduces itself to the next one."""
    stage = Stage(with_head=True)
    book = stage.pool(1)
    stage.say("the head stops")
    stage.world.stop_head()
    stage.submit(book, ("plain", 0.001))
    stage.run(1.0)
    stage.say("a new head")
    stage.world.start_head()
    stage.run(4.0)
    return stage


def the_driver_dies() -> Stage:
    """All that belongs to an owner goes with it."""
    stage = Stage()
    book = stage.pool(2)
    stage.submit(book, ("plain", 5.0))
    stage.run(0.1)
    stage.say("SIGKILL for the driver")
    stage.driver.die()
    stage.run(0.2)
    return stage


def a_late_answer() -> Stage:
    """An answer of a worker thought dead names an attempt that nobody has any more."""
    stage = Stage()
    book = stage.pool(1)
    stage.submit(book, ("plain", 0.001))
    stage.run(0.1)
    next(iter(stage.world.machines["n0"].workers.values())).die(9)
    stage.run(0.1)
    stage.say("its answer comes a second time")
    stage.world.network.ghost()
    stage.run(0.1)
    return stage


def a_placement_group() -> Stage:
    """Bundles are set aside on both nodes or on none. Work is pointed to its bundle's node, and ends with the group."""
    stage = Stage({"n0": 2.0, "n1": 1.0}, with_head=True)
    _group(stage, "STRICT_SPREAD")
    stage.say("work in its second bundle")
    inside = Strategy("group", group="g", bundle=1)
    book = stage.pool(1, dedicated=False, resources={"CPU": 1.0}, strategy=inside)
    stage.submit(book, ("plain", 5.0))
    stage.run(0.1)
    stage.say("the group is removed")
    stage.driver.ask(RemoveGroup(0, "g"))
    stage.run(0.2)
    return stage


def a_node_has_no_room_for_a_bundle() -> Stage:
    """The head believes that it has: a lease was granted since it last reported. What the other has reserved is given
    back, and when the group has waited for a while the nodes make room: workers that rest are not kept."""
    stage = Stage({"n0": 2.0, "n1": 1.0}, with_head=True)
    for _ in range(2):
        book = stage.program.open_pool(1, dedicated=False, resources={"CPU": 1.0})
        stage.submit(book, ("plain", 0.3))
        stage.run(0.02)
    _group(stage, "STRICT_SPREAD")
    stage.run(2.0)
    return stage


def small_tasks_make_way_for_a_placement_group() -> Stage:
    """There is work without end for both CPUs. The group waits for a second, then the node keeps what comes free."""
    stage = Stage({"n0": 2.0}, with_head=True)
    book = stage.pool(2, dedicated=False, resources={"CPU": 1.0})
    stage.submit(book, *[("plain", 0.4)] * 20)
    _group(stage, "STRICT_PACK")
    stage.say("it has waited for long enough")
    stage.run(2.5)
    stage.say("it is removed, and the tasks have their CPUs again")
    stage.driver.ask(RemoveGroup(0, "g"))
    stage.run(0.1)
    return stage


def a_node_of_a_placement_group_is_lost() -> Stage:
    """Its bundle is placed on another node, and who waits for that is told; the other bundle stays where it is."""
    stage = Stage({"n0": 1.0, "n1": 1.0, "n2": 1.0}, with_head=True)
    _group(stage, "STRICT_SPREAD")
    stage.say("n1 crashes")
    stage.world.uncertain()
    stage.world.machines["n1"].crash()
    stage.driver.ask(GroupQuery(0, "g", wait=True))
    stage.run(0.5)
    return stage


def _group(stage: Stage, strategy: str) -> None:
    facts = GroupFacts("g", ({"CPU": 1.0}, {"CPU": 1.0}), strategy)
    stage.world.groups.books["g"] = GroupBook(facts, stage.driver)
    stage.driver.ask(MakeGroup(0, facts))
    stage.driver.ask(GroupQuery(0, "g", wait=True))
    stage.run(0.1)


STORIES: tuple[Story, ...] = tuple(
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
