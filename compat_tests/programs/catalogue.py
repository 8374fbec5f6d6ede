"""The programs. They were chosen for being in wide use and for having a ``-j`` or a ``pool=``, not for passing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One program and one way to run it.

    ``command`` is what comes after ``python``; it runs in a folder that holds ``inputs`` and, as ``stdlib/``, some
    packages of the standard library. A name in braces becomes the path of that console script. ``any_order``: with
    plain Python, too, the order of the lines is that in which workers happen to finish, and lines run into each
    other; then the characters are compared, without their order. ``mask`` is a regular expression of what differs
    from run to run. ``starts_session`` is False for programs that use only processes and queues, which need no engine.
    """

    name: str
    uses: str
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    any_order: bool = False
    mask: str = ""
    starts_session: bool = True


PROGRAMS = (
    Program("compileall", "ProcessPoolExecutor", ("-m", "compileall", "-j2", "-f", "stdlib"), any_order=True),
    Program("flake8", "Pool", ("-m", "flake8", "-j2", "stdlib"), ("flake8",)),
    Program(
        "pylint",
        "ProcessPoolExecutor",
        ("-m", "pylint", "-j2", "--disable=all", "--enable=W", "stdlib/json", "stdlib/logging"),
        ("pylint",),
    ),
    Program("isort", "Pool", ("-m", "isort", "-j2", "stdlib"), ("isort",), any_order=True),
    Program(
        "black", "ProcessPoolExecutor", ("-m", "black", "-l", "60", "stdlib"), ("black",), any_order=True
    ),
    Program("yapf", "ProcessPoolExecutor", ("-m", "yapf", "-p", "-i", "-r", "stdlib"), ("yapf",)),
    Program(
        "autopep8",
        "Pool",
        ("{autopep8}", "-j2", "-r", "-i", "--aggressive", "stdlib/json", "stdlib/email"),
        ("autopep8",),
    ),
    Program(
        "autoflake",
        "Pool",
        ("-m", "autoflake", "-j2", "-r", "-i", "--remove-all-unused-imports", "stdlib"),
        ("autoflake",),
    ),
    Program(
        "detect-secrets",
        "Pool",
        ("{detect-secrets}", "-c", "2", "scan", "--all-files", "stdlib"),
        ("detect-secrets",),
        mask=r'"generated_at": ".*"',
    ),
    Program(
        "sphinx",
        "Process and Pipe",
        ("-m", "sphinx", "-q", "-j2", "-b", "text", "documents", "out"),
        ("sphinx",),
        starts_session=False,
    ),
    Program(
        "doit",
        "Process and Queue",
        ("-m", "doit", "-n2", "run"),
        ("doit",),
        any_order=True,
        starts_session=False,
    ),
    Program("emcee", "Pool as pool=", ("sample.py",), ("emcee",)),
    Program("dynesty", "Pool as pool=", ("nested.py",), ("dynesty",)),
    Program("deap", "Pool.map as a tool", ("evolve.py",), ("deap",)),
    Program("tqdm", "process_map", ("mapped.py",), ("tqdm",)),
    Program("scikit-learn", "joblib: searches, forests", ("searched.py",), ("scikit-learn",)),
    Program("nltk", "joblib: parallelize_preprocess", ("stemmed.py",), ("nltk",)),
    Program("joblib", "generators, Memory, nesting", ("memoized.py",), ("joblib", "numpy")),
)
