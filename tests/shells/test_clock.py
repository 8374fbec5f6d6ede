"""What a loop does by the clock."""

from __future__ import annotations

import math
import time

from distpool.scheduler.shells.clock import Alarm, Clock, Every


def test_an_alarm_rings_once() -> None:
    rung: list[float] = []
    alarm = Alarm(rung.append)
    alarm.tick(1e9)
    alarm.at(5.0)
    alarm.by(7.0)
    alarm.tick(4.9)
    assert (rung, alarm.wake_s) == ([], 5.0)
    alarm.tick(5.0)
    alarm.tick(6.0)
    assert (rung, alarm.wake_s) == ([5.0], math.inf)


def test_an_alarm_may_be_set_again_while_it_rings() -> None:
    alarm = Alarm(lambda now: alarm.at(now + 1.0))
    alarm.at(0.0)
    alarm.tick(3.0)
    assert alarm.wake_s == 4.0


def test_what_is_done_again_and_again_while_there_is_a_reason() -> None:
    rung: list[None] = []
    reason: list[int] = []
    every = Every(2.0, lambda: reason, lambda: rung.append(None))
    every.tick(10.0)
    assert (len(rung), every.wake_s) == (0, math.inf)
    reason.append(1)
    for now in (10.0, 11.0, 12.0):
        every.tick(now)
    assert (len(rung), every.wake_s) == (2, 14.0)


def test_a_clock_sleeps_until_the_first_of_them() -> None:
    rung: list[str] = []
    clock = Clock()
    assert clock.sleep_s() == math.inf
    first, second = Alarm(lambda _: rung.append("first")), Alarm(lambda _: rung.append("second"))
    clock.add(first)
    clock.add(second)
    now = time.monotonic()
    first.at(now + 1e3)
    second.at(now - 1.0)
    assert clock.sleep_s() == 0.0
    clock.tick()
    assert rung == ["second"]
    assert 900.0 < clock.sleep_s() < 1e3
