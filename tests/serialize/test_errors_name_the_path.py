"""What cannot be pickled is named by its path, on an exception of the original type."""

from __future__ import annotations

import _thread
import functools
import pickle
import socket
from typing import Any

import pytest

from distpool.scheduler.serialize import Exporter, SerializationError, loads, path_note


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("lock",)


class Stateful:
    def __init__(self, kept: Any, dropped: Any) -> None:
        self.kept, self.dropped = kept, dropped

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept}


class Refuses:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class ListOf(list[Any]):
    pass


def _slotted() -> Slotted:
    made = Slotted()
    made.lock = LOCK
    return made


def _cyclic() -> Holder:
    one, other = Holder(), Holder()
    one.other, other.one = other, one
    other.lock = LOCK
    return one


LOCK = _thread.allocate_lock()
LOCK_TEXT = "cannot pickle '_thread.lock' object"


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((LOCK,), "args[0]"),
        ((1, [2, {"a": LOCK}]), "args[1][1]['a']"),
        pytest.param(({LOCK: 1},), f"args[0].<key {repr(LOCK)[:37]}...>", id="a key"),
        ((Holder(connection=Holder(_lock=LOCK)),), "args[0].connection._lock"),
        ((_slotted(),), "args[0].lock"),
        ((_cyclic(),), "args[0].other.lock"),
        ((Stateful(Holder(x=LOCK), None),), "args[0].kept.x"),
        ((functools.partial(print, 1, end=LOCK),), "args[0].keywords['end']"),
        ((Holder(lock=LOCK).__init__,), "args[0].__self__.lock"),
        ((ValueError("x", LOCK),), "args[0].args[1]"),
        ((ListOf([1, LOCK]),), "args[0][1]"),
        ((lambda lock=LOCK: lock,), "args[0].<defaults>[0]"),
        (((lambda n: lambda: n)(LOCK),), "args[0].<closure>.n"),
    ],
)
def test_arguments(args: tuple[Any, ...], path: str) -> None:
    with pytest.raises(TypeError, match="lock") as caught:
        Exporter().dumps(args)
    assert path_note(caught.value) == f"at {path}: {LOCK_TEXT}"


def test_an_unpicklable_part_that_is_not_sent_is_no_culprit() -> None:
    with pytest.raises(TypeError) as caught:
        Exporter().dumps([Stateful(1, LOCK), LOCK])
    assert str(path_note(caught.value)).startswith("at args[1]:")


def test_the_original_exception_keeps_its_type() -> None:
    with pytest.raises(RuntimeError, match="not me") as caught:
        Exporter().dumps((Holder(x=[Refuses()]),))
    assert path_note(caught.value) == "at args[0].x[0]: not me"


def test_globals_and_closures_of_functions(main: Any) -> None:
    module = main("""
        import _thread
        LOCK = _thread.allocate_lock()
        def inner():
            return LOCK
        def work():
            return inner()
        class Job:
            lock = LOCK
            def run(self): pass
        def make_job():
            return Job()
    """)
    exporter = Exporter()
    with pytest.raises(TypeError) as caught:
        exporter.function(module.work)
    assert path_note(caught.value) == f"at work.<globals>.inner.<globals>.LOCK: {LOCK_TEXT}"
    with pytest.raises(TypeError) as caught:
        exporter.function(module.make_job)
    assert path_note(caught.value) == f"at make_job.<globals>.Job.lock: {LOCK_TEXT}"
    with pytest.raises(TypeError) as caught:
        exporter.dumps((module.Job(),))
    assert path_note(caught.value) == f"at args[0].<class Job>.lock: {LOCK_TEXT}"
    # and the exporter still works
    assert exporter.dumps((1, [2])) == pickle.dumps((1, [2]), 5)


def test_recursion_too_deep_is_reported_and_bounded() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(RecursionError) as caught:
        Exporter().dumps((nested,))
    assert path_note(caught.value) == "at args: nested too deeply for pickle"
    while nested:  # or its own deallocation would be as deep
        nested = nested.pop()


def test_wide_graphs_are_explained_in_bounded_time() -> None:
    wide = [[Holder(n=n) for n in range(50)] for _ in range(60)]
    wide[-1].append(Holder(lock=LOCK))
    with pytest.raises(TypeError) as caught:
        Exporter().dumps((wide,))
    assert path_note(caught.value) == f"at args[0][59][50].lock: {LOCK_TEXT}"


def test_a_failing_repr_does_no_harm() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        def __reduce__(self) -> Any:
            raise OSError("no reduce")

    with pytest.raises(OSError, match="no reduce") as caught:
        Exporter().dumps({Odd(): 1})
    assert "<key <Odd>>" in str(path_note(caught.value))


def test_results_are_named_too(worker: Any) -> None:
    with pytest.raises(TypeError, match=r"lock") as caught:
        worker.call(Exporter(), lambda: {"a": __import__("threading").Lock()})
    assert path_note(caught.value) == f"at result['a']: {LOCK_TEXT}"


def test_keyboard_interrupt_passes_through() -> None:
    class Interrupting:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        Exporter().dumps((Interrupting(),))
    assert path_note(caught.value) is None


def test_a_global_that_cannot_be_rebuilt_is_named(worker: Any, main: Any) -> None:
    module = main("""
        class Touchy:
            def __setstate__(self, state): raise ValueError("not here")
            def __getstate__(self): return 1
        thing = Touchy()
        def task(): return thing
    """)
    with pytest.raises(ValueError, match="not here") as caught:
        worker.call(Exporter(), module.task)
    assert path_note(caught.value) == "at <globals>.thing: cannot be unpickled: ValueError: not here"


class Touchy:
    """Pickles well, and cannot be unpickled."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        match self.how:
            case "state":
                return Touchy, ("fine",), {"x": 1}
            case "setter":
                return Touchy, ("fine",), 1, None, None, _raise
            case "call":
                return _raise, (1, [2])
            case "items":
                return Touchy, ("fine",), None, iter([1])
            case _:
                return Touchy, (self.how,)

    def __setstate__(self, state: Any) -> None:
        raise LookupError("no state")

    def append(self, item: Any) -> None:
        raise LookupError("no items")


def _raise(*args: Any) -> Any:
    raise LookupError("no call")


@pytest.mark.parametrize("how", ["state", "setter", "call", "items"])
@pytest.mark.parametrize(
    ("wrapped", "path"),
    [
        (lambda bad: (bad,), "args[0]"),
        (lambda bad: (0, [1, Touchy("fine"), bad, 2]), "args[1][2]"),
        (lambda bad: (Holder(a=Holder(fine=[1], bad=bad, after={"k": 2})),), "args[0].a.bad"),
        (lambda bad: (1, 2, 3, {"k": {"fine": 1, "bad": (bad,)}}), "args[3]['k']['bad'][0]"),
        (lambda bad: ([Holder(x=1)] * 3, ListOf([0, bad])), "args[1][1]"),
        (lambda bad: (ValueError("x", bad),), "args[0].<reduced>[1]"),
        (lambda bad: (_slotted_with(bad),), "args[0].lock"),
    ],
)
@pytest.mark.parametrize("in_main", [False, True])
def test_unpickling(main: Any, wrapped: Any, path: str, how: str, in_main: bool) -> None:
    blob = Exporter().dumps(wrapped(Touchy(how)))
    if in_main:
        extra = main("class Foo: pass").Foo()
        blob = Exporter().dumps((*wrapped(Touchy(how)), extra))
    with pytest.raises(LookupError) as caught:
        loads(blob)
    step = ".<state>" if how == "setter" else ""
    text = {"state": "no state", "items": "no items"}.get(how, "no call")
    assert path_note(caught.value) == f"at {path}{step}: cannot be unpickled: LookupError: {text}"


def _slotted_with(value: Any) -> Slotted:
    made = Slotted()
    made.lock = value
    return made


def test_unpickling_something_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = Exporter().dumps((1, Holder(a=Slotted())))
    monkeypatch.delattr("tests.serialize.test_errors_name_the_path.Slotted")
    with pytest.raises(AttributeError) as caught:
        loads(blob)
    assert str(path_note(caught.value)).startswith("at args[1].a: cannot be unpickled: AttributeError: ")


def test_unpickling_garbage() -> None:
    with pytest.raises(pickle.UnpicklingError):
        loads(b"\x80\x05garbage")
    with pytest.raises(SerializationError, match="not a blob"):
        loads(b"garbage")
    with pytest.raises(SerializationError, match="not a blob"):
        loads(b"")


def test_an_open_file_and_a_plain_socket() -> None:
    with open(__file__) as file, pytest.raises(TypeError) as caught:
        Exporter().dumps((file,))
    assert str(path_note(caught.value)).startswith("at args[0]: cannot pickle")
    assert pickle.loads(Exporter().dumps(socket.AF_UNIX)) is socket.AF_UNIX
