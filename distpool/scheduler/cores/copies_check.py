"""The invariants of Copies, asserted after every step by tests and the simulator; too slow for the real loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.messages import NODES

if TYPE_CHECKING:
    from distpool.scheduler.cores.copies import Copies


def check_copies(core: Copies) -> None:
    """Assert every invariant."""
    coming = 0
    for number, known in core.objects.items():
        assert known.number == number
        assert not (known.copy and known.is_coming)
        assert known.is_held == (known.is_needed and not known.lost), known
        assert all(count > 0 for count in known.refs.values()), known
        assert all(known.transit.values()), "a count of zero is none"
        for (to, via), count in known.transit.items():
            if count < 0 or (isinstance(to, int) and to >= NODES):
                assert ("transit", number, to, via) in core.deadlines.at_s, (
                    "who claims or is to claim may not"
                )
        assert not known.waiting or known.is_coming or known.copy, "somebody waits for what does not come"
        assert known.refs or known.transit or known.waiting or known.is_coming or known.copy, (
            "nobody needs it"
        )
        if known.copy and not (known.refs or known.transit or known.waiting):
            assert ("linger", number, 0, 0) in core.deadlines.at_s, "a copy that nobody looks at again"
        coming += known.is_coming
    assert coming == core.pulls.coming + len(core.pulls.queue)
    for asked in core.requests.values():
        assert asked.missing
        assert all(core.objects[number].is_coming for number in asked.missing)
        assert all(asked in core.objects[number].waiting for number in asked.ids)
