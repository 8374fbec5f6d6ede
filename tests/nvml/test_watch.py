"""An agent's side of the probe: with a real process below it, that asks a stand-in of NVML."""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from distpool.scheduler.shells import gpu_probe, gpu_watch
from distpool.scheduler.shells.gpu_watch import GpuWatch
from tests.processes.scene import wait_until

from .ground import GIB, H100, STAND_IN, Driver, gpu, part


class Clock:
    """The time that the watch is told, and the descriptors that its agent would poll."""

    def __init__(self, watch: GpuWatch, poller: zmq.Poller) -> None:
        self.watch, self.poller, self.now = watch, poller, 0.0

    def find(self) -> list[str]:
        self.watch.begin()
        names = self.watch.find().names
        self.now = time.monotonic()  # and from here on as the test has it
        return names

    def look(self, after_s: float = 1.5, *, waits: bool = True) -> list[tuple[Any, ...]]:
        """Somebody looks: (name, bytes used, busy) of each."""
        self.now += after_s
        if self.watch.look(self.now) and waits:
            self.hear()
        return self.told()

    def hear(self) -> None:
        """Until it has answered, or is gone."""
        while self.watch.is_asked:
            assert self.serve(30_000), "no answer"

    def serve(self, timeout_ms: int = 0) -> int:
        ready = self.poller.poll(timeout_ms)
        for source, _ in ready:
            assert self.watch.read(source, self.now)
        return len(ready)

    def told(self) -> list[tuple[Any, ...]]:
        return [(load.name, load.used_bytes, load.busy) for load in self.watch.loads(self.now)]

    @property
    def pid(self) -> int:
        assert self.watch._process is not None
        return self.watch._process.pid


class Clocks:
    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[Clock] = []
        for name, value in driver.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(gpu_watch, "_has_nvml", lambda: True)

    def __call__(self, said: float | None = None, **environment: str) -> Clock:
        poller = zmq.Poller()
        self.all.append(Clock(GpuWatch(poller, said, environment), poller))
        return self.all[-1]


@pytest.fixture
def clocks(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    made = Clocks(driver, monkeypatch)
    yield made
    for clock in made.all:
        clock.watch._give_up(clock.now)
        assert not clock.poller.sockets
        wait_until(lambda clock=clock: clock.watch._reap() is None and not clock.watch._ended, "it is reaped")


def test_what_there_is_and_how_busy(clocks: Clocks, driver: Driver) -> None:
    driver.say(gpu(1), gpu(2), gpu(3, forbidden=True))
    clock = clocks(CUDA_VISIBLE_DEVICES="1,0")
    assert clock.find() == ["1", "0"]
    assert clock.look() == [("1", GIB, 0.2), ("0", GIB, 0.1)]
    assert [(load.model, load.memory_bytes) for load in clock.watch.loads(clock.now)] == [
        (H100, 80 * GIB)
    ] * 2
    driver.say(gpu(1, used=2 * GIB, busy=100), gpu(2, busy=0), gpu(3))
    assert clock.look() == [("1", GIB, 0.0), ("0", 2 * GIB, 1.0)]


def test_instances_have_their_own_memory(clocks: Clocks, driver: Driver) -> None:
    driver.say(gpu(1, parts=[part(4), part(5)]), gpu(2))
    clock = clocks()
    names = [part(4)["uuid"], part(5)["uuid"], gpu(2)["uuid"]]
    assert clock.find() == names
    assert clock.look() == [(names[0], GIB, None), (names[1], GIB, None), (names[2], GIB, 0.2)]
    assert [load.memory_bytes for load in clock.watch.loads(clock.now)] == [10 * GIB, 10 * GIB, 80 * GIB]


def test_it_is_asked_once_a_second_and_only_when_somebody_looks(clocks: Clocks, driver: Driver) -> None:
    driver.say(gpu(1))
    clock = clocks()
    clock.find()
    for _ in range(15):
        clock.look(0.1)
    assert len(driver.asked()) == 1 + 1
    clock.now += 60.0
    assert not clock.serve(0)
    assert len(driver.asked()) == 2
    assert clock.told() == [("0", None, None)], "what is old is not told"


def test_a_probe_that_nobody_asks_ends_and_the_next_look_starts_another(
    clocks: Clocks, driver: Driver
) -> None:
    driver.say(gpu(1))
    clock = clocks()
    clock.find()
    first = clock.pid
    clock.watch._process.stdin.close()  # type: ignore[union-attr]  # as if ``IDLE_S`` had passed: it returns 0
    clock.watch._process.stdin = open(os.devnull, "wb", buffering=0)  # type: ignore[union-attr]  # noqa: SIM115
    assert clock.serve(30_000)
    assert clock.watch._process is None
    assert clock.look() == [("0", GIB, 0.1)]
    assert clock.pid != first


@pytest.mark.parametrize("init", ["LibRmVersionMismatch", "DriverNotLoaded", "die"])
def test_where_nvml_fails_at_the_start_the_rest_goes_on(
    init: str, clocks: Clocks, driver: Driver, capfd: Any
) -> None:
    """And when it works again, that is noticed; a process that fails is not started for each look."""
    driver.fail(init)
    clock = clocks(CUDA_VISIBLE_DEVICES="0")
    assert clock.find() == ["0"], "as it says"
    assert clock.look() == []
    driver.say(gpu(1))
    assert clock.look(gpu_watch.REST_S / 2) == []
    assert clock.look(gpu_watch.REST_S / 2) == [("0", GIB, 0.1)]
    assert capfd.readouterr() == ("", "")


def test_the_driver_is_reset(clocks: Clocks, driver: Driver, capfd: Any) -> None:
    """All of it: unknown for a while, and then known again, by another process."""
    driver.say(gpu(1), gpu(2))
    clock = clocks()
    clock.find()
    first = clock.pid
    driver.fail("DriverNotLoaded")
    assert clock.look() == [("0", None, None), ("1", None, None)]
    driver.say(gpu(1), gpu(2))
    assert clock.look() == [("0", None, None), ("1", None, None)]
    assert clock.look(gpu_watch.REST_S) == [("0", GIB, 0.1), ("1", GIB, 0.2)]
    assert clock.pid != first
    assert capfd.readouterr() == ("", "")


def test_one_gpu_is_lost_and_the_other_keeps_its_name(clocks: Clocks, driver: Driver) -> None:
    driver.say(gpu(1), gpu(2))
    clock = clocks()
    clock.find()
    driver.say(gpu(1, lost=True), gpu(2))
    assert clock.look() == [("0", None, None), ("1", GIB, 0.2)]
    os.kill(clock.pid, signal.SIGKILL)
    assert clock.serve(30_000)
    assert clock.look() == [("0", None, None), ("1", GIB, 0.2)], "also to one that has never seen it"


def test_a_probe_that_is_killed_is_nobodys_trouble(clocks: Clocks, driver: Driver) -> None:
    driver.say(gpu(1))
    clock = clocks()
    clock.find()
    os.kill(clock.pid, signal.SIGSTOP)
    clock.look(waits=False)
    os.kill(clock.pid, signal.SIGKILL)
    clock.hear()
    assert clock.look(gpu_watch.REST_S / 2) == [("0", None, None)]
    assert clock.look(gpu_watch.REST_S / 2) == [("0", GIB, 0.1)]


def test_one_that_hangs_is_waited_for_once_then_killed_and_there_is_never_a_second(
    clocks: Clocks, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.say(gpu(1))
    clock = clocks()
    clock.find()
    stuck = clock.pid
    os.kill(stuck, signal.SIGSTOP)
    clock.now += 1.5
    assert clock.watch.look(clock.now)
    assert not clock.watch.look(clock.now + gpu_watch.ASK_S), "others need not wait"
    assert clock.look(gpu_watch.SILENT_S, waits=False) == [("0", None, None)]
    assert clock.watch._process is None, "it is killed"
    wait_until(lambda: clock.watch._reap() is None and not clock.watch._ended, "it ends")
    assert clock.look(gpu_watch.REST_S) == [("0", GIB, 0.1)]
    # The kernel cannot always end one that is inside of the driver.
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    os.kill(clock.pid, signal.SIGSTOP)
    stuck = clock.pid
    clock.look(waits=False)
    clock.look(gpu_watch.SILENT_S, waits=False)
    for _ in range(5):
        assert clock.look(60.0, waits=False) == [("0", None, None)]
    assert [process.pid for process in clock.watch._ended] == [stuck]
    os.kill(stuck, signal.SIGKILL)
    os.waitid(os.P_PID, stuck, os.WEXITED | os.WNOWAIT)
    assert clock.look(60.0) == [("0", GIB, 0.1)]


def test_a_start_does_not_wait_for_ever(
    clocks: Clocks, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes later is used by those who look."""
    driver.fail("hang")
    monkeypatch.setattr(gpu_watch, "FIND_S", 0.0)
    clock = clocks(CUDA_VISIBLE_DEVICES="0")
    assert clock.find() == ["0"]
    assert clock.told() == []
    os.kill(clock.pid, signal.SIGKILL)
    clock.hear()
    driver.say(gpu(1))
    assert clock.look(gpu_watch.REST_S) == [("0", GIB, 0.1)]


@pytest.mark.parametrize(
    ("said", "environment"),
    [(0.0, {}), (None, {"CUDA_VISIBLE_DEVICES": ""}), (None, {"CUDA_VISIBLE_DEVICES": "-1"})],
)
def test_where_there_are_to_be_none_nothing_is_asked(
    said: float | None, environment: dict[str, str], clocks: Clocks, driver: Driver
) -> None:
    driver.say(gpu(1))
    clock = clocks(said, **environment)
    assert clock.find() == []
    assert clock.look() == []
    assert clock.watch._process is None


def test_a_driver_without_gpus_is_asked_once(clocks: Clocks, driver: Driver) -> None:
    driver.say()
    clock = clocks()
    assert clock.find() == []
    clock.watch._process.kill()  # type: ignore[union-attr]
    assert clock.serve(30_000)
    assert clock.look() == []
    assert clock.watch._process is None


def test_nvml_is_there_if_module_and_library_are(driver: Driver) -> None:
    """As an interpreter of its own sees it: what loads is settled when a process starts."""

    def has(**without: str) -> str:
        code = "from distpool.scheduler.shells import gpu_watch\nprint(gpu_watch._has_nvml())"
        env = {**os.environ, **driver.env, **without}
        return subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert has() == "True"
    assert has(LD_LIBRARY_PATH="") == "False"


def test_what_the_probe_calls_is_what_the_module_has() -> None:
    """The stand-in has the names and parameters of nvidia-ml-py; and that one, without a driver, is told apart."""
    pynvml = pytest.importorskip("pynvml")
    code = (STAND_IN / "pynvml.py").read_text()
    ours: dict[str, Any] = {"__name__": "stand_in"}
    os.environ.setdefault("STAND_IN_NVML", os.devnull)
    exec(code, ours)
    functions = [name for name, value in ours.items() if name.startswith("nvml") and callable(value)]
    used = set(functions) | {word for word in _words(gpu_probe) if word.startswith("nvml")}
    assert used == set(functions)
    for name in functions:
        theirs = inspect.signature(inspect.unwrap(getattr(pynvml, name)))
        assert list(inspect.signature(ours[name]).parameters) == list(theirs.parameters), name
    for name in ours["_WORDS"]:
        assert issubclass(getattr(pynvml, f"NVMLError_{name}"), pynvml.NVMLError)


def _words(module: Any) -> set[str]:
    import re

    return set(re.findall(r"\bnvml\.(nvml\w+)", inspect.getsource(module)))


def test_the_module_without_a_driver_is_a_trouble_and_no_noise() -> None:
    pytest.importorskip("pynvml")
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("there is a driver")
    probe = subprocess.Popen(
        [sys.executable, "-m", gpu_probe.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told, noise = probe.communicate(b"\n", timeout=60)
    gpus, trouble = json.loads(told)
    assert (gpus, noise, probe.returncode) == ([], b"", 1)
    assert trouble.startswith("NVMLError")


def test_a_probe_ends_when_nobody_asks(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.say(gpu(1))
    monkeypatch.setenv("STAND_IN_NVML", str(driver.place))
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setattr(gpu_probe, "IDLE_S", 0.0)
    asks, ask = os.pipe()
    told, tell = os.pipe()
    try:
        os.write(ask, b"\n")
        # One answer, and then nobody asks any more; were it to wait for ever, the test would.
        assert gpu_probe.main(asks, tell) == 0
        assert os.read(told, 1 << 16).count(b"\n") == 1
    finally:
        for fd in (asks, ask, told, tell):
            os.close(fd)
        sys.modules.pop("pynvml", None)


def test_it_ends_with_its_agent(driver: Driver) -> None:
    driver.say(gpu(1))
    probe = subprocess.Popen(
        [sys.executable, "-m", gpu_probe.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **driver.env},
    )
    assert probe.stdin is not None
    assert probe.stdout is not None
    probe.stdin.write(b"\n")
    probe.stdin.flush()
    assert select.select([probe.stdout], [], [], 60)[0]
    assert json.loads(probe.stdout.readline())[0][0][0] == gpu(1)["uuid"]
    probe.stdin.close()
    assert probe.wait(30) == 0
    probe.stdout.close()
