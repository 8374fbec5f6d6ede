"""What of Ray is not here on purpose says so in one line, however it is asked for."""

from __future__ import annotations

import importlib

import pytest

import distpool
from distpool import left_out

NAMES = [name for name in left_out._LEFT_OUT if not name.startswith("util.")]
IN_UTIL = [
    name.removeprefix("util.")
    for name in left_out._LEFT_OUT
    if name.startswith("util.") and name.count(".") == 1
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_package(name: str) -> None:
    assert not hasattr(distpool, name)
    with pytest.raises(AttributeError, match=f"distpool has no .* \\({name}\\)"):
        getattr(distpool, name)
    for statement in (
        f"import distpool.{name}",
        f"from distpool import {name}",
        f"from distpool.{name} import x",
    ):
        with pytest.raises(ImportError, match=f"distpool has no .* \\({name}\\)") as caught:
            exec(statement)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", IN_UTIL)
def test_a_name_in_util(name: str) -> None:
    assert not hasattr(distpool.util, name)
    with pytest.raises(AttributeError, match=f"util.{name}"):
        getattr(distpool.util, name)
    for statement in (f"import distpool.util.{name}", f"from distpool.util import {name}"):
        with pytest.raises(ImportError, match="distpool has no"):
            exec(statement)


def test_what_is_below_one_of_them() -> None:
    with pytest.raises(ImportError, match="Ray Tune"):
        importlib.import_module("distpool.tune.schedulers")


def test_of_the_state_api() -> None:
    from distpool.util import state

    with pytest.raises(AttributeError, match="distpool logs"):
        state.get_log


def test_nothing_is_left_out_that_is_there() -> None:
    assert {name for name in left_out._LEFT_OUT if name in dir(distpool)} == set()
    assert {name for name in IN_UTIL if name in dir(distpool.util)} == set()


def test_any_other_name_is_as_missing_as_ever() -> None:
    assert left_out.why("nonsense") is None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        distpool.nonsense  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'distpool\.nonsense'"):
        importlib.import_module("distpool.nonsense")


def test_bind() -> None:
    @distpool.remote
    def function() -> None: ...

    @distpool.remote
    class Actor:
        pass

    for remote in (function, Actor):
        assert not hasattr(remote, "bind")
        with pytest.raises(AttributeError, match=r"call `\.remote\(\)`"):
            remote.bind()  # type: ignore[attr-defined]
