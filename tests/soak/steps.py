"""What the soak runs: full counts of what the tests of every day take samples of.

A step is a command, run once or several times, each time under a limit. Counts lie in two places: those that a test
makes itself (``scene.count``, under ``DISTPOOL_SOAK``), and how often a command is run or how many seeds it is given.
``share`` scales both, so that the whole can be tried in minutes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

PROCESSES = "tests/processes"


@dataclass(frozen=True)
class Step:
    """One line of the results. ``what`` names what is counted, ``count`` how much of it a full run does.

    The command is run ``runs`` times, each for at most ``limit_s``. ``{count}`` in it becomes the scaled count, for
    commands that take theirs as an argument; ``counts_itself`` says that the tests know theirs.
    """

    name: str
    what: str
    count: int
    command: tuple[str, ...]
    limit_s: float
    runs: int = 1
    counts_itself: bool = True

    def runs_of(self, share: float) -> int:
        """How often the command is run."""
        return scaled(self.runs, share)

    def count_of(self, share: float) -> int:
        """How much of it is done in all those runs."""
        if self.runs > 1:
            return self.count // self.runs * self.runs_of(share)
        return scaled(self.count, share) if self.counts_itself else self.count

    def command_of(self, share: float) -> list[str]:
        """What to run."""
        return [part.format(count=scaled(self.count, share)) for part in self.command]


def scaled(count: int, share: float) -> int:
    """This share of a count, at least one."""
    return max(1, round(count * share))


def pytest_of(*selection: str) -> tuple[str, ...]:
    """The command that runs these tests."""
    return (sys.executable, "-m", "pytest", "-q", "--timeout", "7200", *selection)


def _seeds_of(module: str) -> tuple[str, ...]:
    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return (sys.executable, "-m", module, "--seeds", "0:{count}", "--jobs", jobs)


_STEPS = (
    Step(
        "signals",
        "SIGINTs and raising SIGALRMs at random instants, with check() after each",
        10_000,
        pytest_of(f"{PROCESSES}/test_signals.py"),
        limit_s=7200,
    ),
    Step(
        "kills",
        "random SIGKILLs of workers under load; 100 times one abort among 999 good calls; and more",
        1_000,
        pytest_of(f"{PROCESSES}/test_under_load.py"),
        limit_s=5400,
    ),
    Step(
        "cycles",
        "pools, executors and sessions opened and closed: nothing leaks",
        1_000,
        pytest_of(f"{PROCESSES}/test_leaks.py"),
        limit_s=7200,
    ),
    Step(
        "starts",
        "starts from a parent with live threads",
        1_000,
        pytest_of(f"{PROCESSES}/test_start.py"),
        limit_s=5400,
    ),
    Step(
        "session deaths",
        "rounds of kill -9 of driver, agent and nursery, each alone and all in one instant",
        50,
        pytest_of(f"{PROCESSES}/test_session_deaths.py"),
        limit_s=120,
        runs=50,
    ),
    Step(
        "crash matrix",
        "rounds of each place of death by each manner, cancelling, and what cannot be pickled",
        20,
        pytest_of(
            f"{PROCESSES}/test_crash_matrix.py",
            f"{PROCESSES}/test_cancelling.py",
            f"{PROCESSES}/test_unpicklable.py",
        ),
        limit_s=300,
        runs=20,
    ),
    Step(
        "chaos",
        "seconds of random SIGKILLs of workers and actors, with 10,000 remote calls in flight: every result is right",
        60,
        pytest_of("tests/remote_chaos/test_chaos.py"),
        limit_s=3600,
    ),
    Step(
        "cuts",
        "rounds of cuts of 5 and 20 s, of a program from its cluster and of a node from the head, with work under way",
        5,
        pytest_of("tests/cluster/test_cuts.py"),
        limit_s=900,
        runs=5,
    ),
    Step(
        "nodes by TCP",
        "run of the tests of several agents, which join by the port of the first",
        1,
        ("env", "DISTPOOL_NODES_BY_TCP=1", *pytest_of("tests/nodes")),
        limit_s=1800,
        counts_itself=False,
    ),
    Step(
        "simulator",
        "worlds of the simulator, each under a seed of its own",
        20_000,
        _seeds_of("tests.simulation"),
        limit_s=5400,
    ),
    Step(
        "store's simulator",
        "worlds of the object store, each under a seed of its own",
        20_000,
        _seeds_of("tests.store"),
        limit_s=5400,
    ),
    Step(
        "mutations",
        "all planted bugs of cores and store hunted, each until it is caught",
        1,
        pytest_of("tests/simulation/test_mutations.py", "tests/store/test_mutations.py"),
        limit_s=10800,
        counts_itself=False,
    ),
)


def _the_rest() -> Step:
    """All other tests, once, in their long form. What has a step of its own is left out."""
    own = sorted(
        {
            part
            for step in _STEPS
            for part in step.command
            if part.startswith("tests/") and part != "tests/nodes"
        }
    )
    left_out = [f"--ignore={path}" for path in own]
    seeds = [
        f"--deselect=tests/{where}/test_simulation.py::test_many_seeds" for where in ("simulation", "store")
    ]
    return Step(
        "all other tests",
        "run of everything else, in its long form",
        1,
        pytest_of("tests", *left_out, *seeds),
        limit_s=5400,
        counts_itself=False,
    )


STEPS = (*_STEPS, _the_rest())
