"""Reducers of others, out-of-band buffers, plain values, nested owners, and what the package imports."""

from __future__ import annotations

import copyreg
import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import subprocess
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import pytest

from distpool.scheduler.serialize import PLAIN_TYPES, Exporter, is_plain, loads, process_token
from tests.serialize.other_process import ROOT


class Registered:
    def __init__(self, n: int) -> None:
        self.n = n


def test_copyreg_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Registered, lambda obj: (Registered, (obj.n + 1,)))  # type: ignore[arg-type]
    assert loads(Exporter().dumps(Registered(1))).n == 2


def test_a_module_that_has_a_class_of_its_own(
    worker: Any, main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of lazy imports, and `multiprocessing` under ``distpool run``: by name where another can import it."""
    (tmp_path / "with_a_class.py").write_text(
        "import sys, threading\n"
        "class Module(type(sys)):\n"
        "    lock = threading.Lock()  # no pickler takes it\n"
        "    @property\n"
        "    def one(self): return 1\n"
        "sys.modules[__name__].__class__ = Module\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = main("""
        import sys
        from types import ModuleType

        class Lazy(ModuleType):
            def __getattr__(self, name):
                if name.startswith("_"):
                    raise AttributeError(name)
                return name.upper()

        made = Lazy("made")
        made.given = 2
        made.__file__ = __file__

        def ask(module):
            return module.one, made.given, made.other

        def ask_main():
            return sys.modules["__main__"].something
    """)
    monkeypatch.delitem(sys.modules, "with_a_class", raising=False)
    worker.call(Exporter(), lambda path: __import__("sys").path.append(path), str(tmp_path))
    assert worker.call(Exporter(), module.ask, __import__("with_a_class")) == (1, 2, "OTHER")
    sys.modules["__main__"].__class__ = module.Lazy
    assert worker.call(Exporter(), lambda main: main.something, sys.modules["__main__"]) == "SOMETHING"


def test_forking_picklers_reducers_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.reduction import ForkingPickler

    monkeypatch.setitem(ForkingPickler._extra_reducers, Registered, lambda obj: (Registered, (obj.n * 10,)))
    assert loads(Exporter().dumps([Registered(2)]))[0].n == 20
    numpy = pytest.importorskip("numpy")
    monkeypatch.setitem(ForkingPickler._extra_reducers, numpy.ndarray, lambda array: (len, (array.tolist(),)))
    assert loads(Exporter().dumps([numpy.arange(7)])) == [7]


def test_a_socket_and_a_connection_arrive_open(worker: Any) -> None:
    ours, theirs = socket.socketpair()
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def task(sock: Any, connection: Any) -> int:
        with sock, connection:
            connection.send("by connection")
            return int(sock.send(b"by socket"))

    with ours, theirs, receiver, sender:
        worker.start()
        assert worker.call(Exporter(), task, theirs, sender) == 9
        assert ours.recv(20) == b"by socket"
        assert receiver.recv() == "by connection"
    from multiprocessing import resource_sharer

    resource_sharer.stop(timeout=5)


class BigBuffer(bytearray):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return BigBuffer, (pickle.PickleBuffer(self),)


@pytest.mark.parametrize("in_main", [False, True])
def test_buffers_travel_out_of_band(main: Any, in_main: bool) -> None:
    exporter = Exporter()
    extra = main("class C: pass").C() if in_main else None
    big = BigBuffer(b"x" * 100_000)
    buffers: list[pickle.PickleBuffer] = []
    blob = exporter.dumps((big, extra), buffers.append)
    assert len(buffers) == 1
    assert len(blob) < 2_000
    assert loads(blob, buffers)[0] == big
    assert loads(memoryview(blob), [bytes(buffers[0])])[0] == big


def test_large_and_small_bytes_survive() -> None:
    exporter = Exporter()
    for size in (0, 10, 70_000, 1_000_000):
        value = [b"a" * size, "b" * size, bytearray(size)]
        assert loads(exporter.dumps(value)) == value


@pytest.mark.parametrize(
    "value", [0, -1, 2**63 - 1, -(2**63), 1.5, float("inf"), "", "äöü\0", True, False, None]
)
def test_plain(value: Any) -> None:
    assert is_plain(value)
    assert type(value) in PLAIN_TYPES


class Number(int):
    pass


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", b"", (), [], Number(1), 1j, object])
def test_not_plain(value: Any) -> None:
    assert not is_plain(value)


def test_odds_and_ends() -> None:
    exporter = Exporter()
    key = Registered(1)
    table = weakref.WeakKeyDictionary({key: 1})
    table_there, key_there = loads(exporter.dumps([table, key]))
    assert table_there[key_there] == 1
    assert loads(exporter.dumps(memoryview(b"abc"))) == b"abc"
    assert loads(exporter.dumps(types.MappingProxyType({"a": 1}))) == {"a": 1}
    assert list(loads(exporter.dumps({"a": 1}.items()))) == [("a", 1)]
    assert list(loads(exporter.dumps({"a": 1}.keys()))) == ["a"]
    assert list(loads(exporter.dumps({"a": 1}.values()))) == [1]
    for one in (
        type(None),
        type(...),
        types.FunctionType,
        types.ModuleType,
        len,
        str.upper,
        [].append,
        os.path,
        sys,
    ):
        back = loads(exporter.dumps(one))
        assert back is one or back == one or callable(back)


def test_an_overridden_bound_method_stays_the_base_classes(worker: Any, main: Any) -> None:
    module = main("""
        class A:
            def hello(self): return "A"
        class B(A):
            def hello(self): return "B"
            def above(self): return super().hello
        above = B().above()
    """)
    assert module.above() == "A"
    assert worker.call(Exporter(), module.above) == "A"


def test_pickling_inside_of_pickling_and_in_threads() -> None:
    exporter = Exporter()

    class Nesting:
        def __reduce__(self) -> Any:
            return bytes, (exporter.dumps({"inner": [1, Registered(2)]}),)

    assert loads(loads(exporter.dumps([Nesting()]))[0])["inner"][0] == 1

    failures: list[BaseException] = []
    names = [f"n{n}" for n in range(50)]

    def many() -> None:
        try:
            for name in names:
                cls = type(name, (), {"me": lambda self: type(self).__name__})
                assert loads(exporter.dumps([cls()]))[0].me() == name
                exporter.function(lambda name=name: name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_worker_that_submits_hands_things_on(worker: Any, main: Any) -> None:
    """driver -> worker -> (as an owner) second worker -> back: one class, and globals keep their version."""
    module = main("""
        from distpool.scheduler.serialize import Exporter, process_token
        counter = [0]
        class Foo:
            def count(self):
                counter.append(1)
                return len(counter)
        def inner(foo):
            return foo
        def outer(foo):
            exporter = Exporter(snapshot=False)
            return exporter.function(inner)[1], exporter.dumps((foo,)), process_token()
    """)
    exporter = Exporter()
    foo = module.Foo()
    function, args, token = worker.call(exporter, module.outer, foo)
    assert token != process_token()
    # Here the driver plays the second worker: what was its own is its own again.
    assert loads(function) is module.inner
    (back,) = loads(args)
    assert type(back) is module.Foo
    assert module.counter == [0]
    # and a third process, which knows the driver's things, takes the nested ones for the same
    assert worker.call(exporter, module.Foo.count, foo) == 2
    assert type(worker.call_blobs(function, args)) is module.Foo
    assert worker.call(exporter, module.Foo.count, foo) == 3


def test_importing_it_is_cheap_and_pulls_in_nothing_heavy() -> None:
    program = (
        "import sys; before = set(sys.modules); import distpool.scheduler.serialize;"
        "print(*sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(answer.stdout.split())
    heavy = {"zmq", "threading", "cloudpickle", "multiprocessing", "inspect", "dataclasses", "asyncio", "logging",
             "traceback", "socket", "dis", "subprocess"}  # fmt: skip
    assert not loaded & heavy
