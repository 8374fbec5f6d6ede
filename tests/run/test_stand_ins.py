"""Which names stand on distpool after `install`, and which keep what the standard library gave them."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.run.programs import ROOT, environment, on_distpool, plain, start

# Every way in which programs reach the classes; `import` before and after matters, so each is a program of its own.
WAYS_TO_A_POOL = {
    "from the package": "from multiprocessing import Pool as make",
    "on the package": "import multiprocessing; make = multiprocessing.Pool",
    "by a star": "from multiprocessing import *; make = Pool",
    "from the module": "from multiprocessing.pool import Pool as make",
    "on the module": "import multiprocessing.pool; make = multiprocessing.pool.Pool",
    "module as a name": "from multiprocessing import pool; make = pool.Pool",
    "of a context": "import multiprocessing; make = multiprocessing.get_context('fork').Pool",
    "of the default context": "import multiprocessing; make = multiprocessing.get_context().Pool",
    "of a context class": "from multiprocessing.context import SpawnContext; make = SpawnContext().Pool",
    "by getattr": "import multiprocessing.pool; make = getattr(multiprocessing.pool, 'Pool')",
    "by importlib": "import importlib; make = importlib.import_module('multiprocessing.pool').Pool",
    "after the executor": "import concurrent.futures.process; from multiprocessing import Pool as make",
    "subclass": "import multiprocessing.pool\nclass make(multiprocessing.pool.Pool): pass",
}
WAYS_TO_AN_EXECUTOR = {
    "from the package": "from concurrent.futures import ProcessPoolExecutor as make",
    "on the package": "import concurrent.futures; make = concurrent.futures.ProcessPoolExecutor",
    "by a star": "from concurrent.futures import *; make = ProcessPoolExecutor",
    "from the module": "from concurrent.futures.process import ProcessPoolExecutor as make",
    "on the module": "import concurrent.futures.process; make = concurrent.futures.process.ProcessPoolExecutor",
    "after asyncio": "import asyncio; from concurrent.futures import ProcessPoolExecutor as make",
}
MAKE_ONE = """
with make(1) as made:
    print([cls.__module__ for cls in type(made).__mro__ if cls.__module__ not in ("builtins", "__main__")][0])
    print(list(made.map(abs, [-1, -2])))
"""


@pytest.mark.parametrize("way", WAYS_TO_A_POOL)
def test_each_way_to_a_pool_leads_to_distpool(way: str, tmp_path: Path) -> None:
    outcome = on_distpool("-c", WAYS_TO_A_POOL[way] + MAKE_ONE, cwd=tmp_path)
    assert (outcome.out, outcome.err, outcome.status) == ("distpool.pool\n[1, 2]\n", "", 0)


@pytest.mark.parametrize("way", WAYS_TO_AN_EXECUTOR)
def test_each_way_to_an_executor_leads_to_distpool(way: str, tmp_path: Path) -> None:
    outcome = on_distpool("-c", WAYS_TO_AN_EXECUTOR[way] + MAKE_ONE, cwd=tmp_path)
    assert (outcome.out, outcome.err, outcome.status) == ("distpool.futures\n[1, 2]\n", "", 0)


def test_the_same_ways_lead_to_the_standard_library_in_plain_python(tmp_path: Path) -> None:
    """The oracle of the two tests above: they would notice a program that never got to distpool."""
    pool = plain("-c", WAYS_TO_A_POOL["from the package"] + MAKE_ONE, cwd=tmp_path)
    executor = plain("-c", WAYS_TO_AN_EXECUTOR["from the package"] + MAKE_ONE, cwd=tmp_path)
    assert (pool.out, executor.out) == (
        "multiprocessing.pool\n[1, 2]\n",
        "concurrent.futures.process\n[1, 2]\n",
    )


THINGS = {
    "Lock": "()",
    "RLock": "()",
    "Semaphore": "(2)",
    "BoundedSemaphore": "(2)",
    "Condition": "()",
    "Event": "()",
    "Barrier": "(2)",
    "Queue": "(3)",
    "JoinableQueue": "(3)",
    "SimpleQueue": "()",
    "Value": "('i', 3)",
    "Array": "('i', [1, 2])",
    "Manager": "()",
}
HOMES = {"synchronize": list(THINGS)[:7], "queues": list(THINGS)[7:10]}


@pytest.mark.parametrize("name", THINGS)
def test_each_thing_that_multiprocessing_makes_is_distpools(name: str, tmp_path: Path) -> None:
    """By the package, by a context, and (where there is a class) by its module and by a subclass."""
    source = f"""
        import multiprocessing as mp
        if __name__ == "__main__":
            makers = [mp.{name}, mp.get_context("spawn").{name}]
            for module, names in {HOMES!r}.items():
                if {name!r} in names:
                    cls = getattr(__import__("importlib").import_module("multiprocessing." + module), {name!r})
                    makers.append(lambda *args: cls(*args, ctx=mp.get_context()))
                    makers.append(lambda *args: type("Sub", (cls,), {{}})(*args, ctx=mp.get_context()))
            for make in makers:
                made = make{THINGS[name]}
                print({{cls.__module__.partition(".")[0] for cls in type(made).__mro__}} >= {{"distpool"}})
                if hasattr(made, "shutdown"):
                    made.shutdown()
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    ours, pythons = on_distpool(str(script), cwd=tmp_path), plain(str(script), cwd=tmp_path)
    assert (ours.err, pythons.err) == ("", "")
    assert (set(ours.out.split()), set(pythons.out.split())) == ({"True"}, {"False"})
    assert len(ours.out.split()) == len(pythons.out.split()) >= 2


PROGRAMS = {
    "pool in a script without a guard": """
        import multiprocessing
        def square(x): return x * x
        with multiprocessing.Pool(2) as pool:
            print(pool.map(square, range(10)), sorted(pool.imap_unordered(square, range(10))))
            print(pool.apply_async(square, (12,)).get(), pool.starmap(pow, [(2, 3), (3, 2)]))
    """,
    "initializer": """
        from multiprocessing import Pool
        state = None
        def prepare(value):
            global state
            state = value
        def read(_): return state
        if __name__ == "__main__":
            with Pool(2, prepare, ("ready",)) as pool:
                print(pool.map(read, range(4)))
    """,
    "executor": """
        from concurrent.futures import ProcessPoolExecutor, as_completed, wait, Future
        def square(x): return x * x
        with ProcessPoolExecutor(max_workers=2) as executor:
            futures = [executor.submit(square, i) for i in range(5)]
            print([f.result() for f in futures], all(isinstance(f, Future) for f in futures))
            print(sorted(f.result() for f in as_completed(futures)), len(wait(futures).done))
            print(list(executor.map(square, range(5), chunksize=2)))
    """,
    "executor in asyncio": """
        import asyncio
        from concurrent.futures import ProcessPoolExecutor
        async def main():
            with ProcessPoolExecutor(1) as executor:
                loop = asyncio.get_running_loop()
                print(await asyncio.gather(*(loop.run_in_executor(executor, abs, -i) for i in range(3))))
        asyncio.run(main())
    """,
    "error of a task": """
        from multiprocessing import Pool
        def fail(x): raise ValueError(f"no {x}")
        with Pool(1) as pool:
            try:
                pool.map(fail, [1])
            except ValueError as error:
                print(repr(error), type(error.__cause__).__name__)
    """,
    "threads stay threads": """
        from multiprocessing.pool import ThreadPool
        from multiprocessing.dummy import Pool
        from concurrent.futures import ThreadPoolExecutor
        import os
        for make in ThreadPool, Pool, ThreadPoolExecutor:
            with make(2) as made:
                print(type(made).__module__, set(made.map(lambda _: os.getpid() == PID, range(4))))
    """,
    "other names of multiprocessing": """
        import multiprocessing as mp
        def put(queue): queue.put(mp.current_process().name)
        if __name__ == "__main__":
            context = mp.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=put, args=(queue,), name="child")
            process.start()
            print(queue.get(timeout=30), type(process).__module__)
            process.join()
            with mp.Manager() as manager:
                print(manager.list([1]), manager.Lock().acquire(False))
    """,
    "managers": """
        import multiprocessing as mp
        from multiprocessing.managers import BaseManager, BaseProxy, NamespaceProxy
        class Counter:
            count = 0
            def add(self, n): self.count += n; return self.count
        class CounterProxy(BaseProxy):
            _exposed_ = ("add",)
            def add(self, n): return self._callmethod("add", (n,))
        class MyManager(BaseManager): pass
        MyManager.register("Counter", Counter, CounterProxy)
        MyManager.register("Auto", Counter)
        def work(manager_dict, lock, counter):
            with lock:
                manager_dict["n"] = manager_dict.get("n", 0) + counter.add(1)
        if __name__ == "__main__":
            with mp.Manager() as manager, MyManager() as mine:
                shared, lock, counter = manager.dict(), manager.Lock(), mine.Counter()
                processes = [mp.Process(target=work, args=(shared, lock, counter)) for _ in range(3)]
                for process in processes: process.start()
                for process in processes: process.join()
                print(shared.copy(), counter.add(0), mine.Auto().add(5))
                with mp.Pool(2) as pool:
                    pool.starmap(work, [(shared, lock, counter)] * 4)
                print(shared.copy(), counter.add(0))
                space = manager.Namespace(a=1); space.b = [1]; print(space, str(manager.list(range(3))))
            try:
                shared["n"]
            except (OSError, EOFError) as error:
                print("gone")
    """,
    "a mock in the program's own tests": """
        from unittest import mock
        import concurrent.futures, multiprocessing.pool
        with mock.patch("multiprocessing.pool.Pool", "mocked"), mock.patch("multiprocessing.Pool", "too"):
            print(multiprocessing.pool.Pool, multiprocessing.Pool)
        with multiprocessing.pool.Pool(1) as pool:
            print(pool.map(abs, [-1]), callable(multiprocessing.Pool))
        with mock.patch("concurrent.futures.ProcessPoolExecutor") as executor:
            print(concurrent.futures.ProcessPoolExecutor is executor)
        with concurrent.futures.ProcessPoolExecutor(1) as executor:
            print(executor.submit(abs, -1).result())
    """,
    "None in its place": """
        from unittest import mock
        import concurrent.futures
        with mock.patch("concurrent.futures.ProcessPoolExecutor", new=None):
            from concurrent.futures import ProcessPoolExecutor
            print(ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor)
        with concurrent.futures.ProcessPoolExecutor(1) as executor:
            print(executor.submit(abs, -1).result())
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_it_prints_in_plain_python(name: str, tmp_path: Path) -> None:
    source = "import os; PID = os.getpid()\n" + textwrap.dedent(PROGRAMS[name])
    script = tmp_path / "script.py"
    script.write_text(source)
    ours, pythons = on_distpool(str(script), cwd=tmp_path), plain(str(script), cwd=tmp_path)
    assert ours == pythons
    assert (ours.status, ours.err) == (0, "")


def in_a_fresh_python(source: str, cwd: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(source)]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_install_imports_nothing_and_can_be_undone(tmp_path: Path) -> None:
    out = in_a_fresh_python(
        """
        import sys
        import distpool.run as run
        run.install(); run.install()
        print(run.installed(), "multiprocessing" in sys.modules, "concurrent.futures" in sys.modules)
        import multiprocessing.pool, concurrent.futures
        print("distpool.pool" in sys.modules, "distpool.futures" in sys.modules)
        print(multiprocessing.pool.Pool.__module__, multiprocessing.get_context("fork").Pool.__module__)
        print(concurrent.futures.ProcessPoolExecutor.__module__)
        run.uninstall(); run.uninstall()
        print(run.installed(), multiprocessing.pool.Pool.__module__, multiprocessing.Pool.__module__)
        print(multiprocessing.get_context("fork").Pool.__module__, concurrent.futures.ProcessPoolExecutor.__module__)
        print(type(multiprocessing), type(multiprocessing.pool), type(concurrent.futures))
        """,
        tmp_path,
    )
    assert out == (
        "True False False\n"
        "False False\n"
        "distpool.pool distpool.context_makers\n"
        "distpool.futures\n"
        "False multiprocessing.pool multiprocessing.context\n"
        "multiprocessing.context concurrent.futures.process\n"
        "<class 'module'> <class 'module'> <class 'module'>\n"
    )


def test_install_reaches_modules_that_were_imported_before(tmp_path: Path) -> None:
    out = in_a_fresh_python(
        """
        import multiprocessing.pool, concurrent.futures.process
        from multiprocessing.pool import Pool as kept
        import distpool.run
        distpool.run.install()
        print(kept.__module__, multiprocessing.pool.Pool.__module__, multiprocessing.Pool.__func__.__module__)
        print(concurrent.futures.process.ProcessPoolExecutor.__module__)
        distpool.run.uninstall()
        print(multiprocessing.pool.Pool is kept, concurrent.futures.process.ProcessPoolExecutor.__module__)
        """,
        tmp_path,
    )
    assert out == (
        "multiprocessing.pool distpool.pool distpool.context_makers\n"
        "distpool.futures\nTrue concurrent.futures.process\n"
    )


def test_after_a_mock_the_name_stands_on_distpool_again(tmp_path: Path) -> None:
    out = in_a_fresh_python(
        """
        import distpool.run
        distpool.run.install()
        from unittest import mock
        import concurrent.futures, multiprocessing.pool
        with mock.patch("multiprocessing.pool.Pool"), mock.patch("concurrent.futures.ProcessPoolExecutor"):
            print(type(multiprocessing.pool.Pool).__name__, type(concurrent.futures.ProcessPoolExecutor).__name__)
        print(multiprocessing.pool.Pool.__module__, concurrent.futures.ProcessPoolExecutor.__module__)
        built_on_the_original = {"__name__": "joblib.externals"}
        exec("from concurrent.futures import ProcessPoolExecutor as found", built_on_the_original)
        print(built_on_the_original["found"].__module__)
        """,
        tmp_path,
    )
    assert out == "MagicMock MagicMock\ndistpool.pool distpool.futures\nconcurrent.futures.process\n"


def test_it_runs_from_a_checkout_to_which_the_programs_search_path_does_not_lead(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "distpool", tmp_path / "checkout" / "distpool", ignore=shutil.ignore_patterns("__pycache__")
    )
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(textwrap.dedent(PROGRAMS["pool in a script without a guard"]))
    env = environment(PYTHONPATH="")
    ours = start([sys.executable, "-m", "distpool", "run", str(script)], tmp_path / "checkout", env=env)
    assert ours == start([sys.executable, str(script)], tmp_path / "checkout", env=env)
    assert (ours.status, ours.err) == (0, "")


def test_a_users_own_module_of_a_standard_name_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "multiprocessing"
    package.mkdir()
    (package / "__init__.py").write_text("def Pool(): return 'my own'\n")
    (package / "pool.py").write_text("Pool = 'mine too'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing.pool as p, multiprocessing as m; print(m.Pool(), p.Pool, type(p), type(m))"
    )
    assert on_distpool(str(script), cwd=tmp_path) == plain(str(script), cwd=tmp_path)


def test_a_task_may_use_the_packages_that_stand_on_distpool(tmp_path: Path) -> None:
    """A function of the script that names them as its globals: by `import`, not by what is in them."""
    program = """
import multiprocessing, multiprocessing.pool, multiprocessing.managers, concurrent.futures

def inner(number):
    return number + 1

def outer(number):
    with multiprocessing.Pool(1) as pool, concurrent.futures.ProcessPoolExecutor(1) as executor:
        return pool.map(inner, [number]) + list(executor.map(inner, [number]))

def modules():
    return multiprocessing.pool.Pool.__module__, multiprocessing.managers.SyncManager.__module__

with multiprocessing.Pool(1) as pool:
    print(pool.apply(outer, (1,)), pool.apply(modules))
"""
    (tmp_path / "script.py").write_text(program)
    outcome = on_distpool("script.py", cwd=tmp_path)
    assert (outcome.out, outcome.err) == ("[2, 2] ('distpool.pool', 'distpool.managers')\n", "")


def test_an_original_executor_makes_the_locks_that_it_looks_into(tmp_path: Path) -> None:
    """Code of loky keeps the standard library's executor, whose queue counts the units of its semaphore."""
    package = tmp_path / "loky"
    package.mkdir()
    (package / "__init__.py").write_text("from concurrent.futures import ProcessPoolExecutor\n")
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing
            from loky import ProcessPoolExecutor
            if __name__ == "__main__":
                with ProcessPoolExecutor(1) as executor:
                    print(executor.__module__, executor.submit(abs, -1).result(timeout=30))
                print(type(multiprocessing.BoundedSemaphore(1)).__module__)
            """
        )
    )
    done = on_distpool("program.py", cwd=tmp_path)
    assert (done.out, done.err) == ("concurrent.futures.process 1\ndistpool.synchronize\n", "")
