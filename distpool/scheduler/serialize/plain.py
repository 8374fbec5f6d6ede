"""Which values need no pickle at all: those that msgpack carries natively and gives back equal, of the same type.

Exact types only: a subclass (an IntEnum, a str with attributes) would come back as its base.
"""

from __future__ import annotations

from typing import Any

#: Exact types whose *every* value is plain.
ALWAYS_PLAIN = frozenset({bool, float, type(None)})
#: Exact types that can be plain: all values of those above, an int within 64 bits, a short str that
#: UTF-8 can encode.
PLAIN_TYPES = ALWAYS_PLAIN | {int, str}
#: A longer str is pickled, so that it may go into the store.
STR_CHARS_MAX = 16 << 10
#: The ints that are plain: INT_MIN <= value <= INT_MAX.
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def is_plain(value: Any) -> bool:
    """Whether ``value`` may travel natively in msgpack: None, bool, float, 64-bit int, short encodable str."""
    kind = type(value)
    if kind is int:
        # Constants, not INT_MIN and INT_MAX: they cost nothing to look up.
        return bool(-0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF)
    if kind is str:
        # An ASCII str knows that it is one, which is far cheaper than to encode it.
        return len(value) <= STR_CHARS_MAX and (value.isascii() or _is_encodable(value))
    return kind in ALWAYS_PLAIN


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as in file names that are not UTF-8
        return False
    return True
