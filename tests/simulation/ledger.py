"""What happened to each task, and the oracles that judge what the engine says about it.

A task's body is data: ``payload = [number, kind, duration_s, argument]``. Its right value names the task and its
function (``answer_of``), so a result that went to the wrong task, or came of the wrong function, is seen. Each oracle
has a name, which a ``Violation`` carries: the mutation tests ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distpool.scheduler.messages import Death, Failed, Strategy

from .loop import Loop, Violation

if TYPE_CHECKING:
    from .worker import Worker

#: Kinds of task bodies. ``crash`` dies of a signal each time, ``crash_once`` the first time, ``exit`` calls os._exit.
KINDS = ("plain", "raise", "crash", "crash_once", "exit", "deaf", "barrier", "nested")


@dataclass(slots=True, eq=False)
class Job:
    """A task as its submitter knows it (``Task.token``)."""

    number: int
    owner: str
    pool: PoolBook
    kind: str
    duration_s: float
    function: int
    retries: int
    argument: Any = None
    limit_s: float | None = None
    began_s: float = 0.0  # when it last started
    settled_s: float = 0.0
    task: Any = None
    submitted: bool = False
    exited: bool = False  # it has called os._exit
    cancelled_s: float = 0.0
    starts: int = 0
    finishes: int = 0  # times that it finished on a worker that has not died since
    ever_finished: bool = False
    lost_results: int = 0  # times that it finished and its answer died with its worker
    recorded: bool = False  # its answer lies, or lay, in a mailbox
    deaths: int = 0  # workers that died while the slot showed this task
    outcome: str = ""
    cancel: str = ""  # "", "unstarted", "running"
    running_on: set[str] = field(default_factory=set)

    @property
    def settled(self) -> bool:
        return bool(self.outcome)


def answer_of(job: Job) -> Any:
    """What its task must return: a plain value, or, for every third task, pickled bytes."""
    return [job.number, job.function] if job.number % 3 else b"%d %d" % (job.number, job.function)


@dataclass(slots=True, eq=False)
class PoolBook:
    """A pool as its program knows it."""

    owner: str
    number: int
    size: int
    dedicated: bool
    resources: dict[str, float]
    setup_fails: float  # the share of workers whose initializer raises, or dies
    max_tasks: int = 0
    wears: float = 0.0  # the share of tasks that leave their worker too big
    strategy: Strategy = field(default_factory=Strategy)
    state: str = "open"  # open, broken, closed, terminated, gone
    broke: bool = False
    sized_s: float = 0.0  # when it was last resized
    jobs: list[Job] = field(default_factory=list)
    barrier: set[int] = field(default_factory=set)  # the tasks that have arrived, or will never come
    barrier_size: int = 0
    actor: Any = None  # the actor that it is, or stands for

    @property
    def pending(self) -> bool:
        """Whether a task of this pool waits for a worker."""
        return any(
            job.submitted and not (job.outcome or job.cancel or job.running_on or job.finishes)
            for job in self.jobs
        )


class Ledger:
    """The account of one world."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.jobs: list[Job] = []
        self.open_jobs: dict[int, Job] = {}
        self.lossy: set[str] = (
            set()
        )  # owners that lost links or nodes, for which "may have run" is a fair answer
        self.anything_lost = False  # a node or a link, at any time
        self.outcomes: dict[str, int] = {}
        self.overdue: list[Job] = []  # told so, in this order

    def job(self, **fields: Any) -> Job:
        job = Job(len(self.jobs), **fields)
        self.jobs.append(job)
        self.open_jobs[job.number] = job
        job.pool.jobs.append(job)
        return job

    def forget(self, job: Job) -> None:
        """Nobody will ask for this job any more: it was never submitted, or its owner is dead."""
        if not job.outcome:
            job.outcome = "forgotten"
            self.open_jobs.pop(job.number, None)

    # -------------------------------------------------------------------------- what workers do

    def started(self, number: int, worker: str) -> Job:
        job = self.jobs[number]
        if job.exited and not self.anything_lost:
            raise Violation(
                "exit_fails_at_once", f"task {number} ended its process itself, and is started again"
            )
        if job.outcome == "overdue" and not self.anything_lost:
            raise Violation("overdue_once", f"task {number} has run out of its time, and is started again")
        job.starts += 1
        job.began_s = self.loop.now
        job.running_on.add(worker)
        if job.outcome == "forgotten":
            return job  # its owner is dead, and this worker has not heard of it yet
        if not job.outcome and job.task.keep is None:
            raise Violation("arguments_kept", f"task {number} starts, and its arguments were let go")
        if job.starts > 1 and not job.retries:
            raise Violation(
                "never_repeated", f"task {number} (retries=0) is started a second time, on {worker}"
            )
        if job.starts > 1 + job.retries + job.lost_results and not self.anything_lost:
            raise Violation(
                "retries_bounded", f"task {number} is started {job.starts} times with retries={job.retries}"
            )
        if job.outcome == "cancelled" and job.cancel == "unstarted" and job.pool.state == "open":
            raise Violation(
                "cancelled_stays_cancelled", f"task {number} starts after it was reported cancelled"
            )
        return job

    def finished(self, job: Job, worker: str) -> None:
        job.finishes += 1
        job.ever_finished = True
        job.running_on.discard(worker)

    def died(self, job: Job, worker: str) -> None:
        """``worker`` died while its slot showed this task."""
        job.deaths += 1
        job.running_on.discard(worker)

    def answers_died(self, worker: Worker) -> None:
        """``worker`` died: what it had finished and not delivered for certain may run again, uncharged."""
        for job in worker.undelivered:
            if not job.outcome:
                job.lost_results += 1
                job.finishes = 0

    # ---------------------------------------------------------------------- what programs are told

    def done(self, job: Job, value: Any) -> None:
        self._settle(job, "done")
        if value != answer_of(job):
            raise Violation("right_value", f"task {job.number} of function {job.function} got {value!r}")
        if not (job.ever_finished or job.recorded):
            raise Violation("right_value", f"task {job.number} is done, but never finished anywhere")
        if job.kind in ("raise", "crash", "exit"):
            raise Violation("right_value", f"task {job.number} ({job.kind}) cannot have a value")

    def failed(self, job: Job, failed: Failed) -> None:
        if failed.overdue:
            self._failed_by_time(job)
        elif failed.error is not None:
            self._failed_by_error(job, failed.error)
        elif failed.death is not None:
            self._failed_by_death(job, failed.death)
        else:
            self._failed_by_reason(job, failed.reason)

    def _failed_by_time(self, job: Job) -> None:
        """It may still be running, so its arguments are kept."""
        self._settle(job, "overdue")
        if job.limit_s is None or not job.starts or self.loop.now < job.began_s + job.limit_s:
            raise Violation(
                "time_not_cut",
                f"task {job.number} has had {self.loop.now - job.began_s:.6f} of {job.limit_s} s, and is overdue",
            )

    def _failed_by_error(self, job: Job, error: bytes) -> None:
        self._settle(job, "error")
        right = {b"raised %d" % job.number} if job.kind == "raise" else set()
        if job.cancel == "running":
            right.add(b"interrupted %d" % job.number)
        if job.pool.setup_fails:
            right.add(b"setup failed")
        if error not in right:
            raise Violation("right_failure", f"task {job.number} ({job.kind}) failed with {error!r}")

    def _failed_by_death(self, job: Job, death: Death) -> None:
        self._settle(job, "death")
        if job.recorded and not job.cancel and job.pool.state == "open":
            raise Violation(
                "recorded_answers_kept", f"task {job.number} left its answer in the mailbox, and failed"
            )
        if job.pool.broke or job.cancel == "running":
            return
        if job.kind == "exit" and job.deaths:
            return
        if job.deaths <= job.retries:
            raise Violation(
                "only_the_running_task_pays",
                f"task {job.number} failed by a death, but ran at {job.deaths} deaths with retries={job.retries}",
            )

    def _failed_by_reason(self, job: Job, reason: str) -> None:
        self._settle(job, "cancelled" if reason == "cancelled" else "reason")
        if job.cancel or job.pool.state in ("terminated", "gone", "closed") or job.pool.broke:
            return
        if "may have run" in reason and not job.retries and self.anything_lost:
            return
        raise Violation("right_failure", f"task {job.number} failed without cause: {reason!r}")

    def _settle(self, job: Job, outcome: str) -> None:
        if job.outcome:
            raise Violation(
                "exactly_once", f"task {job.number} is told {outcome} after it was told {job.outcome}"
            )
        if job.task.keep is not None and outcome != "overdue":
            raise Violation("arguments_let_go", f"task {job.number} is {outcome}, and its arguments are kept")
        job.outcome, job.settled_s = outcome, self.loop.now
        if outcome == "overdue":
            self.overdue.append(job)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        del self.open_jobs[job.number]
        if job.kind == "barrier":
            job.pool.barrier.add(job.number)
