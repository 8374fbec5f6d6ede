"""What an agent itself adds to its node's answers, since no core can see it: slots, processes, the machine, logs.

::

    NodeCore ── NodeAnswers ──► add ──► head              what each worker runs, and since when: every topic
                                 │                        "timeline"  what workers that have ended have left
                                 │                        "activity"  the same, since this asker's last look; and:
                                 │                        "load"      the machine, memory and CPU time of workers
                                 │                        "store"     what lies in the object store
                                 │                        "logs"      a part of a log
                                 ├─ "stacks", and some worker has not answered: signal ──► ``DUMP_S`` ──► tick ──► head
                                 └─ the machine, and GPUs are to answer (``gpu_watch``): that, or ``GPUS_S`` ──► tick

Everything is looked up at that moment; nothing is kept. It takes a millisecond or so, in the agent's loop.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from distpool.scheduler.messages import NodeAnswers, Signal, StoreReport, encode

if TYPE_CHECKING:
    from distpool.scheduler.messages.insights import Dump, MachineLoad
    from distpool.scheduler.shells.brood import Brood
    from distpool.scheduler.shells.gpu_watch import GpuWatch

#: How long a worker's signal handler has to write where its threads are.
DUMP_S = 0.3
#: How long the answer of GPUs is waited for: one that has only been started comes to the next look.
GPUS_S = 0.3
#: Objects of a store that are told of, the biggest.
OBJECTS_MAX = 1_000
PROCESSES_MAX = 4_096
#: Askers of whom it is known what they were told, and how much of what ended workers have left is told at a time.
ASKERS_MAX = 8
LEFT_BYTES_MAX = 4 << 20


@dataclass
class _Parked:
    """``workers``: those that have been signalled, and their pids; None: it is the GPUs that are waited for."""

    answers: NodeAnswers
    workers: dict[int, int] | None
    due_s: float


class AgentAnswers:
    """A part of ``Agent``. ``report`` tells what lies in the node's store, ``store_use`` how much of it is used;
    ``say`` says to the head what has waited."""

    def __init__(
        self,
        directory: str,
        brood: Brood,
        report: Callable[[], StoreReport],
        store_use: Callable[[], tuple[int, int]],
        gpus: GpuWatch,
        say: Callable[[NodeAnswers], None],
    ) -> None:
        self._directory = directory
        self._brood = brood
        self._report = report
        self._store_use = store_use
        self._gpus = gpus
        self._say = say
        self._parked: list[_Parked] = []
        self._told: dict[str, int] = {}  # asker -> of how many workers that have ended

    def add(self, answers: NodeAnswers) -> NodeAnswers | None:
        """The whole answer of the node; None: it is said in a moment."""
        workers = []
        for facts in answers.workers:
            seen = self._brood.look(facts.worker, facts.lease)
            begun = self._brood.begun(facts.worker)
            workers.append(
                msgspec.structs.replace(facts, running=seen.running, for_s=seen.for_s, begun=begun)
            )
        more: tuple[bytes, ...] = ()
        if answers.topic == "timeline":
            more = self._brood.left.blobs
        elif answers.topic == "activity":
            more = self._left_since(answers.about)
        whole = msgspec.structs.replace(
            answers, answers=answers.answers + more, workers=tuple(workers), directory=self._directory
        )
        if answers.topic == "stacks" and answers.missing:
            self._signal(whole)
            return None
        now = time.monotonic()
        if answers.topic in ("load", "activity") and self._gpus.look(now):
            self._parked.append(_Parked(whole, None, now + GPUS_S))
            return None
        return self._with_own(whole)

    def _with_own(self, answers: NodeAnswers) -> NodeAnswers:
        try:
            own = self._own(answers.topic, answers.about)
        except Exception:  # a bug of ours; the node has work to do
            traceback.print_exc()
            own = b""
        return msgspec.structs.replace(answers, own=own)

    def _left_since(self, about: str) -> tuple[bytes, ...]:
        """What workers have left that have ended since this asker's last look."""
        from distpool.scheduler.messages import activity

        try:
            asker = activity.wanted(about).asker
        except msgspec.DecodeError:
            return ()
        left = self._brood.left
        told = self._told.pop(asker, 0)
        self._told[asker] = left.taken
        while len(self._told) > ASKERS_MAX:
            del self._told[next(iter(self._told))]
        return tuple(
            activity.pack(activity.LeftActivity(worker, did, b"" if did else ran))
            for worker, ran, did in left.since(told, LEFT_BYTES_MAX)
        )

    def _own(self, topic: str, about: str) -> bytes:
        match topic:
            case "load" | "activity":
                return msgspec.msgpack.encode(self._machine())
            case "store":
                return encode(self._biggest(self._report()))
            case "logs":
                return self._brood.logs.answer(about, self._brood.pids)
            case _:
                return b""

    @property
    def wake_s(self) -> float:
        """When an answer that waits is to be said, whatever is missing."""
        return min((parked.due_s for parked in self._parked), default=float("inf"))

    def tick(self, now: float) -> None:
        """Say what has waited for long enough; called at each turn, for what has come meanwhile."""
        if not self._parked:
            return
        ready: list[_Parked] = []
        waiting: list[_Parked] = []
        for parked in self._parked:
            has_come = parked.workers is None and not self._gpus.is_asked
            (ready if has_come or parked.due_s <= now else waiting).append(parked)
        self._parked = waiting
        for parked in ready:
            if parked.workers is None:
                self._say(self._with_own(parked.answers))
            else:
                self._say(msgspec.structs.replace(parked.answers, own=self._dumps(parked.workers)))

    # ---------------------------------------------------------------------------------------- stacks

    def _signal(self, answers: NodeAnswers) -> None:
        from distpool.scheduler.shells import stacks

        silent = {int(who.partition(":")[2]) for who in answers.missing if who.startswith("process:")}
        pids = {worker: pid for worker, pid in self._brood.pids.items() if worker in silent}
        for worker, pid in pids.items():
            stacks.take_dump(self._directory, worker)
            if stacks.can_dump(pid):
                self._brood.say(Signal(worker, stacks.SIGNAL))  # by its parent: so it hits nobody else
        self._parked.append(_Parked(answers, pids, time.monotonic() + DUMP_S))

    def _dumps(self, workers: dict[int, int]) -> bytes:
        from distpool.scheduler.messages.insights import Dump
        from distpool.scheduler.shells import stacks

        dumps: list[Dump] = [
            Dump(worker, pid, stacks.state_of(pid), stacks.take_dump(self._directory, worker))
            for worker, pid in workers.items()
        ]
        return msgspec.msgpack.encode(dumps)

    # --------------------------------------------------------------------------------------- machine

    def _machine(self) -> MachineLoad:
        import psutil

        from distpool.scheduler.messages.insights import MachineLoad, ProcessLoad

        processes = []
        for worker, pid in list(self._brood.pids.items())[:PROCESSES_MAX]:
            try:
                process = psutil.Process(pid)
                used = process.cpu_times()
                processes.append(ProcessLoad(worker, pid, used.user + used.system, process.memory_info().rss))
            except psutil.Error:
                continue  # it has just ended
        memory, times = psutil.virtual_memory(), psutil.cpu_times()
        busy_s = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        return MachineLoad(
            time.time(),
            busy_s,
            psutil.cpu_count() or 1,
            os.getloadavg()[0],
            memory.total - memory.available,
            memory.total,
            self._store_use(),
            tuple(processes),
            self._gpus.loads(time.monotonic()),
        )

    @staticmethod
    def _biggest(report: StoreReport) -> StoreReport:
        objects = sorted(report.objects, key=lambda stored: -stored.bytes)[:OBJECTS_MAX]
        return msgspec.structs.replace(report, objects=tuple(objects))
