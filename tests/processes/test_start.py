"""Starting: from whatever parent, in whatever place, with whatever is there already."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.processes.scene import count, driver, run, session_directories

THREADS = """
import threading
import distpool
from distpool.scheduler import client

stop = threading.Event()
lock = threading.Lock()

def busy():
    data = []
    while not stop.is_set():
        with lock:
            data.append(bytearray(1000))
            print("", end="", flush=True)  # the locks of streams are the ones that forked children inherit
            if len(data) > 100:
                data.clear()

threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
for turn in range({count}):
    with distpool.Pool(2) as pool:
        assert pool.map(abs, range(10)) == list(range(10))
    if turn % 2:
        client.shutdown()
stop.set()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.timeout(3600)
def test_a_parent_with_live_threads() -> None:
    assert run(THREADS.format(count=count(6, 1000)), within_s=count(40, 3000)).strip() == "done"


FORKED = """
import warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # of Python 3.12 and newer
import os, sys
import multiprocessing
import distpool
from tests.processes import bodies
from tests.processes.scene import check_core

def in_a_child(queue):
    with distpool.Pool(2) as mine:
        queue.put(mine.map(bodies.square, range(10)))

with distpool.Pool(2) as pool:
    assert pool.map(bodies.square, range(10)) == [n * n for n in range(10)]
    running = pool.map_async(bodies.slow_square, range(300), chunksize=1)
    for ending in ("hard", "soft", "own pool"):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            if ending == "hard":
                os._exit(0)
            if ending == "own pool":
                with distpool.Pool(2) as mine:
                    assert mine.map(bodies.square, range(10)) == [n * n for n in range(10)]
                print("a pool of the child's own", flush=True)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert pool.apply(bodies.square, (3,)) == 9
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=in_a_child, args=(queue,))
    process.start()
    assert queue.get() == [n * n for n in range(10)]
    process.join()
    assert process.exitcode == 0
    assert running.get(30) == [n * n for n in range(300)]
    assert pool.map(bodies.square, range(10)) == [n * n for n in range(10)]
    check_core()
print("done")
"""


def test_a_forked_child_does_not_disturb_its_parents_session() -> None:
    assert run(FORKED) == "a pool of the child's own\ndone\n"


MEETING = """
import sys, tempfile
import distpool
from tests.processes import bodies

n = 4
with distpool.Pool(n) as pool:
    for turn in range(3):
        pool.map(bodies.square, range({warm}))
        [result.get() for result in [pool.apply_async(bodies.square, (k,)) for k in range({warm} // 10)]]
        with tempfile.TemporaryDirectory() as folder:
            calls = [pool.apply_async(bodies.meet, (folder, k, n)) for k in range(n)]
            assert [call.get(30) for call in calls] == [True] * n
        with tempfile.TemporaryDirectory() as folder:
            assert pool.starmap(bodies.meet, [(folder, k, n) for k in range(n)], chunksize=1) == [True] * n
print("done")
"""


def test_n_tasks_meet_on_n_workers_after_a_warm_up() -> None:
    assert run(MEETING.format(warm=count(2000, 10_000))) == "done\n"


LONG = """
import time
import distpool
from tests.processes import bodies

with distpool.Pool(2) as pool:
    pool.map(bodies.square, range(2000), chunksize=1)
    long = pool.apply_async(time.sleep, ({length},))
    began = time.monotonic()
    short = [pool.apply_async(bodies.square, (n,)) for n in range(1000)]
    assert [result.get({length}) for result in short] == [n * n for n in range(1000)]
    took = time.monotonic() - began
    assert took < {length} * 0.6, f"short tasks waited behind the long one for {{took}} s"
    assert not long.ready()
    long.get(30)
print("done")
"""


def test_short_tasks_do_not_wait_behind_a_long_one() -> None:
    assert run(LONG.format(length=count(1, 10))) == "done\n"


GLOBALS = """
import distpool

place = "before"

def get_place():
    return place

def set_place(value):
    global place
    place = value

if __name__ == "__main__":
    place = "set before Pool()"
    with distpool.Pool(2) as pool:
        assert pool.apply(get_place) == "set before Pool()"
    with distpool.Pool(2, initializer=set_place, initargs=("by the initializer",)) as pool:
        assert pool.map(lambda _: get_place(), range(20)) == ["by the initializer"] * 20
    pool = distpool.Pool(2)
    place = "set after Pool()"
    found = {pool.apply(get_place) for _ in range(10)}
    assert found == {"set before Pool()"}, found
    pool.close()
    pool.join()
    print("done")
"""


def test_globals_are_seen_as_with_a_fork() -> None:
    assert run(GLOBALS) == "done\n"


def test_two_modules_of_equal_name(tmp_path: Path) -> None:
    """Two programs' own ``helpers``, at one time: each session imports its own."""
    drivers = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helpers.py").write_text(f"def who(_):\n    return {name!r}\n")
        code = (
            f"import sys; sys.path.insert(0, {str(folder)!r})\n"
            "import distpool, helpers\n"
            "with distpool.Pool(2) as pool:\n"
            "    print(set(pool.map(helpers.who, range(20))), flush=True)\n"
            "    print(set(pool.map(helpers.who, range(20))), flush=True)\n"
        )
        drivers.append((name, driver(code)))
    for name, context in drivers:
        with context as it:
            assert it.finish() == f"{{{name!r}}}\n" * 2
            it.expect_nothing_left()


def test_several_sessions_at_once_do_not_meet(own_tmpdir: str) -> None:
    code = (
        "import sys, distpool\nfrom tests.processes import bodies\nwith distpool.Pool(2) as pool:\n"
        "    for _ in range(5):\n"
        "        assert pool.map(bodies.square, range(200), chunksize=1) == [n * n for n in range(200)]\n"
        "    print('done')"
    )
    contexts = [driver(code) for _ in range(4)]
    drivers = [context.__enter__() for context in contexts]
    try:
        for it in drivers:
            assert it.finish() == "done\n"
            it.expect_nothing_left()
    finally:
        for context in contexts:
            context.__exit__(None, None, None)


def test_a_temp_folder_with_a_long_name() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        long = os.path.join(folder, "x" * 90, "y" * 110)
        os.makedirs(long)
        code = "import distpool\nwith distpool.Pool(2) as pool: print(pool.map(abs, [-1, -2]))"
        assert run(code, env={"TMPDIR": long}) == "[1, 2]\n"
        assert os.listdir(long) == []


@pytest.mark.parametrize("parent", ["a file", "missing", "read-only"])
def test_a_temp_folder_that_is_none(parent: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if parent == "a file":
        place.touch()
    elif parent == "read-only":
        if os.getuid() == 0:
            pytest.skip("root may write anywhere")
        place.mkdir(0o500)
    code = "import distpool\nwith distpool.Pool(2) as pool: print(pool.map(abs, [-1, -2]))"
    assert run(code, env={"TMPDIR": str(place)}) == "[1, 2]\n"


OTHER_USER = """
import os, sys
uid = int(sys.argv[1])
if uid:
    import site
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
    os.environ["HOME"] = "/nonexistent"
import distpool
from distpool.scheduler import client
with distpool.Pool(2) as pool:
    assert set(pool.map(lambda _: os.getuid(), range(20))) == {uid}
    folder = client.session().cluster._directory
    print(folder, flush=True)
    sys.stdin.close()
    while not os.path.exists(sys.argv[2]):
        assert pool.map(abs, range(100)) == list(range(100))
print("done")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_two_users_at_one_time(tmp_path: Path) -> None:
    if not _readable_by_others(sys.executable):
        pytest.skip("another user may not even read this interpreter")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o1777)
        stop = Path(folder, "stop")
        with (
            driver(OTHER_USER, "0", str(stop), env={"TMPDIR": folder}) as mine,
            driver(OTHER_USER, "65534", str(stop), env={"TMPDIR": folder}) as theirs,
        ):
            places = [it.read_until("\n").strip() for it in (mine, theirs)]
            assert [os.stat(place).st_uid for place in places] == [0, 65534]
            assert [os.stat(place).st_mode & 0o777 for place in places] == [0o700, 0o700]
            # A third session's sweep, by root, who could remove anything, leaves both alone.
            code = "import distpool\nwith distpool.Pool(1) as pool: print(pool.apply(abs, (-1,)))"
            assert run(code, env={"TMPDIR": folder}) == "1\n"
            assert all(os.path.exists(place) for place in places)
            stop.touch()
            for it in (mine, theirs):
                assert it.finish().endswith("done\n")
                it.expect_nothing_left()
        assert session_directories(folder) == []


def _readable_by_others(path: str) -> bool:
    real = Path(os.path.realpath(path))
    return all(parent.stat().st_mode & 0o001 for parent in real.parents)
