"""Planted bugs in how arrays of a device are kept: each must be caught by an oracle of ``world.py``.

``python -m tests.devices.mutations [NAME...] [--count N]``: where each is caught first, or in how many of N seeds.
"""

from __future__ import annotations

import argparse
import sys

from distpool.scheduler.store import arrivals, ledger, ledger_devices, ledger_places, putting, tickets
from tests.simulation.loop import Violation
from tests.simulation.mutations import Mutation, planted
from tests.simulation.mutations import hunt as hunt_in

from .world import run

SEEDS = 1000

# fmt: off
MUTATIONS = (
    Mutation(
        "import_without_a_pin", arrivals, "Arrival.reading",
        "extent = access.ledger.pin(self.number, access.process)", "extent = access.ledger.locate(self.number)",
        "an array is freed while another process copies it",
        "freed_under_a_reader", 0,
    ),
    Mutation(
        "free_when_it_is_asked_for", tickets, "Tickets._move",
        "if self._bring(number, exported):", "if self._bring(number, exported) or True:",
        "whoever reads the device while another wants the bytes on the host reads what was freed",
        "answered", 0,
    ),
    Mutation(
        "move_under_a_reader", ledger_places, "Places.finish_spilling",
        " and not self._pins(at)", "",
        "an array that somebody copies from the device moves to the host meanwhile, and is freed",
        "freed_under_a_reader", 4,
    ),
    Mutation(
        "give_up_under_a_reader", ledger_devices, "Devices.give_up",
        "if self._pins(at):", "if False:",
        "a worker that ends without room on the host frees what another reads",
        "freed_under_a_reader", 46,
    ),
    Mutation(
        "keep_what_nobody_needs", tickets, "Tickets._look_at",
        "except ObjectGone:\n            pass", "except ObjectGone:\n            return False",
        "device memory fills up with copies that everybody has let go of",
        "nothing_left", 0,
    ),
    Mutation(
        "hold_on_after_reading", arrivals, "Arrival.close",
        "self._access.ledger.drop(self.number, self._access.process)", "pass",
        "an importer keeps the exporter's memory for as long as it lives",
        "nothing_left", 0,
    ),
    Mutation(
        "outlive_the_exporter", ledger, "Ledger.mend",
        "if words[at + PLACE] >> 56 == DEVICE:", "if False:",
        "who wants the bytes of a dead exporter's array waits for ever",
        "answered", 1,
    ),
    Mutation(
        "leave_at_once", tickets, "Tickets.leave",
        "while self.look() or self._exported:", "while False:",
        "a result is gone when its worker retires",
        "kept", 0,
    ),
    Mutation(
        "say_nothing_of_a_full_store", tickets, "Tickets._move",
        "self._access.ledger.no_room(number)", "pass",
        "who wants the bytes when the store is full waits for ever",
        "kept", 25,
    ),
    Mutation(
        "move_it_twice", tickets, "Tickets._move",
        "if number not in self._exported:", "if False:",
        "two threads of a program move one array, and its second place is nobody's",
        "check", 930,
    ),
    Mutation(
        "forget_a_failed_copy", putting, "Putting._bring",
        "self._access.ledger.abandon_spilling(number, self._access.process)", "pass",
        "what could not be copied to the host once can never be moved again",
        "check", 4,
    ),
)
# fmt: on


def hunt(mutation: Mutation, seeds: range) -> tuple[int, Violation] | None:
    """The first seed on which it is caught, and by what."""
    return hunt_in(mutation, seeds, run)


def main(argv: list[str]) -> int:
    """Hunt some or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.devices.mutations")
    parser.add_argument("names", nargs="*")
    names = parser.parse_args(argv).names
    survivors = 0
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        found = hunt(mutation, range(SEEDS))
        survivors += found is None
        print(f"{mutation.name:30} {'SURVIVES' if found is None else f'seed {found[0]}: {found[1]}'}"[:150])
    return survivors


__all__ = ["MUTATIONS", "SEEDS", "hunt", "planted"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
