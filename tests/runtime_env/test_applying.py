"""What workers become, in processes of their own: alone, many at once, killed half-way, with nowhere to write."""

from __future__ import annotations

import base64
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

from distpool.scheduler.serialize import Exporter
from tests.runtime_env.workers import Place, wheel

PATHS = "import os; result = os.getcwd(), sys.path[:4], os.environ.get('PYTHONPATH')"
#: Unpacking stops behind the first file, says so, and waits to be killed.
STOP_HALF_WAY = """
import signal, zipfile
real = zipfile.ZipFile.extract
def extract(self, *args):
    done = real(self, *args)
    print("half-way", flush=True)
    signal.pause()
zipfile.ZipFile.extract = extract
"""


def test_variables_are_set_and_filled_in(place: Place) -> None:
    env = {
        "env_vars": {
            "PLAIN": "1",
            "LONGER": "${GIVEN}:/more",
            "NOWHERE": "${NOT_THERE}:/more",
            "AGAIN": "${PLAIN}2",
            "DOLLAR": "a$GIVEN $$ {GIVEN}",
            "TZ": "Asia/Tokyo",
        }
    }
    code = "import os, time; result = [dict(os.environ), time.tzname[0]]"
    variables, zone = place.worker(env, code, environment={"GIVEN": "/given"}).result()
    assert variables["PLAIN"] == "1"
    assert variables["LONGER"] == "/given:/more"
    assert variables["NOWHERE"] == ":/more"
    assert variables["AGAIN"] == "12"
    assert variables["DOLLAR"] == "a$GIVEN $$ {GIVEN}"
    assert variables["GIVEN"] == "/given"
    assert zone == "JST"
    assert not place.cache.exists()  # nothing was to be kept


def test_an_empty_environment_does_nothing(place: Place) -> None:
    code = "import os, sys; result = [os.getcwd(), sys.path]"
    assert place.worker({}, code).result() == place.worker({"config": {}}, code).result()
    assert not place.cache.exists()


def test_working_dir_is_the_folder_and_comes_first(place: Place) -> None:
    folder = place.folder(
        "proj", {"both.py": "where = 'working_dir'", "run_sh": "#!/bin/sh\necho ran", "data/x": "1"}
    )
    (folder / "run_sh").chmod(0o755)
    lib = place.folder("lib", {"both.py": "where = 'py_modules'", "only.py": "where = 'py_modules'"})
    env = {"working_dir": str(folder), "py_modules": [str(lib / "both.py"), str(lib / "only.py")]}
    code = (
        "import both, only, os, subprocess\n"
        "run = subprocess.run(['./run_sh'], capture_output=True, text=True).stdout\n"
        "child = subprocess.run([sys.executable, '-c', 'import both, only; print(both.where, only.where)'],"
        " capture_output=True, text=True).stdout\n"
        "result = [both.where, only.where, run, open('data/x').read(), child, os.getcwd()]"
    )
    *found, cwd = place.worker(env, code).result()
    assert found == ["working_dir", "py_modules", "ran\n", "1", "working_dir py_modules\n"]
    assert cwd.startswith(str(place.cache))


@pytest.mark.parametrize("kind", ["folder", "file", "zip", "wheel", "module"])
def test_py_modules_of_every_kind(place: Place, kind: str) -> None:
    lib = place.folder("lib", {"tinything.py": "version = '1.0'"})
    package = place.folder("lib/package", {"tinything/__init__.py": "version = '1.0'"})
    archive = place.root / "x.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("tinything/__init__.py", "version = '1.0'")
    module = types.ModuleType("tinything")
    module.__file__ = str(lib / "tinything.py")
    entry: Any = {
        "folder": str(package / "tinything"),
        "file": str(lib / "tinything.py"),
        "zip": str(archive),
        "wheel": str(wheel(place.root)),
        "module": module,
    }[kind]
    assert (
        place.worker({"py_modules": [entry]}, "import tinything; result = tinything.version").result()
        == "1.0"
    )


def test_pythonpath_of_env_vars_counts_too(place: Place) -> None:
    lib = place.folder("lib", {"one.py": "where = 1"})
    env = {"env_vars": {"PYTHONPATH": f"{lib}:${{PYTHONPATH}}"}}
    assert place.worker(env, "import one; result = one.where").result() == 1


def test_modules_of_the_program_s_folder_stay_importable(place: Place) -> None:
    """An interactive program has "" in its path: the folder that it is in, not what working_dir makes of it."""
    here = place.folder("here", {"beside.py": "where = 'here'"})
    env = {"working_dir": str(place.folder("proj", {"a": "1"}))}
    worker = place.worker(
        env, "import beside; result = beside.where", before="sys.path.insert(0, '')", cwd=here
    )
    assert worker.result() == "here"


def test_what_distpool_stands_on_stays_the_program_s(place: Place) -> None:
    names = ("zmq", "psutil", "cloudpickle", "other")
    fakes = place.folder("fakes", {f"{name}.py": "fake = 1" for name in names})
    code = f"import {', '.join(names)}; result = [hasattr(module, 'fake') for module in ({', '.join(names)})]"
    assert place.worker({"working_dir": str(fakes)}, code).result() == [False, False, False, True]


def test_sessions_do_not_see_what_others_wrote_into_their_working_dir(place: Place) -> None:
    env = {"working_dir": str(place.folder("proj", {"a": "1"}))}
    code = "import os; result = sorted(os.listdir()); open('left', 'w').close()"
    payload = place.prepare(env).payload()
    other = place.root / "other-session"
    other.mkdir()
    assert place.worker(payload, code).result() == ["a"]
    assert place.worker(payload, code).result() == ["a", "left"]
    assert place.worker(payload, code, base=other).result() == ["a"]


def test_many_workers_at_once_unpack_once(place: Place) -> None:
    folder = place.folder("proj", {**{f"file{n}": "x" * 10_000 for n in range(200)}})
    payload = place.prepare({"working_dir": str(folder), "py_modules": [str(folder)]}).payload()
    before = (
        "import zipfile; real = zipfile.ZipFile.extract; count = 0\n"
        "def extract(self, *args):\n"
        "    global count; count += 1\n"
        "    return real(self, *args)\n"
        "zipfile.ZipFile.extract = extract"
    )
    code = "import os; result = [count, len(os.listdir()), sum(os.path.getsize(f) for f in os.listdir())]"
    workers = [place.worker(payload, code, before=before) for _ in range(8)]
    results = [worker.result() for worker in workers]
    assert [result[1:] for result in results] == [[200, 2_000_000]] * 8
    assert sum(result[0] for result in results) == 400
    assert len(os.listdir(place.cache)) == 4


def test_killed_in_the_middle_of_unpacking(place: Place) -> None:
    payload = place.prepare(
        {"working_dir": str(place.folder("proj", {"a": "1", "b": "2", "c": "3"}))}
    ).payload()
    code = "import os; result = sorted(os.listdir())"
    first = place.worker(payload, before=STOP_HALF_WAY)
    assert first.line() == "half-way"
    waiting = place.worker(payload, code)
    first.kill()
    assert waiting.result() == ["a", "b", "c"]
    assert place.worker(payload, code).result() == ["a", "b", "c"]
    assert len(os.listdir(place.cache)) == 2


def test_the_time_for_a_set_up_is_bounded(place: Place) -> None:
    env = {"working_dir": str(place.folder("proj", {"a": "1"}))}
    first = place.worker(env, before=STOP_HALF_WAY)
    assert first.line() == "half-way"
    text = place.worker({**env, "config": {"setup_timeout_seconds": 0.3}}).error()
    assert "not ready within 0.3 s: another worker is still making" in text
    assert "setup_timeout_seconds" in text


def test_a_node_that_does_not_see_the_archives(place: Place) -> None:
    env = {"working_dir": str(place.folder("proj", {"a": "1"}))}
    payload = place.prepare(env).payload()
    contained = payload.contained()
    assert len(pickle.dumps(payload)) < 1000
    shutil.rmtree(place.base)
    place.base.mkdir()
    assert "is gone; was its session's directory removed?" in place.worker(payload).error()
    code = "import os; from distpool.runtime_envs import adopted, prepare\n"
    code += "again = prepare(None, sys.argv[0], adopted()).payload()\n"
    code += "result = [os.listdir(), again.archives[0].data, os.path.exists(again.archives[0].path)]"
    results = [worker.result() for worker in [place.worker(contained, code) for _ in range(4)]]
    assert results == [[["a"], None, True]] * 4
    assert os.listdir(place.base) == [f"{payload.archives[0].digest}.archive"]


def test_a_task_s_tasks_inherit_what_its_worker_is(place: Place) -> None:
    env = {
        "working_dir": str(place.folder("proj", {"a": "1"})),
        "env_vars": {"A": "${A}x", "B": "b"},
        "worker_process_setup_hook": "os.getpid",
    }
    code = (
        "import base64, pickle\n"
        "from distpool.runtime_envs import adopted, prepare\n"
        "own = prepare({'env_vars': {'B': 'new'}}, 'unused', adopted())\n"
        "result = base64.b64encode(pickle.dumps(own)).decode()"
    )
    own = pickle.loads(base64.b64decode(place.worker(env, code, environment={"A": "a"}).result()))
    assert own.env["env_vars"] == {"A": "ax", "B": "new"}
    assert own.env["worker_process_setup_hook"] == "os.getpid"
    result = place.worker(own.payload(), PATHS, environment={"A": "ax"}).result()
    assert result[0].startswith(str(place.cache))


def test_a_child_s_own_environment_takes_the_place_of_its_parent_s(place: Place) -> None:
    """The sender's sys.path and variables come to its workers; what it had by its own environment must not."""
    one, two = (
        place.folder("one", {"x.py": "where = 1", "y.py": ""}),
        place.folder("two", {"x.py": "where = 2"}),
    )
    code = (
        "import base64, os, pickle\n"
        "from distpool.runtime_envs import adopted, prepare\n"
        f"own = prepare({{'working_dir': {str(two)!r}}}, {str(place.base)!r}, adopted())\n"
        "blob = base64.b64encode(pickle.dumps(own.payload())).decode()\n"
        "result = [blob, sys.path, os.environ['PYTHONPATH'], os.getcwd()]"
    )
    blob, path, pythonpath, cwd = place.worker({"working_dir": str(one)}, code).result()
    code = "import os, x, importlib.util as u; result = [x.where, u.find_spec('y') is None, os.environ['PYTHONPATH']]"
    worker = place.worker(
        pickle.loads(base64.b64decode(blob)),
        code,
        before=f"import os; sys.path[:] = {path!r}; os.environ['PYTHONPATH'] = {pythonpath!r}; os.chdir({cwd!r})",
    )
    where, is_gone, after = worker.result()
    assert (where, is_gone) == (2, True)
    assert cwd in pythonpath
    assert cwd not in after.split(":")


def test_something_packed_elsewhere_is_no_path(place: Place) -> None:
    with pytest.raises(ValueError, match="was packed by another program; give the path"):
        place.prepare({"working_dir": "packed://00"})


# ------------------------------------------------------------------------------------------ hook


def hook() -> None:
    os.environ["HOOKED"] = "yes"


def failing_hook() -> None:
    raise RuntimeError("no model there")


def test_a_hook_is_called_behind_all_else(place: Place) -> None:
    folder = place.folder(
        "proj", {"mine.py": "import os\ndef start():\n    os.environ['HOOKED'] = os.environ['A']"}
    )
    env = {"working_dir": str(folder), "worker_process_setup_hook": "mine.start", "env_vars": {"A": "1"}}
    assert place.worker(env, "import os; result = os.environ['HOOKED']").result() == "1"
    code = "import os; result = os.environ['HOOKED']"
    assert place.worker({"worker_process_setup_hook": hook}, code).result() == "yes"


def test_what_a_hook_changes_tasks_see(place: Place) -> None:
    """If it is pickled by who pickles them."""
    made = types.ModuleType("made")
    exec("STATE = []\ndef hook():\n    STATE.append(1)\ndef task():\n    return STATE", vars(made))
    exporter = Exporter(snapshot=False)
    payload = place.prepare({"worker_process_setup_hook": made.hook}).payload(exporter.dumps)
    code = f"from distpool.scheduler.serialize import loads; result = loads({exporter.dumps(made.task)!r})()"
    assert place.worker(payload, code).result() == [1]


def test_a_hook_may_come_from_what_only_its_environment_has(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.folder(
        "proj", {"only_there.py": "import os\ndef start():\n    os.environ['HOOKED'] = 'yes'"}
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import only_there  # type: ignore[import-not-found]

    env = place.prepare({"working_dir": str(folder), "worker_process_setup_hook": only_there.start}).payload()
    del sys.modules["only_there"]
    code = "import os; from distpool.runtime_envs import adopted\n"
    code += "result = [os.environ['HOOKED'], adopted()['worker_process_setup_hook'].__module__]"
    assert place.worker(env, code).result() == ["yes", "only_there"]


def test_a_hook_that_fails_or_is_not_there(place: Place) -> None:
    text = place.worker({"worker_process_setup_hook": failing_hook}).error()
    assert "worker_process_setup_hook raised RuntimeError: no model there" in text
    assert "in failing_hook" in text
    assert "ModuleNotFoundError" in place.worker({"worker_process_setup_hook": "nothing.here"}).error()
    assert "has no attribute 'nothing'" in place.worker({"worker_process_setup_hook": "os.nothing"}).error()


# ------------------------------------------------------------------------------ nowhere to write


@pytest.fixture
def own_mounts() -> tuple[str, ...]:
    """A command in front of another, which then may mount things that nobody else sees."""
    command = ("unshare", "--user", "--map-root-user", "--mount")
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    return command


def mounted(own_mounts: tuple[str, ...], cache: Path, options: str) -> tuple[str, ...]:
    cache.mkdir(mode=0o700)
    return (*own_mounts, "sh", "-c", f'mount -t tmpfs -o {options} none {cache} && exec "$@"', "sh")


def test_a_full_cache(place: Place, own_mounts: tuple[str, ...]) -> None:
    folder = place.folder("proj", {"big": "x" * 1_000_000})
    prefix = mounted(own_mounts, place.cache, "size=400k,mode=0700")
    text = place.worker({"working_dir": str(folder)}, prefix=prefix).error()
    assert "there is no room in " in text
    assert "No space left on device" in text
    assert "set DISTPOOL_CACHE_DIR to a folder on a disk with room" in text


def test_a_read_only_cache(place: Place, own_mounts: tuple[str, ...]) -> None:
    prefix = mounted(own_mounts, place.cache, "ro,mode=0700")
    text = place.worker({"working_dir": str(place.folder("proj", {"a": "1"}))}, prefix=prefix).error()
    assert "cannot write to " in text
    assert "Read-only file system" in text
    assert "set DISTPOOL_CACHE_DIR to" in text


def test_a_cache_that_cannot_be_made(place: Place) -> None:
    env = {"working_dir": str(place.folder("proj", {"a": "1"}))}
    (place.root / "file").write_text("")
    text = place.worker(env, environment={"DISTPOOL_CACHE_DIR": str(place.root / "file" / "cache")}).error()
    assert "cannot write to " in text
    assert "set DISTPOOL_CACHE_DIR to" in text


def test_a_cache_of_others(place: Place) -> None:
    place.cache.mkdir()
    place.cache.chmod(0o777)
    text = place.worker({"working_dir": str(place.folder("proj", {"a": "1"}))}).error()
    assert "others may write to " in text
    assert "chmod go-w" in text


def test_a_damaged_archive(place: Place) -> None:
    payload = place.prepare({"working_dir": str(place.folder("proj", {"a": "1" * 1000}))}).payload()
    path = Path(payload.archives[0].path)
    path.write_bytes(path.read_bytes().replace(b"1" * 500, b"2" * 500, 1))
    assert "is damaged: Bad CRC-32" in place.worker(payload).error()
    assert os.listdir(place.cache) == [f"work-session-{payload.archives[0].digest}.lock"]


def test_importing_costs_little() -> None:
    code = (
        "import sys, distpool.runtime_envs\n"
        "print(*(name for name in ('zmq', 'asyncio', 'cloudpickle') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"
