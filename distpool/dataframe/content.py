"""Immutable values that are named by their content.

Expressions and plan nodes derive from `Content`: two that say the same have the same name, are equal, and so are
computed once. The name is a digest that is made when first asked for, from the names of the parts, so it costs the
same however deep the tree is. It is not a pickle: what has no stable text (a frame in memory) brings a token of its
own.
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cached_property
from typing import Any

_NAME_BYTES = 12


class Content:
    """The base: subclasses are frozen dataclasses with `eq=False`, so that equality is that of the names."""

    @cached_property
    def content_name(self) -> bytes:
        """The digest of the type and of every field that takes part in comparisons."""
        digest = hashlib.blake2b(type(self).__name__.encode(), digest_size=_NAME_BYTES)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if field.compare:
                _feed(digest, getattr(self, field.name))
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Content) and self.content_name == other.content_name)

    def __hash__(self) -> int:
        return hash(self.content_name)


def _feed(digest: Any, value: object) -> None:
    if isinstance(value, Content):
        digest.update(value.content_name)
    elif isinstance(value, tuple):
        digest.update(b"(%d" % len(value))
        for item in value:
            _feed(digest, item)
    elif isinstance(value, bytes):
        digest.update(b"bytes %d:" % len(value))
        digest.update(value)
    else:
        # The type is part of it: 1, 1.0 and True are equal, and are not the same literal.
        digest.update(f"{type(value).__name__}:{value!r};".encode("utf-8", "surrogatepass"))
