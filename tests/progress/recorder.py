"""A bar that keeps what it is given, and how to wait for what it ought to be given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from distpool.progress_bars import Reading

WAIT_S = 20.0


class Recorder:
    """Stands where a bar would."""

    interval_s = 0.01

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.finished = threading.Event()

    def draw(self, reading: Reading) -> None:
        self.readings.append(reading)

    def finish(self, reading: Reading) -> None:
        self.readings.append(reading)
        self.finished.set()

    @property
    def done(self) -> list[int]:
        """How many were done, at each reading."""
        return [reading.done for reading in self.readings]

    def wait_last(self) -> Reading:
        """The last reading of all."""
        assert self.finished.wait(WAIT_S), "it was never finished"
        return self.readings[-1]

    def wait_until(self, condition: Callable[[Reading], bool]) -> Reading:
        """The first reading of which this is true."""
        until = time.monotonic() + WAIT_S
        while True:
            for reading in self.readings:
                if condition(reading):
                    return reading
            assert time.monotonic() < until, f"not among {self.readings[-5:]}"
            time.sleep(0.005)
