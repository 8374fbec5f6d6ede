"""``distpool timeline``: what the workers have run of late, as a file for Perfetto; see ``distpool.timelines``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.timelines import events_of

__all__ = ["run"]


def run(words: Sequence[str]) -> int:
    """``distpool timeline``."""
    parser = Parser(
        "timeline",
        "Write what the workers have run of late, for https://ui.perfetto.dev, or chrome://tracing.",
    )
    parser.add_argument("file", nargs="?", default="timeline.json", help="where to (timeline.json)")
    options = parser.parse_args(words)
    with asker(options) as cluster:
        surveyed = cluster.survey("timeline", workers=True, owners=False)
    events = list(events_of(surveyed))
    with open(options.file, "w") as file:
        json.dump(events, file)
    calls = sum(event["ph"] == "X" for event in events)
    print(f"{calls} call{'s' * (calls != 1)} in {options.file}")
    say_missing("timeline", missing(surveyed))
    return 0
