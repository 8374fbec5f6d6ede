"""The driver's own modules: their version, and how they come to a node that has other files."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import time
from collections.abc import Iterator

import pytest

from distpool import runtime_env_modules
from distpool.runtime_env_modules import DriverModules, driver_modules_version, pack_driver_modules
from tests.runtime_env.workers import Place, Worker


@pytest.fixture(autouse=True)
def clean(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a driver that has loaded nothing of its own, with a folder of its own on its path."""
    monkeypatch.setattr(runtime_env_modules, "_state", runtime_env_modules._State())
    monkeypatch.syspath_prepend(str(place.root / "code"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    for name, module in before.items():
        if runtime_env_modules._own_file(module, getattr(module, "__spec__", None)) is not None:
            monkeypatch.delitem(sys.modules, name)  # the tests themselves, here
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def version() -> int:
    runtime_env_modules.look_anew()
    return driver_modules_version()


def write(place: Place, name: str, text: str) -> None:
    place.folder("code", {name: text})
    importlib.invalidate_caches()


def test_an_edit_that_was_loaded_changes_the_version(place: Place) -> None:
    write(place, "own_helper.py", "x = 1")
    module = importlib.import_module("own_helper")
    first = version()
    assert version() == first
    importlib.reload(module)
    assert version() == first  # nothing was edited
    write(place, "own_helper.py", "x = 1000")
    assert version() == first  # not loaded: here it means what it meant
    importlib.reload(module)
    second = version()
    assert second != first
    assert module.x == 1000
    assert version() == second
    write(place, "own_helper.py", "x = 100000")
    del sys.modules["own_helper"]
    importlib.import_module("own_helper")
    assert version() not in (first, second)


def test_a_reload_is_seen_at_once_but_for_a_millisecond(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "own_helper.py", "x = 1")
    module = importlib.import_module("own_helper")
    first = version()
    write(place, "own_helper.py", "x = 1000")
    importlib.reload(module)
    now = runtime_env_modules._state.looked
    monkeypatch.setattr(runtime_env_modules.time, "monotonic", lambda: now + 0.0015)
    assert driver_modules_version() != first


def test_modules_that_come_and_go_change_nothing(place: Place) -> None:
    first = version()
    write(place, "own_helper.py", "x = 1")
    write(place, "own_package/__init__.py", "")
    write(place, "own_package/part.py", "x = 1")
    importlib.import_module("own_helper")
    importlib.import_module("own_package.part")
    assert version() == first
    del sys.modules["own_helper"]
    assert version() == first
    importlib.import_module("own_helper")
    assert version() == first
    write(place, "own_package/part.py", "x = 1000")
    importlib.reload(sys.modules["own_package.part"])
    assert version() != first


def test_what_is_installed_is_nobody_s_own(place: Place) -> None:
    import json.decoder

    import msgspec

    version()
    importlib.reload(json.decoder)
    installed = place.folder("code/lib/site-packages", {"own_installed.py": "x = 1"})
    sys.path.insert(0, str(installed))
    try:
        module = importlib.import_module("own_installed")
        first = version()
        (installed / "own_installed.py").write_text("x = 1000")
        importlib.reload(module)
        assert version() == first
    finally:
        sys.path.remove(str(installed))
    own = {name for name, (_, looks) in runtime_env_modules._state.seen.items() if looks is not None}
    assert not own & {
        "json",
        "json.decoder",
        "msgspec",
        "pytest",
        "distpool",
        "__main__",
        "os",
        "own_installed",
    }
    assert msgspec.__name__ in runtime_env_modules._state.seen


def test_it_costs_nothing_between_looks() -> None:
    driver_modules_version()
    count = 20_000
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            driver_modules_version()
        times.append((time.perf_counter() - began) / count)
    assert min(times) < 5e-6


def test_odd_modules_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        __name__ = 3
        __spec__ = type("Spec", (), {"origin": 5})()

    for name, module in {"odd1": None, "odd2": Odd(), "odd3": type("Lazy", (), {})()}.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    first = version()
    assert version() == first
    assert pack_driver_modules("/nowhere") is None


# ---------------------------------------------------------------------------------- another node

ENTER = """
from distpool.runtime_env_modules import enter_driver_modules
import pickle
modules = pickle.loads({blob!r})
sys.path.insert(0, {root!r})
entered = enter_driver_modules(modules, base)
import own_package.part, own_helper
result = [entered, own_helper.x, own_package.part.x, own_package.part.__file__]
"""


def loaded(place: Place) -> DriverModules:
    write(place, "own_helper.py", "x = 1")
    write(place, "own_package/__init__.py", "")
    write(place, "own_package/part.py", "x = 2")
    write(place, "own_package/data/table.csv", "1,2")
    write(place, "unused.py", "")
    importlib.import_module("own_helper")
    importlib.import_module("own_package")
    modules = pack_driver_modules(str(place.base))
    assert modules is not None
    return modules


def worker(place: Place, modules: DriverModules) -> Worker:
    code = ENTER.format(blob=pickle.dumps(modules), root=str(place.root / "code"))
    return place.worker({}, code)


def test_what_is_taken_along(place: Place) -> None:
    modules = loaded(place)
    assert modules.roots == (str(place.root / "code"),)
    names = ["own_helper.py", "own_package/__init__.py", "own_package/data/table.csv", "own_package/part.py"]
    assert sorted(name for _, name, _, _ in modules.files) == names
    assert pack_driver_modules(str(place.base)) == modules


def test_a_node_with_the_same_files_takes_no_copy(place: Place) -> None:
    modules = loaded(place)
    expected = [False, 1, 2, str(place.root / "code" / "own_package" / "part.py")]
    assert worker(place, modules).result() == expected
    assert not place.cache.exists()


@pytest.mark.parametrize("there", ["nothing", "an older version"])
def test_a_node_with_other_files_has_a_copy(place: Place, there: str) -> None:
    modules = loaded(place).contained()
    os.unlink(modules.archive.path)
    if there == "nothing":
        (place.root / "code").rename(place.root / "moved")
    else:
        write(place, "own_helper.py", "x = 0")
    entered, helper, part, file = worker(place, modules).result()
    assert (entered, helper, part) == (True, 1, 2)
    assert file.startswith(str(place.cache))


def test_a_driver_without_modules_of_its_own(place: Place) -> None:
    assert pack_driver_modules(str(place.base)) is None
    assert os.listdir(place.base) == []
