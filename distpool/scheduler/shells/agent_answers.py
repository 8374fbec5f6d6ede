"""What an agent itself adds to its node's answers, since no core can see it: slots, processes, the machine, logs.

::

    NodeCore ── NodeAnswers ──► add ──► head              what each worker runs, and since when: every topic
                                 │                        "timeline"  what workers that have ended have left
                                 │                        "load"      the machine, memory and CPU time of workers
                                 │                        "store"     what lies in the object store
                                 │                        "logs"      a part of a log
                                 └─ "stacks", and some worker has not answered: signal ──► ``DUMP_S`` ──► due ──► head

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

#: How long a worker's signal handler has to write where its threads are.
DUMP_S = 0.3
#: Objects of a store that are told of, the biggest.
OBJECTS_MAX = 1_000
PROCESSES_MAX = 4_096


@dataclass
class _Parked:
    answers: NodeAnswers
    workers: dict[int, int]  # those that have been signalled, and their pids
    due_s: float


class AgentAnswers:
    """A part of ``Agent``. ``report`` tells what lies in the node's store, ``store_use`` how much of it is used."""

    def __init__(
        self,
        directory: str,
        brood: Brood,
        report: Callable[[], StoreReport],
        store_use: Callable[[], tuple[int, int]],
    ) -> None:
        self._directory = directory
        self._brood = brood
        self._report = report
        self._store_use = store_use
        self._parked: list[_Parked] = []

    def add(self, answers: NodeAnswers) -> NodeAnswers | None:
        """The whole answer of the node; None: ``due`` has it in a moment."""
        workers = []
        for facts in answers.workers:
            seen = self._brood.look(facts.worker, facts.lease)
            begun = self._brood.begun(facts.worker)
            workers.append(
                msgspec.structs.replace(facts, running=seen.running, for_s=seen.for_s, begun=begun)
            )
        more = self._brood.left.blobs if answers.topic == "timeline" else ()
        whole = msgspec.structs.replace(
            answers, answers=answers.answers + more, workers=tuple(workers), directory=self._directory
        )
        if answers.topic == "stacks" and answers.missing:
            self._signal(whole)
            return None
        try:
            own = self._own(answers.topic, answers.about)
        except Exception:  # a bug of ours; the node has work to do
            traceback.print_exc()
            own = b""
        return msgspec.structs.replace(whole, own=own)

    def _own(self, topic: str, about: str) -> bytes:
        match topic:
            case "load":
                return msgspec.msgpack.encode(self._machine())
            case "store":
                return encode(self._biggest(self._report()))
            case "logs":
                return self._brood.logs.answer(about, self._brood.pids)
            case _:
                return b""

    @property
    def wake_s(self) -> float:
        """When ``due`` has something."""
        return min((parked.due_s for parked in self._parked), default=float("inf"))

    def due(self, now: float) -> list[NodeAnswers]:
        """What has waited for long enough."""
        ready = [parked for parked in self._parked if parked.due_s <= now]
        self._parked = [parked for parked in self._parked if parked.due_s > now]
        return [msgspec.structs.replace(parked.answers, own=self._dumps(parked)) for parked in ready]

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

    def _dumps(self, parked: _Parked) -> bytes:
        from distpool.scheduler.messages.insights import Dump
        from distpool.scheduler.shells import stacks

        dumps: list[Dump] = [
            Dump(worker, pid, stacks.state_of(pid), stacks.take_dump(self._directory, worker))
            for worker, pid in parked.workers.items()
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
        )

    @staticmethod
    def _biggest(report: StoreReport) -> StoreReport:
        objects = sorted(report.objects, key=lambda stored: -stored.bytes)[:OBJECTS_MAX]
        return msgspec.structs.replace(report, objects=tuple(objects))
