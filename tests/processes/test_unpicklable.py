"""What cannot be pickled, or not unpickled, is an error of that call: at once, with the path to the culprit."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distpool.errors import CannotUnpickle
from distpool.futures import ProcessPoolExecutor
from distpool.pool import MaybeEncodingError, Pool
from tests.processes import bodies
from tests.processes.scene import check_core

pytestmark = pytest.mark.usefixtures("engine")
DOORS = ["pool", "executor"]
SOON_S = 5.0


class Holder:
    """Has the culprit deep inside."""

    def __init__(self, culprit: Any) -> None:
        self.parts = {"inner": [1, culprit]}


class OnlyHere:
    """Cannot be unpickled in a worker."""

    def __reduce__(self) -> Any:
        return fail_in_a_worker, ()


class OnlyThere:
    """Cannot be unpickled in the driver."""

    def __reduce__(self) -> Any:
        return fail_in_the_driver, ()


def fail_in_a_worker() -> str:
    if multiprocessing.parent_process() is not None:
        raise ValueError("not in a worker")
    return "here"


def fail_in_the_driver() -> str:
    if multiprocessing.parent_process() is None:
        raise ValueError("not in the driver")
    return "there"


class TwoArguments(Exception):
    """Its ``args`` do not fit its constructor."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class RaisesWhenMade(Exception):
    def __init__(self, *args: Any) -> None:
        if multiprocessing.parent_process() is None:
            raise RuntimeError("never in the driver")
        super().__init__(*args)


def return_a_lock() -> Any:
    return Holder(threading.Lock())


def return_only_there() -> Any:
    return OnlyThere()


def raise_it(kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


@pytest.fixture(params=DOORS)
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Calls one function through a front door, within a second; and afterwards the pool is as good as before."""
    if request.param == "pool":
        with Pool(1) as pool:
            yield _timed(lambda function, *args: pool.apply_async(function, args).get(SOON_S))
            assert pool.map(bodies.square, [3, 4]) == [9, 16]
        pool.join()
    else:
        with ProcessPoolExecutor(1) as executor:
            yield _timed(lambda function, *args: executor.submit(function, *args).result(SOON_S))
            assert list(executor.map(bodies.square, [3, 4])) == [9, 16]
    check_core()


def _timed(call: Callable[..., Any]) -> Callable[..., Any]:
    def timed(function: Callable[..., Any], *args: Any) -> Any:
        call(bodies.square, 2)  # the worker is there
        began_s = time.monotonic()
        call(bodies.square, 2)
        well_s = time.monotonic() - began_s  # long where the machine is busy with much else
        began_s = time.monotonic()
        try:
            return call(function, *args)
        finally:
            assert time.monotonic() - began_s < 1.0 + 20 * well_s

    return timed


def test_an_argument_that_cannot_be_pickled(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object") as info:
        call(bodies.same, Holder(threading.Lock()))
    assert ".parts['inner'][1]" in _told(info.value)


def test_an_argument_that_cannot_be_unpickled(call: Callable[..., Any]) -> None:
    with pytest.raises(CannotUnpickle, match="not in a worker") as info:
        call(bodies.same, Holder(OnlyHere()))
    assert ".parts['inner'][1]" in _told(info.value)


def test_a_function_that_cannot_be_pickled(call: Callable[..., Any]) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object") as info:
        call(lambda: lock)
    assert "lock" in _told(info.value)


def test_a_function_that_cannot_be_unpickled(call: Callable[..., Any]) -> None:
    here = OnlyHere()
    for _ in range(2):  # it is not half loaded the second time
        with pytest.raises((CannotUnpickle, ValueError), match="not in a worker"):
            call(lambda: here)


def test_a_result_that_cannot_be_pickled(call: Callable[..., Any]) -> None:
    with pytest.raises(
        (MaybeEncodingError, TypeError), match=r"cannot pickle '_thread\.lock' object"
    ) as info:
        call(return_a_lock)
    assert ".parts['inner'][1]" in _told(info.value)


def test_a_result_that_cannot_be_unpickled(call: Callable[..., Any]) -> None:
    with pytest.raises(CannotUnpickle, match="not in the driver"):
        call(return_only_there)


def test_an_exception_with_an_odd_constructor(call: Callable[..., Any]) -> None:
    with pytest.raises(TwoArguments, match=r"odd \(7\)") as info:
        call(raise_it, TwoArguments, 7, "odd")
    assert info.value.code == 7


def test_an_exception_that_cannot_be_pickled(call: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="locked") as info:
        call(raise_it, HoldsALock)
    assert "HoldsALock" in repr(type(info.value)) + _told(info.value)


def test_an_exception_that_cannot_be_made_again(call: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="the text of it") as info:
        call(raise_it, RaisesWhenMade, "the text of it")
    assert "RaisesWhenMade" in repr(type(info.value)) + _told(info.value)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_exceptions_that_are_no_errors_do_not_end_the_worker(
    call: Callable[..., Any], kind: type[BaseException]
) -> None:
    before = call(bodies.pid_of_worker)
    with pytest.raises(kind):
        call(raise_it, kind, 5)
    assert call(bodies.pid_of_worker) == before


def test_an_initializer_that_cannot_be_pickled_is_refused_at_once() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        Pool(1, initializer=lambda: lock)


def test_an_item_of_a_map_that_cannot_be_pickled_fails_only_itself() -> None:
    with Pool(2) as pool:
        arrivals = pool.imap(bodies.same, [1, threading.Lock(), 3])
        assert next(arrivals) == 1
        with pytest.raises(TypeError, match="cannot pickle"):
            next(arrivals)
        assert next(arrivals) == 3
    pool.join()


def _told(error: BaseException) -> str:
    """All that a user would read of it."""
    notes = getattr(error, "__notes__", [])
    return "\n".join([str(error), *notes, str(error.__cause__ or "")])
