"""What must be known of kernels where the library that runs them is not imported."""

import re

# Aggregates whose value depends on the order of the rows.
ORDERED_AGGREGATES = frozenset(("first", "last"))


def is_plain_pattern(pattern: str) -> bool:
    """Say whether a regular expression means the same to Python, RE2 and Rust: words, spaces, `.` and `.*`."""
    return re.fullmatch(r"\^?(?:[A-Za-z0-9 _,;:#@%&=<>!\"'/~-]|\.[*+]?)*", pattern) is not None
