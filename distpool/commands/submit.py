"""``distpool submit``: a program that runs on a node of a cluster, with all of the cluster, and goes on without us.

::

    the folder with the script ── archive ──► node ── a job ──► python script.py ARG ...     (a driver there)
    our standard output  ◄── its log ──────────┘      Ctrl-C: we leave, and it goes on
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from distpool.command_words import CommandWords
from distpool.commands.job_client import FINAL, NO_STATUS, JobClient, place_of, show_end

__all__ = ["run"]

_USAGE = """distpool submit [OPTION ...] [cluster.yaml] script.py [ARG ...]
       distpool submit [OPTION ...] [cluster.yaml] -m MODULE [ARG ...]
       distpool submit [OPTION ...] [cluster.yaml] -- COMMAND [ARG ...]"""

_EPILOG = """\
The program runs on the node that is asked (of a file: the first host), and uses the whole cluster: Pool(), executors
and remote functions in it find that by themselves. The folder that we are in goes along and is the program's (the
script's own, if that lies elsewhere); what .gitignore names stays here.

What it prints comes here, and so does its exit status. When we leave (Ctrl-C, --no-wait, a lost line), it goes on:

  distpool jobs                     which there are, and how they have ended
  distpool logs job-... --follow    what it prints
  distpool stop job-...             end it

examples:
  distpool submit cluster.yaml train.py --epochs 10
  distpool submit --no-wait cluster.yaml -m project.train
  distpool submit --address 10.0.0.1:9437 --runtime-env '{"pip": ["scikit-learn"]}' train.py
"""


def run(words: Sequence[str]) -> int:
    """``distpool submit``."""
    parser = CommandWords("submit", "Run a program on a cluster, and let it go on when we leave.", _EPILOG)
    parser.usage = _USAGE
    add = parser.add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="of a node (DISTPOOL_ADDRESS, or the node here), without a file",
    )
    add("--no-wait", action="store_true", help="print the job's name, and leave")
    add("--working-dir", metavar="FOLDER", help="what goes along, and is where the program begins")
    add("--runtime-env", metavar="JSON", default="{}", help="pip, uv, env_vars, py_modules, ... as in init()")
    ours, program = _cut(words)
    options = parser.parse_args(ours)
    file = program.pop(0) if program and program[0].endswith((".yaml", ".yml")) else None
    if not program:
        parser.error("no program given")
    if file and options.address:
        parser.error("a file and --address both name a cluster")
    entry, folder = _entry(program, options.working_dir)
    environment = {"working_dir": folder, **_environment(options.runtime_env)}
    with JobClient(place_of(file, options.address)) as client:
        facts = client.submit(entry, environment)
        print(f"{facts.job} runs on node {facts.node}", file=sys.stderr)
        if options.no_wait:
            print(facts.job)
            return 0
        return _follow(client, facts.job)


def _follow(client: JobClient, job: str) -> int:
    try:
        facts = client.wait_end(job, _write)
    except KeyboardInterrupt:
        print(
            f"\n{job} goes on: `distpool logs {job} --follow`, `distpool stop {job}`",
            file=sys.stderr,
        )
        return 128 + signal.SIGINT
    assert facts.state in FINAL
    if end := show_end(facts):
        print(f"distpool submit: {end}", file=sys.stderr)
    return NO_STATUS if facts.status is None else facts.status


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _cut(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our options, and what begins with the file or the program: all from there on is the program's."""
    valued = ("--address", "--working-dir", "--runtime-env")
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-m", "--"):
        at += 2 if words[at] in valued else 1
    return list(words[:at]), list(words[at:])


def _entry(program: Sequence[str], folder: str | None) -> tuple[list[str], str]:
    """What is to be run, and in a copy of which folder. Raises ValueError: there is no such script."""
    first = program[0]
    if first == "--":
        if len(program) < 2:
            raise ValueError("no command after --")
        return list(program[1:]), folder or os.getcwd()
    if first == "-m":
        if len(program) < 2:
            raise ValueError("-m needs a module's name after it")
        return ["python", *program], folder or os.getcwd()
    if not os.path.isfile(first):
        raise ValueError(f"there is no script {first!r} in {os.getcwd()}; another command comes after --")
    script = os.path.realpath(first)
    root = os.path.realpath(folder or os.getcwd())
    if not script.startswith(root + os.sep):
        if folder:
            raise ValueError(f"{first} is not in {folder}, which is all that goes along")
        root = os.path.dirname(script)
    return ["python", os.path.relpath(script, root), *program[1:]], root


def _environment(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ValueError(f'--runtime-env takes a JSON object, such as \'{{"pip": ["numpy"]}}\', not {text!r}')
    return said
