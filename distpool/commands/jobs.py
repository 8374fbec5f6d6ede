"""``distpool jobs``, and ``distpool stop JOB``: which programs a cluster has been handed, and the end of one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from distpool.command_words import CommandWords
from distpool.commands.job_client import FINAL, JobClient, place_of, show_end
from distpool.scheduler.messages import JobFacts
from distpool.scheduler.text_tables import in_columns

__all__ = ["run", "stop"]

_WORDS_CHARS_MAX = 60


def run(words: Sequence[str]) -> int:
    """``distpool jobs``."""
    parser = CommandWords("jobs", "List the jobs of a cluster: see `distpool submit --help`.")
    _add_where(parser)
    options = parser.parse_args(words)
    with JobClient(place_of(options.file, options.address)) as client:
        jobs = client.jobs()
    if not jobs:
        print("There is no job.")
        return 0
    rows = [("JOB", "STATE", "NODE", "SUBMITTED", "PROGRAM"), *map(_row, jobs)]
    print("\n".join(in_columns(rows)))
    return 0


def _row(facts: JobFacts) -> tuple[str, ...]:
    state = f"{facts.state} ({facts.status})" if facts.status else facts.state
    submitted = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts.submitted_s))
    words = shlex.join(facts.words)
    words = words if len(words) <= _WORDS_CHARS_MAX else words[: _WORDS_CHARS_MAX - 3] + "..."
    return facts.job, state, facts.node, submitted, f"{words}  [{facts.reason}]" if facts.reason else words


def stop(words: Sequence[str]) -> int:
    """``distpool stop JOB ...``: end them, and wait for that."""
    parser = CommandWords("stop", "End jobs: SIGTERM, and SIGKILL after ten seconds.")
    parser.add_argument("jobs", nargs="+", metavar="JOB", help="its name: `distpool jobs` lists them")
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="of any node (DISTPOOL_ADDRESS, or the node here)"
    )
    options = parser.parse_args(words)
    with JobClient(place_of(None, options.address)) as client:
        for job in options.jobs:
            facts = client.stop(job)
            if facts.state not in FINAL:
                facts = client.wait_end(job)
            print(show_end(facts) or f"{job} had ended by itself, and well.")
    return 0


def _add_where(parser: CommandWords) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("file", nargs="?", metavar="cluster.yaml", help="the file of a cluster that is up")
    where.add_argument(
        "--address", metavar="HOST:PORT", help="of any node (DISTPOOL_ADDRESS, or the node here)"
    )
