"""Where the time of one row goes: processor time by process and thread, and the functions that spend it.

::

    python -m benchmarks.profile_hot_path apply-async
    python -m benchmarks.profile_hot_path submit-many --peer stdlib-executor --count 20000
    python -m benchmarks.profile_hot_path apply --cprofile --top 40

Three looks at the same run, which happens in this very process so that the driver's threads show by name:

1. *Processor time* by process and thread, from /proc (the scheduler's nanoseconds, so exact): microseconds a
   task, the kernel's share of them, how often a task made the thread sleep (waits) or lose its core (preempted).
2. *Samples* of the Python stacks of the driver's threads and, by a sampler that travels as a task, of the
   workers'. A sampler needs the GIL, so it sees a thread most often where that thread lets go of it: lines with
   system calls are over-represented. The second look tells where a thread is, the first one what that costs.
3. With `--cprofile`, exact call counts of the driver's threads instead. It slows Python code several times: read
   counts and proportions from it, not rates.

The agent and other processes are seen by the first look alone.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib
import os
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import bodies, measure, peers, proc, rows
from benchmarks.model import Adapter, Peer, Row

_SAMPLE_INTERVAL_S = 0.002
_TASKS_A_WORKER = 20  # of 1 ms each: enough for every worker to get a sampler


class Sampler:
    """Looks at the stacks of all other threads of its process at an interval; counts lines and functions."""

    def __init__(self) -> None:
        self.lines: Counter[tuple[str, str]] = Counter()
        self.samples: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(_SAMPLE_INTERVAL_S):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    thread = names.get(ident, f"thread {ident}")
                    code = frame.f_code
                    where = f"{_short(code.co_filename)}:{frame.f_lineno} {code.co_qualname}"
                    self.samples[thread] += 1
                    self.lines[thread, where] += 1


_worker_sampler: Sampler | None = None


def start_worker_sampler(_argument: object) -> None:
    """A task: start a sampler in this worker, once. The millisecond lets the other workers have theirs."""
    global _worker_sampler
    if _worker_sampler is None:
        _worker_sampler = Sampler()
        _worker_sampler.start()
    bodies.spin_one_millisecond(None)


def take_worker_samples(_argument: object) -> tuple[int, Counter[tuple[str, str]], Counter[str]] | None:
    """A task: stop this worker's sampler and bring home what it saw; None if that was done before."""
    global _worker_sampler
    bodies.spin_one_millisecond(None)
    if _worker_sampler is None:
        return None
    _worker_sampler.stop()
    taken, _worker_sampler = _worker_sampler, None
    return os.getpid(), taken.lines, taken.samples


@dataclass(frozen=True, slots=True)
class Spent:
    """What one thread spent during the row."""

    process: str
    thread: str
    cpu_s: float
    system_share: float
    waits: int
    preemptions: int


class ProfiledSession(measure.PeerSession):
    """Opens the peer as any session does, and starts looking once it is open and warm."""

    def __init__(self, peer: Peer, row: Row, count: int, samplers: bool) -> None:
        super().__init__(peer, measure.load(peer), row.workers, count)
        self._samplers = samplers
        self.adapter: Adapter | None = None
        self.roles: dict[int, str] = {}
        self.before: dict[int, dict[int, proc.ThreadUsage]] = {}
        self.sampler = Sampler()
        self.began = 0.0

    def open_warm(self) -> Adapter:
        self.adapter = adapter = super().open_warm()
        asked = range(_TASKS_A_WORKER * self.workers)
        workers = set(adapter.collect([adapter.submit(bodies.process_id, None) for _ in asked]))
        if self._samplers:
            adapter.collect([adapter.submit(start_worker_sampler, None) for _ in asked])
            self.sampler.start()
        self.roles = {os.getpid(): "driver"}
        for pid in proc.descendants(os.getpid()):
            self.roles[pid] = f"{'worker' if pid in workers else 'other'} {pid}"
        self.before = {pid: proc.thread_usage(pid) for pid in self.roles}
        self.began = time.perf_counter()
        return adapter

    def worker_samples(self) -> list[tuple[int, Counter[tuple[str, str]], Counter[str]]]:
        """What the workers' samplers saw, one entry a worker."""
        assert self.adapter is not None
        asked = range(_TASKS_A_WORKER * self.workers)
        answers = self.adapter.collect([self.adapter.submit(take_worker_samples, None) for _ in asked])
        return [answer for answer in answers if answer is not None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile one row; return the exit status."""
    options = _parse(arguments)
    row, peer = (
        rows.discover()[options.row],
        peers.discover()[options.peer or rows.discover()[options.row].ours],
    )
    proc.become_subreaper()
    with _profiled_threads() if options.cprofile else _nothing() as profiles:
        session = ProfiledSession(peer, row, options.count or row.count, samplers=not options.cprofile)
        try:
            values = row.measure(session)
            if not session.roles:
                print(f"{row.key} measures from cold and cannot be profiled this way", file=sys.stderr)
                return 2
            elapsed_s = time.perf_counter() - session.began
            after = {pid: proc.thread_usage(pid) for pid in session.roles}
            _show_cpu(row, peer, session, values, elapsed_s, after)
            if not options.cprofile:
                session.sampler.stop()
                _show_samples("driver", session.sampler.lines, session.sampler.samples, options.top)
                for pid, lines, samples in session.worker_samples():
                    _show_samples(f"worker {pid}", lines, samples, options.top)
        finally:
            session.close()
    for name, profile in profiles:
        print(f"\n== cProfile, driver, {name}")
        pstats.Stats(profile, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(options.top)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_hot_path",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("row", choices=sorted(rows.discover()), help="the row to run")
    parser.add_argument("--peer", choices=sorted(peers.discover()), help="whom (default: distpool)")
    parser.add_argument("--count", type=int, default=0, help="how many tasks (default: the row's)")
    parser.add_argument("--top", type=int, default=15, help="how many lines of each thread to show")
    parser.add_argument(
        "--cprofile", action="store_true", help="count the driver's calls exactly, and slowly"
    )
    return parser.parse_args(arguments)


def _show_cpu(
    row: Row,
    peer: Peer,
    session: ProfiledSession,
    values: Mapping[str, float],
    elapsed_s: float,
    after: Mapping[int, Mapping[int, proc.ThreadUsage]],
) -> None:
    """Print what each thread spent, in microseconds a task."""
    count = session.count
    shown = ", ".join(f"{key} {value:,.4g}" for key, value in values.items())
    print(f"{row.key}, {peer.title}: {count:,} tasks in {elapsed_s:.3f} s while profiled ({shown})")
    print(
        f"{'process':<16}{'thread':<28}{'us/task':>9}{'kernel':>8}{'busy':>7}{'waits/task':>12}{'preempted':>11}"
    )
    spent = sorted(_spent(session, after), key=lambda each: -each.cpu_s)
    for each in spent:
        if each.cpu_s * 1e6 / count < 0.01 and not each.waits:
            continue
        print(
            f"{each.process:<16}{each.thread:<28}{each.cpu_s * 1e6 / count:>9.2f}{each.system_share:>8.0%}"
            f"{each.cpu_s / elapsed_s:>7.0%}{each.waits / count:>12.3f}{each.preemptions:>11,}"
        )
    total_s = sum(each.cpu_s for each in spent)
    print(f"{'all':<44}{total_s * 1e6 / count:>9.2f}{'':>8}{total_s / elapsed_s:>7.0%}")
    for pid, role in session.roles.items():
        if role.startswith("other"):
            print(f"{role} is: {proc.command_line(pid)[:120]}")


def _spent(session: ProfiledSession, after: Mapping[int, Mapping[int, proc.ThreadUsage]]) -> Iterator[Spent]:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    for pid, threads in after.items():
        for tid, now in threads.items():
            then = session.before[pid].get(tid)
            own_name = names.get(tid) if pid == os.getpid() else None
            thread = own_name or ("main" if tid == pid else f"{now.name} {tid}")
            yield Spent(
                process=session.roles[pid],
                thread=thread[:27],
                cpu_s=now.cpu_s - (then.cpu_s if then else 0.0),
                system_share=now.system_share,
                waits=now.waits - (then.waits if then else 0),
                preemptions=now.preemptions - (then.preemptions if then else 0),
            )


def _show_samples(process: str, lines: Counter[tuple[str, str]], samples: Counter[str], top: int) -> None:
    """Print the lines at which each thread of a process was seen most often."""
    for thread, total in samples.most_common():
        if thread == "sampler":
            continue
        print(f"\n== {process}, {thread}: {total} samples")
        seen = Counter({where: count for (name, where), count in lines.items() if name == thread})
        for where, count in seen.most_common(top):
            print(f"{count / total:>7.1%}  {where}")


def _short(filename: str) -> str:
    return "/".join(filename.split("/")[-2:])


@contextmanager
def _nothing() -> Iterator[list[tuple[str, cProfile.Profile]]]:
    yield []


@contextmanager
def _profiled_threads() -> Iterator[list[tuple[str, cProfile.Profile]]]:
    """Give this thread and every thread started meanwhile a profile of its own."""
    profiles: list[tuple[str, cProfile.Profile]] = []
    original: Callable[[threading.Thread], Any] = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        profile = cProfile.Profile()
        profiles.append((thread.name, profile))
        profile.runcall(original, thread)

    threading.Thread.run = run  # type: ignore[method-assign, assignment]
    main_profile = cProfile.Profile()
    profiles.append(("main", main_profile))
    main_profile.enable()
    try:
        yield profiles
    finally:
        main_profile.disable()
        threading.Thread.run = original  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    # The tasks of this file must be found by workers under its importable name, not as `__main__`.
    sys.exit(importlib.import_module("benchmarks.profile_hot_path").main())
