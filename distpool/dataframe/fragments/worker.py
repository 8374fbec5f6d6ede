"""What a worker does with a fragment: read what it is fed, run its plan by Polars, split and pack what it gives."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distpool.dataframe.fragments.pieces import ByRange, Fed, Fragment, Split
from distpool.dataframe.plan import Node, Scan, walk


@dataclass(frozen=True)
class Order:
    """A fragment on its way: its body, how many buffers each input has, and its split. The buffers come beside it."""

    body: Node
    buffers: tuple[int, ...]
    split: Split


def order_of(fragment: Fragment) -> Order:
    """Give what travels of a fragment."""
    return Order(fragment.body, tuple(len(pieces) for pieces in fragment.inputs), fragment.split)


def run_fragment(order: Order, *buffers: Any) -> tuple[Any, ...]:
    """Run a fragment; give the rows and bytes of each piece, and the pieces."""
    if "polars" not in sys.modules:
        # There is a worker for each core already.
        os.environ.setdefault("POLARS_MAX_THREADS", "1")
    return run(order, buffers)


def run(order: Order, buffers: Sequence[Any]) -> tuple[Any, ...]:
    """Do the same, with as many threads as Polars takes."""
    from distpool.dataframe import polars_route
    from distpool.dataframe.fragments import splitting

    _check_files(order.body)
    fed, at = [], 0
    for count in order.buffers:
        fed.append(splitting.unpack(buffers[at : at + count]) if count else None)
        at += count
    made = {
        node.content_name: fed[node.number].lazy()  # type: ignore[union-attr]
        for node in walk(order.body)
        if isinstance(node, Fed)
    }
    rows = polars_route.rows_of(order.body, made)
    bounds = fed[order.split.bounds] if isinstance(order.split, ByRange) else None
    parts = splitting.split(rows, order.split, bounds)
    packed = [splitting.pack(part) for part in parts]
    report = [(part.height, buffer.size) for part, buffer in zip(parts, packed, strict=True)]
    return (report, *packed)


def _check_files(body: Node) -> None:
    """Files must be here, and what they were when they were cut."""
    for node in walk(body):
        if isinstance(node, Scan):
            for path, (size, _) in zip(node.paths, node.stamps, strict=True):
                try:
                    now = os.stat(path).st_size
                except FileNotFoundError as error:
                    raise FileNotFoundError(
                        f"{path} is not there on {socket.gethostname()}: files are read by the machine that runs"
                        " a fragment, so they must lie where all reach them by one path"
                    ) from error
                if now != size:
                    raise OSError(
                        f"{path} has changed while it was read, from {size} bytes to {now}: read it again"
                    )
