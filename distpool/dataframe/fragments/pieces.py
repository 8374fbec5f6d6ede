"""Fragments and pieces: a plan cut so that each cut part can run anywhere. Values, without any library in them.

::

    Fragment  body: a plan            ── run ──►  Piece 0, Piece 1, ...     one, or as many as its split says
                └─ Fed(0), Fed(1)...              rows in the object store of some node, behind a reference
    inputs:  pieces for Fed(0), for Fed(1), ...   those of one number are one after the other

A fragment is named by what it does and by the names of the pieces that it is fed, so its name says how its rows come
about, down to the files. Sizes are beside the point: they do not change what a fragment is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from distpool.dataframe.content import Content
from distpool.dataframe.expressions import Expr
from distpool.dataframe.plan import Memory, Node, walk


@dataclass(frozen=True, eq=False)
class Fed(Node):
    """The rows that a fragment is given as its input of this number."""

    number: int
    names: tuple[str, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those of the fragment that made them."""
        return self.names


@dataclass(frozen=True, eq=False)
class Piece(Content):
    """A part of what a fragment has made. `ref` is where it is, and keeps it; with the last piece it goes."""

    maker: bytes
    part: int
    rows: int
    bytes_: int
    ref: Any = None

    @cached_property
    def content_name(self) -> bytes:
        """Of the fragment's name and the part; not of where it is."""
        return hashlib.blake2b(self.maker + b"%d" % self.part, digest_size=12).digest()


@dataclass(frozen=True, eq=False)
class ByHash(Content):
    """Rows with equal keys go to the same piece, and keep their order there."""

    keys: tuple[str, ...]
    count: int


@dataclass(frozen=True, eq=False)
class ByRange(Content):
    """Rows that are sorted go to pieces by the bounds in an input: all of one piece come before those of the next."""

    by: tuple[Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: bool
    bounds: int
    count: int


Split = ByHash | ByRange | None


@dataclass(frozen=True, eq=False)
class Fragment(Content):
    """A plan over files and pieces, and into which pieces its rows go.

    `rows` is how many it gives, where that is known; `bytes_` is about how many it reads.
    """

    body: Node
    inputs: tuple[tuple[Piece, ...], ...] = ()
    split: Split = None
    rows: int | None = None
    bytes_: int = 0

    @cached_property
    def content_name(self) -> bytes:
        """Of what it does and to what."""
        return _Named(self.body, self.inputs, self.split).content_name

    @property
    def count(self) -> int:
        """How many pieces it gives."""
        return self.split.count if self.split else 1

    @cached_property
    def is_here(self) -> bool:
        """Whether it reads rows of this process's memory, and so can run here only."""
        return any(isinstance(node, Memory) for node in walk(self.body))

    @property
    def is_made(self) -> bool:
        """Whether it only gives what it is fed: nothing is left to do."""
        return isinstance(self.body, Fed)

    def then(self, step: Callable[[Node], Node], *, rows: int | None = None) -> Fragment:
        """Give the fragment that does something more with its rows; it gives so many, if that is known."""
        return replace(self, body=step(self.body), rows=rows)

    def beside(self, names: tuple[str, ...], pieces: Sequence[Piece]) -> tuple[Fragment, Fed]:
        """Give the fragment with one more input, and that."""
        grown = replace(
            self, inputs=(*self.inputs, tuple(pieces)), bytes_=self.bytes_ + sum(one.bytes_ for one in pieces)
        )
        return grown, Fed(len(self.inputs), names)


@dataclass(frozen=True, eq=False)
class _Named(Content):
    body: Node
    inputs: tuple[tuple[Piece, ...], ...]
    split: Split


def fed(names: tuple[str, ...], pieces: Sequence[Piece]) -> Fragment:
    """Give the fragment that is what some pieces are, one after the other."""
    kept = tuple(piece for piece in pieces if piece.rows) or tuple(pieces[:1])
    size = sum(piece.bytes_ for piece in kept)
    return Fragment(Fed(0, names), (kept,), rows=sum(piece.rows for piece in kept), bytes_=size)


class Stage:
    """Fragments that need nothing of each other. Whoever runs them takes them out: they go when they are done."""

    def __init__(self, fragments: Sequence[Fragment]) -> None:
        self.fragments = list(fragments)

    def __repr__(self) -> str:
        return f"Stage({self.fragments!r})"


Spread = list[Fragment]
"""The rows of a plan node: those of its fragments, one after the other."""
