"""Which objects of other nodes a node needs: messages in, messages out."""

from __future__ import annotations

from typing import Any

import msgspec

from distpool.scheduler.cores.copies import Copies
from distpool.scheduler.cores.copies_messages import (
    Copied,
    CopyFailed,
    Discard,
    Lend,
    ProcessGone,
    StartPull,
    Stores,
)
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    NODES,
    FarClaim,
    FarDrop,
    FarForget,
    FarHand,
    FarHold,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    SourceForget,
    SourceGone,
    SourceRelease,
    SourceTake,
    SourceTaken,
    Tick,
    WakeAt,
)
from distpool.scheduler.store.ledger_table import INDEX_BITS, SERIAL_BITS

ME, B, C = 1, 2, 3
LIMITS = msgspec.structs.replace(DEFAULTS, pulls_max=2)


def at(store: int, serial: int = 1) -> int:
    return store << SERIAL_BITS + INDEX_BITS | serial << INDEX_BITS


class Node:
    """A core, with the stores of B and C in its cluster."""

    def __init__(self, *stores: int) -> None:
        self.used: set[int] = set()
        self.core = Copies(LIMITS, self.used.__contains__)
        self.now = 0.0
        self("shell", Stores(stores or (B, C), ME))

    def __call__(self, sender: str, message: Any, *, at_s: float | None = None) -> list[tuple[str, Any]]:
        self.now = self.now if at_s is None else at_s
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, what) for to, what in out if type(what) is not WakeAt]

    def pulled(self, number: int, local: int = 99) -> list[tuple[str, Any]]:
        return self("shell", Copied(number, local))


def test_an_object_is_pulled_once_whoever_needs_it_and_kept_at_its_source_meanwhile() -> None:
    node, a = Node(), at(B)
    assert node("process:4", FarHold((a,))) == [("store:2", SourceTake((a,)))]
    assert node("process:4", Fetch(1, (a,))) == [("shell", StartPull(a))]
    assert node("process:5", FarHold((a,))) == []
    assert node("process:5", Fetch(1, (a,))) == []
    assert node.pulled(a) == [
        ("shell", Lend(99, 4)),
        ("process:4", Fetched(1, (99,))),
        ("shell", Lend(99, 5)),
        ("process:5", Fetched(1, (99,))),
    ]
    assert node("process:4", Fetch(2, (a,))) == [("shell", Lend(99, 4)), ("process:4", Fetched(2, (99,)))]
    assert node("process:4", FarDrop((a,))) == []
    assert node("process:5", FarDrop((a,))) == [("store:2", SourceRelease((a,)))]


def test_a_copy_that_nobody_uses_goes_after_a_while() -> None:
    node, a = Node(), at(B)
    node("process:4", Fetch(1, (a,)))
    node.pulled(a)
    node.used.add(99)
    assert node("shell", Tick(), at_s=LIMITS.copy_linger_s) == [], "somebody looks at it"
    node.used.clear()
    assert node("shell", Tick(), at_s=2 * LIMITS.copy_linger_s) == [("shell", Discard(99))]
    assert not node.core.objects


def test_a_request_is_answered_when_all_is_there_in_its_order() -> None:
    node, a, b = Node(), at(B), at(C)
    assert node("process:4", Fetch(1, (a, b))) == [("shell", StartPull(a)), ("shell", StartPull(b))]
    assert node.pulled(b, 20) == []
    assert node.pulled(a, 10)[-1] == ("process:4", Fetched(1, (10, 20)))


def test_pulls_wait_for_each_other() -> None:
    node = Node()
    numbers = [at(B, serial) for serial in range(1, 5)]
    started = [number for number in numbers if node("process:4", Fetch(number, (number,)))]
    assert started == numbers[: LIMITS.pulls_max]
    assert node.pulled(numbers[1], 7)[0] == ("shell", Lend(7, 4))
    assert node("shell", CopyFailed(numbers[0], "full", False)) == [
        ("process:4", Fetched(numbers[0], (), "full", False)),
        ("shell", StartPull(numbers[3])),
    ]


def test_what_was_put_for_a_process_is_taken_once_and_said_again_until_it_was_heard() -> None:
    node, a = Node(), at(B)
    take = SourceTake((a,), 7, 1)
    assert node("process:4", FarClaim((a,), 7, B, True)) == [("store:2", take), ("shell", StartPull(a))]
    assert node.core.held(B) == (a,)
    assert node.core.unheard(B) == [take]
    assert node("process:4", FarDrop((a,))) == [("store:2", SourceRelease((a,)))]
    assert node.core.unheard(B) == [take, SourceRelease((a,))], "on a new link it is taken, and not kept"
    assert node("store:2", SourceTaken(1)) == []
    assert node.core.unheard(B) == []


def test_what_is_handed_on_within_the_node_is_needed_all_the_way() -> None:
    node, a = Node(), at(B)
    node("process:4", FarHold((a,)))
    assert node("process:4", FarHand((a,), 5)) == []
    assert node("process:4", FarDrop((a,))) == [], "it is on its way"
    assert node("process:5", FarClaim((a,), 4)) == []
    assert node("process:5", FarDrop((a,))) == [("store:2", SourceRelease((a,)))]
    assert not node.core.objects


def test_the_claim_may_come_first() -> None:
    node, a = Node(), at(B)
    node("process:4", FarHold((a,)))
    assert node("process:5", FarClaim((a,), 4)) == []
    assert node("process:5", FarDrop((a,))) == []
    assert node("process:4", FarHand((a,), 5)) == []
    assert node("process:4", FarDrop((a,))) == [("store:2", SourceRelease((a,)))]
    assert not node.core.objects


def test_a_claim_of_what_a_dead_process_could_not_say_is_forgotten_in_time() -> None:
    node, a = Node(), at(B)
    node("process:4", FarHold((a,)))
    node("process:5", FarClaim((a,), 4))
    node("shell", ProcessGone(4))
    assert node("process:5", FarDrop((a,))) == [("store:2", SourceRelease((a,)))]
    node("shell", Tick(), at_s=LIMITS.transit_s)
    assert not node.core.objects


def test_last_words_of_a_dead_process_change_nothing_but_what_it_has_handed_on() -> None:
    node, a, b = Node(), at(B), at(C)
    node("shell", ProcessGone(4))
    assert node("process:4", FarHold((a,))) == []
    assert node("process:4", Fetch(1, (a,))) == []
    assert node("process:4", FarHand((b,), 5)) == [("store:3", SourceTake((b,)))]
    assert node("shell", Tick(), at_s=LIMITS.transit_s) == [("store:3", SourceRelease((b,)))]
    assert not node.core.objects


def test_what_goes_to_another_node_is_kept_until_it_must_be_there_or_its_end_is_known() -> None:
    node, a = Node(), at(B)
    node("process:4", FarHold((a,)))
    node("process:4", FarHand((a,), NODES | C))
    assert node("process:4", FarDrop((a,))) == []
    node("shell", ProcessGone(4))
    assert node("store:3", SourceForget(4)) == []
    assert node("shell", Tick(), at_s=LIMITS.copy_linger_s) == [("store:2", SourceRelease((a,)))]


def test_a_process_says_that_anothers_worker_is_dead_and_read() -> None:
    node = Node()
    assert node("process:4", FarForget(9, B)) == [("store:2", SourceForget(9))]
    assert node("process:4", FarForget(9, 7)) == [], "there is no such node any more"


def test_what_is_gone_is_said_to_who_waits_and_to_who_asks() -> None:
    node, a, b = Node(), at(B), at(C)
    node("process:4", FarHold((a, b)))
    node("process:4", Fetch(1, (a,)))
    assert node("store:2", SourceGone((a,))) == [], "its pull tells, for it may come from elsewhere"
    assert node("shell", CopyFailed(a, "gone", True)) == [("process:4", Fetched(1, (), "gone", True))]
    assert node("process:4", FarLook(2, (a, b))) == [("process:4", FarLooked(2, (a,)))]
    assert node("process:4", Fetch(3, (b, a)))[-1][1].is_lost
    assert node("process:4", FarDrop((a, b))) == [("store:3", SourceRelease((b,)))]


def test_a_node_that_is_gone_takes_along_what_is_not_here() -> None:
    node, a, b = Node(), at(B, 1), at(B, 2)
    node("process:4", FarHold((a, b)))
    node("process:4", Fetch(1, (a,)))
    node.pulled(a)
    node("shell", Stores((C,), ME))
    assert node("process:4", FarLook(2, (a, b))) == [("process:4", FarLooked(2, (b,), (a,)))]
    assert node("process:4", Fetch(3, (a,)))[-1] == ("process:4", Fetched(3, (99,)))


def test_a_node_that_we_have_yet_to_hear_of_is_waited_for() -> None:
    node, a = Node(B), at(C)
    assert node("process:4", FarClaim((a,), 7, C, True)) == [("store:3", SourceTake((a,), 7, 1))]
    assert node("process:4", Fetch(1, (a,))) == []
    assert node("shell", Stores((B, C), ME)) == [("shell", StartPull(a))]
    assert node.core.unheard(C) == [SourceTake((a,), 7, 1)], "which is said as it is dialled"


def test_but_not_for_ever() -> None:
    node, a = Node(B), at(C)
    node("process:4", FarHold((a,)))
    node("process:4", Fetch(1, (a,)))
    assert node("shell", Tick(), at_s=LIMITS.node_silent_s) == [("shell", StartPull(a))]
    assert node.core.is_lost(at(C, 5))


def test_who_dies_waits_for_nothing_and_refers_to_nothing() -> None:
    node, a = Node(), at(B)
    node("process:4", FarHold((a,)))
    node("process:4", Fetch(1, (a,)))
    assert node("shell", ProcessGone(4)) == [("store:2", SourceRelease((a,)))]
    assert node.pulled(a) == []
    assert node("shell", Tick(), at_s=LIMITS.copy_linger_s) == [("shell", Discard(99))]


def test_what_was_said_to_an_agent_before_this_one_does_no_harm() -> None:
    node, a = Node(), at(B)
    assert node("process:4", FarDrop((a,))) == []
    assert not node.core.objects
