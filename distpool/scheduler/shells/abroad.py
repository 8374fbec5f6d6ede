"""What an owner says to a worker on another node, which does not see the store of the owner's: everything goes along.

::

    Setup, Execute ── of blobs that may name objects ──► parcels ──► frames: each ends with the task that takes it over
                                                                     BATCH_BYTES_MAX

It stands in until objects move from node to node by themselves: an argument that many tasks share goes with each. What
cannot be sent (its data is gone, it is more than a message holds) fails where it is loaded, so it is the error of the
call that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from distpool.scheduler.messages import Execute, Setup, encode
from distpool.scheduler.serialize import stored
from distpool.scheduler.shells.preparation import contained, contained_setup

_BRIEF = bytes([stored.BRIEF_MARK])
#: A frame ends with the task that takes it over this.
BATCH_BYTES_MAX = 64 << 20


def node_of(lease: str) -> str:
    """The node of a lease's worker, from the lease's name: NODE.INCARNATION.NUMBER."""
    return lease.rsplit(".", 2)[0]


def frames(message: Any, *, fetches: bool) -> Iterator[bytes]:
    """The message as frames for a worker that has no part in this node's store.

    ``fetches``: it can have what lies here brought to its own node.
    """
    if fetches:
        yield encode(_without_brief(message) if type(message) is Execute else message)
        return
    match message:
        case Setup(blob=blob) if blob:  # whoever borrows an actor has none for it
            yield encode(msgspec.structs.replace(message, blob=contained_setup(blob)))
        case Execute():
            yield from map(encode, _batches(message))
        case _:
            yield encode(message)


def _without_brief(message: Execute) -> Execute:
    """What is copied through this node's memory goes in the message."""
    payloads = message.payloads
    if any(map(_is_brief, payloads)):
        payloads = [_contained(payload)[0] if _is_brief(payload) else payload for payload in payloads]
        message = msgspec.structs.replace(message, payloads=payloads)
    return message


def _is_brief(payload: Any) -> bool:
    if type(payload) is dict:
        payload = payload["a"]
    return type(payload) is bytes and payload[:1] == _BRIEF


def _contained(payload: Any) -> tuple[Any, int]:
    """A payload that needs no store to be loaded, and how many bytes that is."""
    if type(payload) is bytes:
        payload = contained(payload)
        return payload, len(payload)
    if type(payload) is dict:  # see ``remote_calls``
        rest, weight = _contained(payload["a"])
        values = [_contained(value) for value in payload.get("v", ())]
        weight += sum([weight for _, weight in values])
        return {**payload, "a": rest, "v": [value for value, _ in values]}, weight
    return payload, 0


def _batches(message: Execute) -> Iterator[Execute]:
    """Consecutive parts of a batch, in each the functions that are new to the worker there."""
    start = 0
    unsent = dict(message.blobs)
    while start < len(message.functions):
        end, payloads, size = start, [], 0
        while end < len(message.functions) and size < BATCH_BYTES_MAX:
            payload, weight = _contained(message.payloads[end])
            size += weight
            payloads.append(payload)
            end += 1
        functions = message.functions[start:end]
        blobs = {}
        for number in functions:
            if number in unsent and number not in blobs:
                # A function that is loaded for each call is kept for one batch only.
                blobs[number] = contained(unsent[number] if number < 0 else unsent.pop(number))
        yield msgspec.structs.replace(
            message,
            first=message.first + start,
            functions=functions,
            payloads=payloads,
            blobs=blobs,
            numbers=message.numbers[start:end],
            forget=message.forget if not start else (),
        )
        start = end
