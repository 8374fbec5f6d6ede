"""``distpool.util`` has what two libraries have there, and loads nothing that nobody asked for."""

import importlib
import multiprocessing.util
import subprocess
import sys

import pytest

import distpool.util
from distpool.util import logging_once, node_facts


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=distpool.__path__[0] + "/..",
    )


def test_every_name_is_there():
    for name in distpool.util.__all__:
        assert callable(getattr(distpool.util, name)), name
        assert name in dir(distpool.util)
    for name in distpool.util._MODULES:
        assert getattr(distpool.util, name) is importlib.import_module(f"distpool.util.{name}")


@pytest.mark.parametrize("name", ["Finalize", "get_logger", "register_after_fork", "is_exiting", "debug"])
def test_names_of_multiprocessing_are_there_too(name):
    assert getattr(distpool.util, name) is getattr(multiprocessing.util, name)


def test_no_name_is_in_both_libraries():
    assert not {*distpool.util.__all__, *distpool.util._MODULES} & set(multiprocessing.util.__all__)


def test_an_unknown_name_fails_as_everywhere():
    with pytest.raises(AttributeError, match=r"module 'distpool\.util' has no attribute 'ActorPol'"):
        distpool.util.ActorPol


def test_importing_it_loads_nothing():
    code = (
        "import sys, distpool.util\n"
        "print([name for name in sys.modules if name.startswith('distpool.') and name != 'distpool.util'],\n"
        "      'multiprocessing' in sys.modules)"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("[] False\n", "")


@pytest.mark.parametrize(
    "lines",
    [
        ["from distpool.util.placement_group import placement_group as f", "g = distpool.util.placement_group"],
        ["f = distpool.util.placement_group", "from distpool.util.placement_group import placement_group as g"],
        ["from distpool.util import placement_group as f", "import distpool.util.placement_group",
         "g = distpool.util.placement_group"],
    ],
)  # fmt: skip
def test_placement_group_is_the_function_whatever_was_imported_first(lines):
    code = "\n".join(["import distpool.util", *lines, "print(f is g, f.__name__, callable(f))"])
    done = run(code)
    assert (done.stdout, done.stderr) == ("True placement_group True\n", "")


def test_log_once(monkeypatch):
    monkeypatch.setattr(logging_once, "_said", {})
    monkeypatch.setattr(logging_once, "_disabled", False)
    monkeypatch.setattr(logging_once, "_periodic", False)
    assert [distpool.util.log_once(key) for key in "aaba"] == [True, False, True, False]
    distpool.util.enable_periodic_logging()
    assert not distpool.util.log_once("a")
    logging_once._said["a"] -= 61
    assert [distpool.util.log_once("a") for _ in range(2)] == [True, False]
    distpool.util.disable_log_once_globally()
    assert not distpool.util.log_once("new")


def test_the_address_of_this_node(monkeypatch):
    parts = distpool.util.get_node_ip_address().split(".")
    assert len(parts) == 4
    assert all(0 <= int(part) < 256 for part in parts)
    assert distpool.util.get_node_ip_address("127.0.0.1:9") == "127.0.0.1"

    def fails(*_):
        raise OSError

    monkeypatch.setattr(node_facts.socket, "socket", fails)
    monkeypatch.setattr(node_facts.socket, "gethostbyname", fails)
    assert distpool.util.get_node_ip_address() == "127.0.0.1"


def test_the_instance_id_is_what_the_machine_was_told(monkeypatch):
    monkeypatch.setenv("RAY_CLOUD_INSTANCE_ID", "i-42")
    assert distpool.util.get_node_instance_id() == "i-42"
    monkeypatch.delenv("RAY_CLOUD_INSTANCE_ID")
    assert distpool.util.get_node_instance_id() == ""
