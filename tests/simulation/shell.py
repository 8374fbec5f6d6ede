"""What the three cores' shells have in common: their own clock, one pending Tick, ``check()`` after each step."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any

from distpool.scheduler.messages import Tick, WakeAt

from .loop import Event, Loop, Violation
from .network import End
from .render import line

if TYPE_CHECKING:
    from .world import World


class Shell:
    """Drives one core. Subclasses say where its messages go."""

    def __init__(self, world: World, name: str, machine: str, core: Any) -> None:
        self.world = world
        self.name = name
        self.machine = machine
        self.core = core
        self.alive = True
        self.links: dict[str, End] = {}
        self.skew_s = 0.0  # a clock that jumps forward (a suspended machine) is ahead of the world's
        self.wake_s = math.inf
        self.wake: Event | None = None
        self.ticks = 0

    @property
    def now(self) -> float:
        return self.world.loop.now + self.skew_s

    def hear(self, sender: str, message: Any) -> None:
        if not self.alive:
            return
        try:
            outputs = self.core.receive(sender, message, self.now)
            if self.world.checking:
                self.core.check()
        except Violation:
            raise
        except AssertionError as error:
            assertion = traceback.extract_tb(error.__traceback__)[-1].line
            raise Violation(
                "check", f"{self.name} after {message!r} from {sender}: {error} ({assertion})"
            ) from error
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{self.name} at {message!r} from {sender}: {error!r} ({where.name}: {where.line})"
            raise Violation("no_exception", text) from error
        for address, out in outputs:
            if address == "timer":
                self._wake_at(out)
            else:
                self.dispatch(address, out)

    def dispatch(self, address: str, message: Any) -> None:
        raise NotImplementedError

    def trace_local(self, sender: str, receiver: str, message: Any) -> None:
        if self.world.trace:
            self.world.trace(line(self.world.loop.now, sender, receiver, message))

    def _wake_at(self, message: WakeAt) -> None:
        """As the real shells do: only the earliest Tick that was asked for is kept."""
        if message.at_s < self.wake_s:
            self.world.loop.cancel(self.wake)
            self.wake_s = message.at_s
            self.wake = self.world.loop.at(message.at_s - self.skew_s, self._tick)

    def _tick(self) -> None:
        if self.alive:
            self.wake_s, self.wake = math.inf, None
            self.ticks += 1
            self.hear("timer", Tick())

    def jump(self, by_s: float) -> None:
        """The clock jumps forward: what was to be done meanwhile is due at once."""
        self.skew_s += by_s
        if self.wake is not None:
            Loop.cancel(self.wake)
            self.wake = self.world.loop.at(self.wake_s - self.skew_s, self._tick)

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self.world.network.died(self)
