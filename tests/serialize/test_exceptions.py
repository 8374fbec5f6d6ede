"""Exceptions arrive as the user's own type, whatever their class does."""

from __future__ import annotations

import concurrent.futures.process
import multiprocessing.pool
import pickle
import subprocess
from typing import Any

import pytest

from distpool.scheduler.serialize import Exporter, RemoteError, dump_exception, load_exception


def sent(worker: Any, main: Any, source: str) -> tuple[Any, BaseException]:
    module = main(source)
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        worker.call(Exporter(), module.task)
    return module, caught.value


def test_type_args_attributes_notes_and_remote_traceback(worker: Any, main: Any) -> None:
    module, error = sent(worker, main, """
        class MyError(Exception):
            pass
        def task():
            error = MyError("a", 1)
            error.extra = [1]
            error.add_note("a note")
            helper(error)
        def helper(error):
            raise error  # the line of the raise
    """)  # fmt: skip
    assert type(error) is module.MyError
    assert error.args == ("a", 1)
    assert error.extra == [1]  # type: ignore[attr-defined]
    assert error.__notes__ == ["a note", "from the worker"]
    assert type(error.__cause__) is multiprocessing.pool.RemoteTraceback  # type: ignore[attr-defined]
    text = str(error.__cause__)
    assert "raise error  # the line of the raise" in text
    assert text.startswith('\n"""\nTraceback (most recent call last):\n')
    assert "distpool/scheduler" not in text


def test_our_own_frames_are_left_out() -> None:
    try:
        Exporter().dumps((_Refuses(),))
    except RuntimeError as error:
        blob = dump_exception(error)
        lines = str(load_exception(blob).__cause__)
        assert "in _refuse" in lines
        assert "exporter.py" not in lines
        assert "pickler.py" not in lines
    else:
        pytest.fail("nothing was raised")


class _Refuses:
    def _refuse(self, _protocol: int) -> Any:
        raise RuntimeError("no")

    __reduce_ex__ = _refuse


ODD = {
    "required arguments": """
        class E(Exception):
            def __init__(self, code, message):
                super().__init__(message)
                self.code = code
        def make(): return E(7, "seven")
    """,
    "keyword only": """
        class E(Exception):
            def __init__(self, *, code):
                self.code = code
        def make(): return E(code=7)
    """,
    "side effects": """
        made = []
        class E(Exception):
            def __init__(self, code):
                made.append(code)
                assert len(made) == 1, "constructed again"
                self.code = code
        def make(): return E(7)
    """,
    "own new": """
        class E(Exception):
            def __new__(cls, code, *, secret):
                return super().__new__(cls, code)
            def __init__(self, code, *, secret):
                self.code = code
        def make(): return E(7, secret=1)
    """,
    "reduce raises": """
        class E(Exception):
            def __reduce__(self): raise RuntimeError("no reduce")
        def make():
            e = E(); e.code = 7; return e
    """,
    "reduce gives what cannot be called": """
        class E(Exception):
            def __reduce__(self): return E.make_it, ()
            def make_it(self): raise AssertionError
        def make():
            e = E(); e.code = 7; return e
    """,
    "reduce that works": """
        class E(Exception):
            def __init__(self, code): self.__hidden = code
            @property
            def code(self): return self.__hidden
            def __reduce__(self): return E, (self.__hidden,)
        def make(): return E(7)
    """,
    "getstate raises": """
        class E(Exception):
            def __getstate__(self): raise RuntimeError("no state")
        def make():
            e = E(); e.code = 7; return e
    """,
    "setattr raises": """
        class E(Exception):
            def __init__(self): self.__dict__["code"] = 7
            def __setattr__(self, name, value): raise TypeError("frozen")
        def make(): return E()
    """,
    "slots": """
        class E(Exception):
            __slots__ = ("code",)
        def make():
            e = E(); e.code = 7; return e
    """,
    "local": """
        def make():
            class E(Exception):
                code = 7
            return E()
    """,
    "str and repr raise": """
        class E(Exception):
            code = 7
            def __str__(self): raise RuntimeError("no str")
            __repr__ = __str__
        def make(): return E()
    """,
    "OSError with its own constructor": """
        class E(OSError):
            def __init__(self, code): self.code = code
        def make(): return E(7)
    """,
    "dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class E(Exception):
            code: int
            more: list = dataclasses.field(default_factory=list)
        def make(): return E(7)
    """,
    "base exception": """
        class E(BaseException):
            code = 7
        def make(): return E()
    """,
}


@pytest.mark.parametrize("source", ODD.values(), ids=ODD)
def test_odd_classes(worker: Any, main: Any, source: str) -> None:
    module, error = sent(worker, main, source + "\n        def task(): raise make()\n")
    expected = getattr(module, "E", None)
    assert type(error).__name__ == "E"
    if expected is not None:
        assert type(error) is expected
    assert error.code == 7  # type: ignore[attr-defined]


def test_unpicklable_pieces_become_their_repr(worker: Any, main: Any) -> None:
    _, error = sent(worker, main, """
        import threading
        class E(Exception): pass
        def task():
            error = E("text", threading.Lock())
            error.lock = threading.Lock()
            error.fine = 1
            raise error
    """)  # fmt: skip
    assert type(error).__name__ == "E"
    assert error.args[0] == "text"
    assert error.args[1].startswith("<unlocked _thread.lock object")
    assert error.lock.startswith("<unlocked _thread.lock object")  # type: ignore[attr-defined]
    assert error.fine == 1  # type: ignore[attr-defined]


def test_pieces_that_do_not_unpickle_become_their_repr(worker: Any, main: Any) -> None:
    _, error = sent(worker, main, """
        class Bad:
            def __getstate__(self): return 1
            def __setstate__(self, state): raise RuntimeError
            def __repr__(self): return "a Bad"
        def task():
            raise ValueError(Bad())
    """)  # fmt: skip
    assert type(error) is ValueError
    assert error.args == ("a Bad",)


def test_a_type_that_cannot_be_sent_becomes_a_remote_error(worker: Any, main: Any) -> None:
    main("")

    def task() -> None:
        import threading

        class Unsendable(Exception):
            lock = threading.Lock()

        raise Unsendable("some text")

    with pytest.raises(RemoteError) as caught:
        worker.call(Exporter(), task)
    assert caught.value.type_name.endswith("Unsendable")
    assert caught.value.text == "some text"
    assert "Unsendable: some text" in str(caught.value)
    assert "raise Unsendable" in str(caught.value.__cause__)
    assert pickle.loads(pickle.dumps(caught.value)).type_name == caught.value.type_name


def test_causes_contexts_and_groups(worker: Any, main: Any) -> None:
    module, error = sent(worker, main, """
        class E(Exception):
            def __init__(self, *, n): self.n = n
        def task():
            try:
                try:
                    raise KeyError("first")
                except KeyError:
                    raise E(n=2)
            except E as cause:
                raise ExceptionGroup("many", [E(n=3), ExceptionGroup("inner", [OSError(2, "no", "file")])]) from cause
    """)  # fmt: skip
    assert type(error) is ExceptionGroup
    assert error.message == "many"
    first, inner = error.exceptions
    assert type(first) is module.E
    assert first.n == 3
    assert inner.exceptions[0].filename == "file"
    cause = error.__cause__.__cause__  # below the remote traceback
    assert type(cause) is module.E
    assert cause.n == 2
    assert error.__context__ is cause
    assert type(cause.__context__) is KeyError
    text = str(error.__cause__)
    assert "KeyError: 'first'" in text
    assert "direct cause" in text


def test_a_cycle_in_the_chain() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one
    error = load_exception(dump_exception(one))
    assert type(error.__context__) is KeyError
    assert error.__context__.__context__ is error


BUILTIN = [
    OSError(2, "No such file", "name"),
    FileNotFoundError(2, "No such file", "one", None, "two"),
    ImportError("x", name="n", path="p"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    SyntaxError("bad", ("file", 1, 2, "text")),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    KeyError("k"),
    AttributeError("a", name="n"),
    NameError("a", name="n"),
    RecursionError("deep"),
    subprocess.CalledProcessError(1, ["cmd"], b"out", b"err"),
    subprocess.TimeoutExpired("cmd", 3),
    concurrent.futures.process.BrokenProcessPool("x"),
]


@pytest.mark.parametrize("error", BUILTIN, ids=lambda error: type(error).__name__)
def test_builtin_and_library_exceptions(error: BaseException) -> None:
    back = load_exception(dump_exception(error))
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    for name in ("errno", "strerror", "filename", "filename2", "name", "path", "code", "value", "reason", "lineno",
                 "returncode", "cmd", "output", "stderr", "timeout"):  # fmt: skip
        assert getattr(back, name, None) == getattr(error, name, None)


def test_the_wrapper_is_the_callers_choice() -> None:
    wrap = concurrent.futures.process._RemoteTraceback  # type: ignore[attr-defined]
    error = load_exception(dump_exception(ValueError("x"), note="hint"), wrap)
    assert type(error.__cause__) is wrap
    assert "ValueError: x" in str(error.__cause__)
    assert error.__notes__ == ["hint"]
    assert error.__cause__.__cause__ is None


def test_system_exit_from_a_task(worker: Any, main: Any) -> None:
    _, error = sent(worker, main, """
        import sys
        def task(): sys.exit(9)
    """)  # fmt: skip
    assert type(error) is SystemExit
    assert error.code == 9
