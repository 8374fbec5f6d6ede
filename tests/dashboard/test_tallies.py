"""What a worker adds up and draws of its trace: by value, against plain counting."""

from __future__ import annotations

import math
from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.shells.tallies import FOLD_MAX, NAMES_MAX, OTHERS, Ledger, bars_of, bucket_of, newest
from distpool.scheduler.shells.traces import MARKS_MAX, Event, Mark


def ring_of(events: list[Event], maxlen: int = MARKS_MAX) -> deque[Mark]:
    """As the run loops note them: one by one, each with its start."""
    ring: deque[Mark] = deque(maxlen=maxlen)
    for name, start_s, end_s, failed in events:
        if failed:
            ring.append((name, start_s, end_s, True))
        else:
            ring.extend((-start_s, end_s, name))
    return ring


def calls(count: int, name: str = "f", begin_s: float = 1.0, each_s: float = 0.001) -> list[Event]:
    return [(name, begin_s + n * each_s, begin_s + (n + 1) * each_s, False) for n in range(count)]


def test_a_bucket_is_a_power_of_two_microseconds() -> None:
    assert [bucket_of(s) for s in (0.0, 0.4e-6, 1e-6, 1.9e-6, 2.1e-6, 0.001, 1.0)] == [0, 0, 1, 1, 2, 10, 20]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(1e-6, 2.0), st.booleans()), min_size=1, max_size=60)
)
def test_what_is_folded_bit_by_bit_is_what_was_run(runs: list[tuple[str, float, bool]]) -> None:
    ledger, ring, now_s = Ledger(), deque[Mark](maxlen=MARKS_MAX), 1.0
    for name, took_s, failed in runs:
        ring.extend(ring_of([(name, now_s, now_s + took_s, failed)]))
        now_s += took_s
        ledger.fold(ring, None)
    told = {tally.name: (tally.done, tally.failed) for tally in ledger.tallies()}
    done, bad = Counter(n for n, _, f in runs if not f), Counter(n for n, _, f in runs if f)
    assert told == {name: (done[name], bad[name]) for name in {n for n, _, _ in runs}}
    spent = sum(tally.total_s for tally in ledger.tallies())
    assert math.isclose(spent, sum(took for _, took, _ in runs), rel_tol=1e-6)
    assert not ledger.sampled


def test_the_calls_that_are_remembered_stand_for_those_that_are_not() -> None:
    ledger = Ledger()
    ring = ring_of(calls(3 * FOLD_MAX, "f") + calls(FOLD_MAX // 2, "g", 100.0))
    ledger.fold(ring, 1_000_000)
    told = {tally.name: tally.done for tally in ledger.tallies()}
    assert ledger.sampled
    assert round(sum(told.values())) == 1_000_000, "the worker has counted them all"
    assert told["f"] == told["g"] == 500_000, "as the latest are"
    ledger.fold(ring, 1_000_000)
    assert {tally.name: tally.done for tally in ledger.tallies()} == told, "nothing has ended since"


def test_a_ring_that_has_run_over_is_a_sample_and_one_that_has_not_is_whole() -> None:
    ledger = Ledger()
    ledger.fold(ring_of(calls(100), maxlen=30), 100)
    assert ledger.sampled
    assert round(ledger.tallies()[0].done) == 100
    ring = ring_of(calls(100))
    events, more = newest(ring, 0.0, 1_000)
    assert (len(events), more) == (100, False)
    events, more = newest(ring, events[89][2], 50)
    assert (len(events), more) == (10, False)


def test_names_are_bounded() -> None:
    ledger = Ledger()
    ledger.add([(f"f{n}", 1.0, 2.0, False) for n in range(NAMES_MAX + 20)])
    told = {tally.name: tally.done for tally in ledger.tallies()}
    assert len(told) == NAMES_MAX + 1
    assert told[OTHERS] == 20


def test_each_asker_has_its_own_since() -> None:
    ledger, ring = Ledger(), ring_of(calls(3))
    assert [len(ledger.since(ring, who, 2.0)[0]) for who in ("x", "y", "x")] == [3, 3, 0]
    ring.extend(ring_of(calls(2, begin_s=3.0)))
    assert [len(ledger.since(ring, who, 4.0)[0]) for who in ("y", "x", "y")] == [2, 2, 0]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 9.9), st.floats(1e-6, 3.0)), max_size=80),
    st.integers(1, 30),
)
def test_bars_are_few_and_lose_no_call(runs: list[tuple[str, float, float]], most: int) -> None:
    events = sorted(((n, s, min(10.0, s + d), False) for n, s, d in runs), key=lambda event: event[2])
    names, bars = bars_of(events, 0.0, 10.0, most, zero_s=100.0)
    assert len(bars) <= most
    assert all(0 <= bar.name < len(names) for bar in bars)
    assert all(100.0 <= bar.start_s <= bar.end_s <= 110.0 for bar in bars)
    assert [bar.end_s for bar in bars] == sorted(bar.end_s for bar in bars)
    if most >= 2 * len(events):
        assert sum(bar.calls for bar in bars) == len(events)
        assert math.isclose(sum(bar.busy_s for bar in bars), sum(e[2] - e[1] for e in events), abs_tol=1e-6)


def test_a_long_call_is_a_bar_of_its_own_and_short_ones_are_one() -> None:
    events = [*calls(500, "short", 1.0), ("long", 1.5, 6.0, False), ("short", 6.0, 6.001, True)]
    names, bars = bars_of(events, 0.0, 10.0, 20)
    told = [(names[bar.name], bar.calls, bar.failed) for bar in bars]
    assert told == [("short", 500, 0), ("long", 1, 0), ("short", 1, 1)]
