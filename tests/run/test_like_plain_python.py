"""The same program under `python` and under `distpool run`: output, traceback and exit status are equal.

Plain Python is the oracle. None of these programs uses a pool: they ask whether distpool can be seen at all.
"""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.run.programs import ROOT, environment, on_distpool, plain, start

PROGRAMS = {
    "namespace": """
        import sys
        print(__name__, __file__, __spec__, __package__, __doc__, __cached__, __annotations__, __builtins__)
        print(sys.modules["__main__"].__dict__ is globals(), type(sys.modules["__main__"]), sorted(globals()))
    """,
    "argv": "import sys; print(sys.argv, sys.flags, sys.warnoptions, sys._xoptions)",
    "search path": """
        import os, sys
        print(sys.path, sys.path[0])
        print({key: value for key, value in os.environ.items() if "PYTHON" in key or "DISTPOOL" in key})
        print("sitecustomize" in sys.modules, "usercustomize" in sys.modules)
    """,
    "annotations": "x: int = 1\nprint(__annotations__)",
    "guard": "if __name__ == '__main__': print('the guard holds')",
    "exit with a number": "import sys; sys.exit(7)",
    "exit with a large number": "import sys; sys.exit(300)",
    "exit with a text": "import sys; sys.exit('this went wrong')",
    "exit with nothing": "import sys; sys.exit()",
    "exit with a tuple": "raise SystemExit((1, 2))",
    "exit at once": "import os; os._exit(9)",
    "exception": """
        def inner(value):
            return 1 / value
        def outer():
            inner(0)
        outer()
    """,
    "chained exceptions": """
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("no such key") from error
    """,
    "exception group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
    "exception with a note": "e = ValueError('x'); e.add_note('a note'); raise e",
    "syntax error": "def broken(:\n    pass",
    "recursion": "def deeper(): deeper()\ndeeper()",
    "stack": "import traceback; traceback.print_stack(); import sys; print(sys._getframe().f_back)",
    "warning": "import warnings; warnings.warn('look', stacklevel=1); warnings.warn('look', stacklevel=5)",
    "exit handlers": """
        import atexit, sys, threading
        atexit.register(print, "first registered")
        atexit.register(print, "last registered")
        threading.Thread(target=lambda: print("thread")).start()
        class Noisy:
            def __del__(self): print("deleted", sys is not None)
        noisy = Noisy()
        raise KeyError("then the handlers")
    """,
    "own excepthook": """
        import sys
        sys.excepthook = lambda *args: print("hook", args[0], args[2].tb_frame.f_code.co_name, args[2].tb_next)
        raise ValueError
    """,
    "keyboard interrupt": "raise KeyboardInterrupt('stop')",
    "killed by itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "interrupted by itself": "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "signal handlers": """
        import signal
        print([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)])
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    """,
    "standard input": "import sys; print(sys.stdin.read(), input)",
    "threads and descriptors": """
        import os, threading
        print(threading.active_count(), len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")))
    """,
    "neighbour module": "import neighbour",
    "import that fails": "import no_such_module_anywhere",
}


def write(path: Path, source: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = source.splitlines()
    if lines and not lines[0].strip():
        indent = len(lines[1]) - len(lines[1].lstrip())
        lines = [line[indent:] for line in lines]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", PROGRAMS)
def test_script(name: str, tmp_path: Path) -> None:
    write(tmp_path / "neighbour.py", "def fail():\n    raise OSError('from a neighbour')\nfail()")
    script = str(write(tmp_path / "folder" / "script.py", PROGRAMS[name]))
    write(tmp_path / "folder" / "neighbour.py", "raise OSError('from a neighbour')")
    words = (script, "one", "--progress", "-m", "two words")
    assert on_distpool(*words, cwd=tmp_path, stdin="typed") == plain(*words, cwd=tmp_path, stdin="typed")


SHOW = "import sys; print(sys.argv, sys.path[0], __name__, __package__, __spec__ and __spec__.name)\n1 / 0"


@pytest.mark.parametrize(
    "words",
    [
        ("package",),
        ("-m", "package"),
        ("-m", "package.inside", "-h"),
        ("-m", "no_such_module"),
        ("-m", "package.no_such_module"),
        ("archive.zip", "a"),
        ("-c", SHOW, "a"),
        ("-", "a", "-m"),
        ("./package/inside.py",),
    ],
    ids=" ".join,
)
def test_ways_to_name_a_program(words: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "__main__.py", SHOW)
    write(tmp_path / "package" / "inside.py", SHOW)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    outcome = on_distpool(*words, cwd=tmp_path, stdin=SHOW)
    assert outcome.status == 1
    assert outcome == plain(*words, cwd=tmp_path, stdin=SHOW)


@pytest.mark.parametrize(
    "options", [("-X", "dev"), ("-uO",), ("-W", "error"), ("-B", "-s"), ("-P",), ("-bb",)]
)
def test_options_of_python_itself_reach_the_program(options: tuple[str, ...], tmp_path: Path) -> None:
    script = str(write(tmp_path / "script.py", PROGRAMS["argv"]))
    outcome = on_distpool(script, cwd=tmp_path, options=options)
    assert outcome == plain(script, cwd=tmp_path, options=options)
    assert outcome.status == 0


def test_options_clustered_with_dash_m_reach_the_program(tmp_path: Path) -> None:
    script = str(
        write(tmp_path / "script.py", "import sys; print(sys.flags.optimize, sys.flags.dont_write_bytecode)")
    )
    for spelling in (["-OBm", "distpool"], ["-OBmdistpool"], ["-O", "-Bm", "distpool"]):
        command = [sys.executable, *spelling, "run", script]
        out = subprocess.run(
            command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert (out.stdout, out.stderr, out.returncode) == ("1 1\n", "", 0)


def test_ctrl_c_ends_it_as_it_ends_python(tmp_path: Path) -> None:
    script = str(write(tmp_path / "script.py", "import time\nprint('up', flush=True), time.sleep(60)"))
    # Without carets the traceback is the same in all of the line.
    options = ["-X", "no_debug_ranges"]
    ends = []
    for command in ([script], ["-m", "distpool", "run", script]):
        process = subprocess.Popen(
            [sys.executable, *options, *command],
            env=environment(),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        ends.append((process.returncode, out, err))
    assert ends[0] == ends[1]
    assert ends[0][0] == -signal.SIGINT


def test_a_sitecustomize_of_the_users_own_still_runs(tmp_path: Path) -> None:
    write(tmp_path / "site" / "sitecustomize.py", "import sys; sys.from_site = __file__")
    script = str(write(tmp_path / "script.py", "import sys; print(sys.from_site, sys.path)"))
    path = os.pathsep.join([str(tmp_path / "site"), environment()["PYTHONPATH"]])
    outs = [
        subprocess.run(
            [sys.executable, *command, script],
            env=environment(PYTHONPATH=path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        for command in ([], ["-m", "distpool", "run"])
    ]
    assert outs[0].stdout == outs[1].stdout
    assert str(tmp_path / "site" / "sitecustomize.py") in outs[1].stdout
    assert outs[1].stderr == ""


@pytest.mark.parametrize("path", [None, "", "one", "one:two"])
def test_pythonpath_is_what_it_was(path: str | None, tmp_path: Path) -> None:
    script = str(write(tmp_path / "script.py", PROGRAMS["search path"]))
    env = environment(**({} if path is None else {"PYTHONPATH": path}))
    if path is None:
        del env["PYTHONPATH"]
    # Only the current folder leads to distpool, and only `-m distpool` looks there.
    assert start([sys.executable, "-m", "distpool", "run", script], ROOT, env=env) == start(
        [sys.executable, script], ROOT, env=env
    )


def test_a_python_that_the_program_starts_is_a_plain_one(tmp_path: Path) -> None:
    child = "import sys; print([name for name in sys.modules if 'distpool' in name], sys.path)"
    script = str(
        write(
            tmp_path / "script.py",
            f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])",
        )
    )
    assert on_distpool(script, cwd=tmp_path) == plain(script, cwd=tmp_path)


def test_a_program_that_uses_no_pool_loads_neither_library_nor_engine(tmp_path: Path) -> None:
    script = str(write(tmp_path / "script.py", "import sys; print(*sorted(sys.modules))"))
    bare = set(plain(script, cwd=tmp_path).out.split())
    more = set(on_distpool(script, cwd=tmp_path).out.split()) - bare
    assert more <= {
        "distpool",
        "distpool.run",
        "distpool.run_libraries",
        "distpool.context_makers",
        "distpool.worker_hooks",
        "importlib",
        "importlib.machinery",
        "__future__",
        "types",
        "warnings",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
    }
