"""An agent's side of what is known of its node's GPUs: found once, when it starts; and how busy they are, on demand.

::

    start ── begin ──► gpu_probe, where NVML is ── find, for ``FIND_S`` at most ──► Inventory   (else ``counted``)
    somebody looks ── look ──► is what we have older than ``ASK_S``? a line to the probe, started again if need be
    the probe answers ── read ──► loads ──► what was known at the start, with what is known now

Nothing here waits but ``find`` (and for the end of a probe, a moment). A probe that says nothing for ``SILENT_S`` is
killed, after one that has failed none is started for a while; meanwhile nothing is known but what there is. Without
NVML nothing is started at all.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import zmq

from distpool.scheduler.shells import gpu_probe
from distpool.scheduler.shells.gpu_inventory import Gpu, Inventory, Listing, counted, inventory
from distpool.scheduler.shells.node_resources import VISIBLE

if TYPE_CHECKING:
    from distpool.scheduler.messages.insights import GpuLoad

__all__ = ["GpuWatch"]

#: How long a start of a node waits for NVML, which takes seconds where nothing keeps the driver awake.
FIND_S = 5.0
#: NVML is asked no more often than this.
ASK_S = 1.0
#: What is older is not told any more.
FRESH_S = 3.0
#: A probe that has not answered by then hangs.
SILENT_S = 10.0
#: After a probe that has failed, so long none is started.
REST_S = 10.0
#: It takes no longer than that to end once it has closed its pipes.
END_S = 0.05
_BYTES_MAX = 1 << 20
_LIBRARY = "libnvidia-ml.so.1"


class GpuWatch:
    """``said``: the GPUs that whoever starts the node wants it to have; None: those that there are."""

    def __init__(
        self, poller: zmq.Poller, said: float | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._poller = poller
        self._visible = environment.get(VISIBLE)
        self._wanted = said != 0
        self._known = Inventory()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: list[subprocess.Popen[bytes]] = []  # and not reaped
        self._asks = False  # NVML is here
        self._asked_s: float | None = None  # when, if the answer is not there
        self._not_before_s = float("-inf")
        self._heard = b""
        self._latest: tuple[float, Listing] | None = None

    # ------------------------------------------------------------------------------------ at the start

    def begin(self) -> None:
        """Ask what there is. Not before all is forked that is to be forked: it must not inherit the pipes."""
        self._asks = (
            self._wanted and (self._visible is None or bool(counted(self._visible).count)) and _has_nvml()
        )
        if self._asks:
            self.look(time.monotonic())

    def find(self) -> Inventory:
        """What there is; waits for it."""
        until_s = time.monotonic() + FIND_S
        while self._process is not None and self._asked_s is not None:
            assert self._process.stdout is not None
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                break
            self.read(self._process.stdout.fileno(), time.monotonic())
        if self._wanted:
            self._known = self._listed() or counted(self._visible)
        return self._known

    def _listed(self) -> Inventory | None:
        """By NVML, if that has told."""
        if self._latest is None or self._latest[1].trouble:
            return None
        return inventory(self._latest[1].gpus, self._visible)

    # --------------------------------------------------------------------------------- somebody looks

    def look(self, now: float) -> bool:
        """Somebody wants to know. Whether it is worth a moment's wait, as an answer is on its way."""
        self._reap()
        if not self._asks:
            return False
        if self._asked_s is not None:
            if now < self._asked_s + SILENT_S:
                return now < self._asked_s + ASK_S  # one that takes long is not waited for by everybody
            self._give_up(now)
        if now < self._not_before_s or (self._latest is not None and now < self._latest[0] + ASK_S):
            return False
        if self._process is None and not self._start(now):
            return False
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            os.write(
                self._process.stdin.fileno(), b"\n"
            )  # into an empty pipe: it is asked only when it has answered
        except BrokenPipeError:  # it ends, as nobody had asked it; the next look starts another
            self._hang_up()
            return False
        self._asked_s = now
        return True

    @property
    def is_asked(self) -> bool:
        """Whether there is a question without an answer."""
        return self._asked_s is not None

    def read(self, source: object, now: float) -> bool:
        """Take in what a readable descriptor has, if it is ours."""
        if self._process is None or self._process.stdout is None or source != self._process.stdout.fileno():
            return False
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        self._heard += data
        line, newline, rest = self._heard.rpartition(b"\n")
        if newline:
            self._heard = rest
            self._take(line, now)
        elif not data or len(self._heard) > _BYTES_MAX:
            asked = self._asked_s is not None
            if (
                self._hang_up() != 0 and asked
            ):  # else nobody had asked for long, and it was about to end anyway
                self._not_before_s = now + REST_S
        return True

    def _take(self, line: bytes, now: float) -> None:
        self._asked_s = None
        try:
            listing = msgspec.json.decode(line.rpartition(b"\n")[2], type=Listing)
        except msgspec.MsgspecError:
            listing = Listing(trouble="it says what nobody understands")
        self._latest = now, listing
        if listing.trouble:
            self._give_up(now)
        elif not listing.gpus:
            self._asks = False  # a driver without GPUs

    def loads(self, now: float) -> tuple[GpuLoad, ...]:
        """Each GPU that is given out here, and how busy it is, if that is known."""
        from distpool.scheduler.messages.insights import GpuLoad

        known = self._known
        if self._latest is not None and not any(device.uuid for device in known.devices) and known.count:
            known = self._listed() or known  # NVML had not told in time
        fresh: dict[str, Gpu] = {}
        if self._latest is not None and now <= self._latest[0] + FRESH_S:
            for gpu in self._latest[1].gpus:
                fresh.update({one.uuid: one for one in (gpu, *(gpu.parts or ()))})
        told = []
        for device in known.devices:
            seen = fresh.get(device.uuid) if device.uuid else None
            used, busy = (None, None) if seen is None else (seen.used_bytes, seen.busy)
            if device.uuid or device.model:  # else it is only said that there is one
                told.append(GpuLoad(device.name, device.model, device.memory_bytes, used, busy))
        return tuple(told)

    # ------------------------------------------------------------------------------------- the probe

    def _start(self, now: float) -> bool:
        if self._ended:
            return False  # the last one hangs in the driver: another would, too
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", gpu_probe.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError:  # no process can be had at the moment
            self._not_before_s = now + REST_S
            return False
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._poller.register(self._process.stdout.fileno(), zmq.POLLIN)
        return True

    def _give_up(self, now: float) -> None:
        """It hangs, or has failed."""
        self._not_before_s = now + REST_S
        if self._process is not None:
            self._process.kill()
        self._hang_up()

    def _hang_up(self) -> int | None:
        """Be rid of it; what it has ended with, if it has."""
        self._asked_s, self._heard = None, b""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        self._poller.unregister(process.stdout.fileno())
        process.stdout.close()
        process.stdin.close()
        try:
            return process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._ended.append(process)
            return None

    def _reap(self) -> None:
        self._ended = [process for process in self._ended if process.poll() is None]


def _has_nvml() -> bool:
    """Whether it is worth asking: the module is installed, and what it would load can be loaded."""
    if importlib.util.find_spec("pynvml") is None:
        return False
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True
