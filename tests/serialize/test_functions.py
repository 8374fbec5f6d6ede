"""Functions of ``__main__`` and of modules that the worker cannot import: rebuilt over one namespace per module."""

from __future__ import annotations

import functools
import os.path
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from distpool.scheduler.serialize import Exporter

MODULE_STATE = ["as imported"]


def importable(x: int) -> int:
    return x + 1


def test_an_importable_function_goes_by_reference(worker: Any) -> None:
    number, blob, _ = Exporter().function(importable)
    assert number > 0
    assert b"importable" in blob
    assert len(blob) < 120
    assert worker.call(Exporter(), importable, 1) == 2


def test_lambdas_and_closures(worker: Any, main: Any) -> None:
    module = main("""
        def adder(n):
            def add(x, /, y=1, *, z=2):
                "docs"
                return x + y + z + n
            return add
        plus = adder(10)
        double = lambda x: 2 * x
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.plus, 1) == 14
    assert worker.call(exporter, module.double, 21) == 42
    assert worker.call(exporter, lambda f: (f(1), f.__doc__, f.__qualname__), module.plus) == (
        14,
        "docs",
        "adder.<locals>.add",
    )


def test_an_initializers_global_is_seen_by_tasks_pickled_apart(worker: Any, main: Any) -> None:
    module = main("""
        connection = None
        def initialize(value):
            global connection, undefined_here
            connection = undefined_here = value
        def task():
            return connection, undefined_here
        def other_task():
            return connection
    """)
    exporter = Exporter()
    initialize = exporter.function(module.initialize)[1]
    task = exporter.function(module.task)[1]
    other = exporter.function(module.other_task)[1]
    assert worker.call_blobs(initialize, exporter.dumps(("open",))) is None
    assert worker.call_blobs(task, exporter.dumps(())) == ("open", "open")
    assert worker.call_blobs(other, exporter.dumps(())) == "open"
    # and sent again, in a fresh pickle, it still does not undo what the initializer did
    assert worker.call(exporter, lambda: module.__name__ and task and None) is None
    assert worker.call_blobs(task, exporter.dumps(())) == ("open", "open")


def test_a_global_set_by_other_means_in_the_worker_is_left_alone(worker: Any, main: Any) -> None:
    module = main("""
        value = "the driver's"
        def initialize():
            globals()["value"] = "the worker's"
        def task():
            return value
    """)
    exporter = Exporter()
    worker.call(exporter, module.initialize)
    assert worker.call(exporter, module.task) == "the worker's"


def test_tasks_share_state_in_globals(worker: Any, main: Any) -> None:
    module = main("""
        seen = []
        def see(x):
            seen.append(x)
            return len(seen)
        def all_seen():
            return seen
    """)
    exporter = Exporter()
    assert [worker.call(exporter, module.see, n) for n in range(3)] == [1, 2, 3]
    assert worker.call(exporter, module.all_seen) == [0, 1, 2]
    assert module.seen == []


def test_snapshot_means_what_was_set_before(worker: Any, main: Any) -> None:
    module = main("""
        setting = "before"
        def read():
            return setting
        def read_late():
            return late
    """)
    exporter = Exporter(snapshot=True)
    module.setting = "after"
    module.late = "defined later"
    assert worker.call(exporter, module.read) == "before"
    assert worker.call(exporter, module.read_late) == "defined later"
    assert worker.call(Exporter(snapshot=True), module.read) == "after"


def test_without_a_snapshot_a_rebound_global_is_seen(worker: Any, main: Any) -> None:
    module = main("""
        setting = 1
        def helper():
            return setting
        def read():
            return helper()
    """)
    exporter = Exporter(snapshot=False)
    first = exporter.function(module.read)
    assert exporter.function(module.read) is first
    assert worker.call(exporter, module.read) == 1
    module.setting = 2
    second = exporter.function(module.read)
    assert second[0] != first[0]
    assert worker.call(exporter, module.read) == 2
    exec("def helper(): return -setting", module.__dict__)
    assert worker.call(exporter, module.read) == -2
    module.__dict__["abs"] = lambda x: x  # a name that was nothing of this module's before
    exec("def size(): return abs(setting)", module.__dict__)
    assert worker.call(exporter, module.size) == 2


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_missing_global_that_appears_makes_a_cached_function_stale(
    worker: Any, main: Any, snapshot: bool
) -> None:
    module = main("def read(): return later")
    exporter = Exporter(snapshot)
    with pytest.raises(NameError, match="later"):
        worker.call(exporter, module.read)
    module.later = 5
    assert worker.call(exporter, module.read) == 5


def test_a_rebound_closure_variable_makes_a_cached_function_stale(worker: Any, main: Any) -> None:
    exporter = Exporter()
    count = 1

    def read() -> int:
        return count

    first = exporter.function(read)
    assert exporter.function(read) is first
    count = 2
    assert worker.call(exporter, read) == 2


def test_recursion_alone_and_mutual(worker: Any, main: Any) -> None:
    module = main("""
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        def local(n):
            def go(n):
                return 0 if n == 0 else 1 + go(n - 1)
            return go
        go = local(0)
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.factorial, 10) == 3628800
    assert worker.call(exporter, module.even, 10) is True
    assert worker.call(exporter, module.odd, 10) is False
    assert worker.call(exporter, module.go, 7) == 7


def test_a_redefined_recursive_function_calls_itself_not_its_predecessor(worker: Any, main: Any) -> None:
    module = main("def f(n): return 'old'")
    exporter = Exporter(snapshot=True)
    assert worker.call(exporter, module.f, 3) == "old"
    exec("def f(n): return 'new' if n == 0 else f(n - 1)", module.__dict__)
    assert worker.call(exporter, module.f, 3) == "new"


def test_functions_that_share_a_cell_share_it_there(worker: Any, main: Any) -> None:
    module = main("""
        def make():
            n = 0
            def up():
                nonlocal n
                n += 1
            def get():
                return n
            return up, get
        up, get = make()
        def task_up():
            up()
        def task_get():
            return get()
    """)
    exporter = Exporter()
    worker.call(exporter, module.task_up)
    worker.call(exporter, module.task_up)
    assert worker.call(exporter, module.task_get) == 2


def test_closures_in_one_pickle_share_their_cell(worker: Any, main: Any) -> None:
    main("")
    n = 0

    def up() -> None:
        nonlocal n
        n += 1

    def get() -> int:
        return n

    def both(first: Any, second: Any) -> Any:
        first()
        return second()

    assert worker.call(Exporter(), both, up, get) == 1


def test_submodules_reached_through_a_package(worker: Any, main: Any) -> None:
    module = main("""
        import xml.dom.minidom
        def parse():
            return xml.dom.minidom.parseString("<a/>").documentElement.tagName
    """)
    assert worker.call(Exporter(), module.parse) == "a"


def test_class_bodies_read_globals_too(worker: Any, main: Any) -> None:
    module = main("""
        SIZE = 3
        def task():
            class Local:
                size = SIZE
            return Local.size
    """)
    assert worker.call(Exporter(), module.task) == 3


def test_decorated_cached_partial_and_bound(worker: Any, main: Any) -> None:
    module = main("""
        import functools
        def deco(f):
            @functools.wraps(f)
            def wrapper(*args):
                return ["deco", f(*args)]
            wrapper.tag = "t"
            return wrapper
        @deco
        def decorated(x):
            return x if x == 0 else decorated(x - 1)
        @functools.lru_cache(maxsize=5)
        def cached(n):
            return n if n < 2 else cached(n - 1) + cached(n - 2)
        @functools.cache
        def cached_all(n):
            return -n
        @functools.singledispatch
        def show(x):
            return "any"
        @show.register
        def _(x: int):
            return "int"
        class Account:
            def __init__(self, n): self.n = n
            def add(self, m): return self.n + m
            @classmethod
            def make(cls, n): return cls(n)
            @staticmethod
            def zero(): return 0
        part = functools.partial(decorated, 0)
        bound = Account(3).add
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.decorated, 1) == ["deco", ["deco", 0]]
    assert worker.call(exporter, module.cached, 20) == 6765
    assert worker.call(exporter, lambda f: (f(3), f.cache_parameters()["maxsize"]), module.cached) == (2, 5)
    assert worker.call(exporter, module.cached_all, 1) == -1
    assert worker.call(exporter, module.show, 1) == "int"
    assert worker.call(exporter, module.part) == ["deco", 0]
    assert worker.call(exporter, module.bound, 4) == 7
    assert worker.call(exporter, module.Account.zero) == 0
    assert worker.call(exporter, module.Account.add, module.Account(1), 1) == 2
    made = worker.call(exporter, module.Account.make, 9)
    assert type(made) is module.Account
    assert made.n == 9


def test_generators_coroutines_and_annotations(worker: Any, main: Any) -> None:
    module = main("""
        import asyncio
        def numbers(n: int) -> "list[int]":
            yield from range(n)
        def collect(n):
            return list(numbers(n))
        async def answer():
            await asyncio.sleep(0)
            return 42
        def run():
            return asyncio.run(answer())
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.collect, 3) == [0, 1, 2]
    assert worker.call(exporter, module.run) == 42
    assert worker.call(exporter, lambda f: f.__annotations__, module.numbers) == {
        "n": int,
        "return": "list[int]",
    }


def test_a_nested_function_of_an_importable_module_uses_that_module(worker: Any) -> None:
    def read() -> list[str]:
        return MODULE_STATE

    MODULE_STATE.append("changed in the driver")
    try:
        # As with any importable module, its state in the driver does not travel.
        assert worker.call(Exporter(), read) == ["as imported"]
    finally:
        MODULE_STATE.pop()


def test_a_module_made_by_hand(worker: Any) -> None:
    module = types.ModuleType("made_by_hand")
    sys.modules["made_by_hand"] = module
    try:
        exec("x = 1\ndef f(): return x, g()\ndef g(): return __name__\nclass C: pass", module.__dict__)
        exporter = Exporter()
        assert worker.call(exporter, module.f) == (1, "made_by_hand")
        assert worker.call(exporter, lambda: sys.modules["made_by_hand"].__name__) == "made_by_hand"
        assert type(worker.call(exporter, lambda cls: cls(), module.C)) is module.C
        assert worker.call(exporter, lambda m: (m.x, m.f()), module) == (1, (1, "made_by_hand"))
    finally:
        del sys.modules["made_by_hand"]


def test_two_modules_of_equal_name(worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    for place in ("one", "two"):
        directory = tmp_path / place
        directory.mkdir()
        (directory / "twin_module.py").write_text(
            f"where = {place!r}\nclass Thing: pass\ndef say(): return where, helper()\ndef helper(): return where\n"
        )
        monkeypatch.syspath_prepend(str(directory))
        monkeypatch.delitem(sys.modules, "twin_module", raising=False)
        loaded.append(__import__("twin_module"))
        worker.start()
    exporter = Exporter()
    first, second = loaded
    assert worker.call(exporter, first.say) == ("one", "one")
    assert worker.call(exporter, second.say) == ("two", "two")
    assert type(worker.call(exporter, lambda t: t, first.Thing())) is first.Thing
    assert type(worker.call(exporter, lambda t: t, second.Thing())) is second.Thing
    # the name in sys.modules belongs to "one" again, while its path now leads to "two"
    monkeypatch.setitem(sys.modules, "twin_module", first)
    assert worker.call(Exporter(), first.say) == ("one", "one")


def test_cache_by_identity_is_bounded_and_keeps_functions_alive() -> None:
    exporter = Exporter()
    numbers = {exporter.function(eval(f"lambda: {n}"))[0] for n in range(1_500)}
    assert len(numbers) == 1_500
    assert len(exporter._functions) <= 1_000


@pytest.mark.parametrize("make", [lambda: functools.partial(int, "7"), lambda: [7].copy, lambda: _Callable()])
def test_callables_that_may_have_changed_are_pickled_anew(make: Any) -> None:
    exporter = Exporter()
    function = make()
    first, second = exporter.function(function), exporter.function(function)
    assert first[0] < 0
    assert second[0] < 0
    assert first[0] != second[0]


class _Callable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> int:
        return 7


@pytest.mark.parametrize("function", [len, os.path.join, int, dict.fromkeys, importable])
def test_callables_with_a_fixed_meaning_are_pickled_once(function: Any) -> None:
    exporter = Exporter()
    first = exporter.function(function)
    assert first[0] > 0
    assert exporter.function(function) is first


def test_a_tools_code_finds_the_tools_module(worker: Any) -> None:
    """pytest rewrites asserts of test modules, to code over names that importing such a module does not bring."""

    def check(x: int) -> int:
        assert x == 2, "no two"
        return x

    assert any("@" in name for name in check.__code__.co_names), "pytest has rewritten it"
    assert worker.call(Exporter(), check, 2) == 2

    def outcome(f: Any) -> str:
        try:
            f(1)
        except Exception as error:
            return type(error).__name__
        return "none"

    assert worker.call(Exporter(), outcome, check) == "AssertionError"
