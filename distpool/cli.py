"""The command line: `distpool COMMAND ...` or `python -m distpool COMMAND ...`.

What it is: words in, one call out. It reads the arguments, says in one line what is wrong with them and what to do
about it, and hands over. What it is not: a place where anything is done; `distpool run` itself is in `distpool.run`.

`run` reads its own options only up to the program, as Python does: everything after that is the program's.
"""

from __future__ import annotations

import os
import signal
import sys

from distpool import __version__
from distpool.run import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
usage: distpool COMMAND ...

  distpool run script.py [ARG ...]   run a program with its pools and process executors on distpool
  distpool run --help                what that does, with examples
  distpool start --head              the first node of a cluster; prints how others join, and how programs use it
  distpool start --address HOST:PORT a node that joins it
  distpool stop                      end the nodes of this machine
  distpool nodes, distpool status    what the cluster has, and how it is

a cluster on hosts that SSH logs in to:
  distpool up cluster.yaml           start what is missing of it, on all hosts at one time
  distpool down cluster.yaml         end it
  distpool exec cluster.yaml -- COMMAND ...   run something on one of its hosts

programs that a cluster runs, and that go on when you leave:
  distpool submit [cluster.yaml] script.py [ARG ...]
  distpool jobs, distpool logs JOB --follow, distpool stop JOB

of a running cluster, or of the program that runs on this machine:
  distpool dashboard                 what it does, live, as a page in the browser
  distpool top                       what it does, live, in the terminal
  distpool why [TASK]                what a task, an actor or a placement group waits for; or all that waits
  distpool stack [PID]               where every worker is in its Python code
  distpool logs [WORKER]             what a node, a worker or an actor has printed; --follow
  distpool memory                    who holds what in the object stores
  distpool timeline FILE             what ran where and when, for Perfetto

  distpool --version                 print the version
  distpool --help                    print this

`python -m distpool` is the same command.
"""

_RUN_HELP = """\
usage: distpool run [OPTION ...] script.py [ARG ...]
       distpool run [OPTION ...] -m MODULE [ARG ...]
       distpool run [OPTION ...] -c CODE [ARG ...]
       distpool run [OPTION ...] - [ARG ...]          (the program comes from standard input)

Runs an unmodified Python program as `python script.py` does, with these standing on distpool:

  multiprocessing.Pool, multiprocessing.pool.Pool, multiprocessing.get_context(...).Pool
  concurrent.futures.ProcessPoolExecutor
  joblib.Parallel, and with it scikit-learn: its default backend, which is called "loky"
  Dask, where its default scheduler is used

Arguments, output, tracebacks and exit status are those of plain Python. A script, a directory or a zip file with
a __main__.py will do. Python programs that the program itself starts are plain ones.

options:
  --progress   show the progress of each map, and of each call of joblib, on standard error
  --summary    at the end, say on standard error what was parallel, where, and how long
  --ray        `import ray` gives distpool
  --pandas     `import pandas`, in the program's own modules, gives distpool.dataframe
  -h, --help   print this

examples:
  distpool run analyse.py data.csv
  distpool run -m mypackage.analyse data.csv
  python -X dev -W error -m distpool run analyse.py     (Python's own options come before -m distpool)

environment:
  DISTPOOL_RETRIES=0   a task whose worker died is not run again (default: 2 times)
"""

_USAGE_ERROR = 2
_RUN_OPTIONS = ("--progress", "--summary", "--ray", "--pandas")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status (`distpool run` does not return: it becomes the program).

    argv: the words after `distpool`; by default those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        return _fail("distpool: no command given: try `distpool run script.py`, or `distpool --help`")
    match words[0]:
        case "run":
            return _run(words[1:])
        case "stop" if any(word.startswith("job-") for word in words[1:]):
            return _command("jobs", words[1:], "stop")
        case "start" | "stop" | "nodes" | "status":
            from distpool import cluster_commands

            return cluster_commands.run(words[0], words[1:])
        case "dashboard" | "top" | "logs" | "why" | "stack" | "memory" | "timeline":
            return _command(words[0], words[1:])
        case "up" | "down" | "exec" | "submit" | "jobs":
            return _command(words[0], words[1:])
        case "-V" | "--version":
            print(f"distpool {__version__}")
            return 0
        case "-h" | "--help":
            print(_HELP, end="")
            return 0
        case word:
            return _fail(f"distpool: there is no command {word!r}: try `distpool run`, or `distpool --help`")


def _run(words: list[str]) -> int:
    """Read the options of `run`, look at the program, and become it."""
    options = []
    while words and words[0] in _RUN_OPTIONS:
        options.append(words.pop(0).removeprefix("--"))
    if "progress" in options:
        os.environ["DISTPOOL_PROGRESS"] = "1"
    if words and words[0] in ("-h", "--help"):
        print(_RUN_HELP, end="")
        return 0
    complaint = _complaint_about(words) or _complaint_about_interpreter()
    if not complaint and "pandas" in options:
        from distpool import run_pandas

        complaint = run_pandas.complaint()
    if complaint:
        return _fail(f"distpool run: {complaint}")
    launch(words, _interpreter_options(), options)


def _command(name: str, words: list[str], function: str = "run") -> int:
    """Run a command that is a module of its own; what goes wrong is said in a line."""
    import importlib

    from distpool.errors import ClusterError

    command = importlib.import_module(f"distpool.commands.{name}")
    try:
        status: int = getattr(command, function)(words)
        sys.stdout.flush()
        return status
    except (ClusterError, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), 1
            )  # who reads us has had enough; Python flushes once more
            return 1
        print(f"distpool {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _complaint_about(program: list[str]) -> str | None:
    """Say what is wrong with the program, or nothing."""
    match program:
        case []:
            return "no program given: try `distpool run script.py`, or `distpool run --help`"
        case ["-m" | "-c" as option]:
            what = "a module name" if option == "-m" else "code"
            return f"{option} needs {what} after it: see `distpool run --help`"
        case ["-m" | "-c" | "-", *_]:
            return None
        case [option, *_] if option.startswith("-"):
            return (
                f"there is no option {option!r}: see `distpool run --help`; "
                f"an option of Python itself goes before, as in `python {option} -m distpool run ...`"
            )
        case [path, *_] if not os.path.exists(path):
            return f"there is no file {path!r} in {os.getcwd()}: check the path, or use -m for a module"
        case [path, *_] if os.path.isdir(path) and not _has_main(path):
            return f"the directory {path!r} has no __main__.py: name the script in it that is to run"
        case [path, *_] if not os.access(path, os.R_OK):
            return f"the file {path!r} cannot be read: check its permissions"
    return None


def _has_main(directory: str) -> bool:
    return any(os.path.exists(os.path.join(directory, name)) for name in ("__main__.py", "__main__.pyc"))


def _complaint_about_interpreter() -> str | None:
    """Say why this Python cannot hand itself over to another one, or nothing."""
    if not sys.executable:
        return "Python does not know its own path (sys.executable is empty): start it by its full path"
    if sys.flags.ignore_environment or sys.flags.no_site:
        return "cannot work under Python's options -I, -E and -S, which shut distpool out: leave them away"
    return None


def _interpreter_options() -> list[str]:
    """Find the options that Python itself was given before `-m distpool` or the script `distpool`."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    if before and before[-1] == "distpool":
        # `-m distpool`, where the m may end a cluster of options, as in `-um distpool`
        before, cluster = before[:-2], before[-2].removesuffix("m")
    elif before and before[-1].endswith("mdistpool"):
        before, cluster = before[:-1], before[-1].removesuffix("mdistpool")
    else:
        before, cluster = before[:-1], "-"
    return before if cluster == "-" else [*before, cluster]


def _fail(complaint: str) -> int:
    print(complaint, file=sys.stderr)
    return _USAGE_ERROR
