"""``ObjectRef._on_completed``: programs written for Ray use it, though Ray itself does not document it."""

from __future__ import annotations

import threading
from typing import Any

import distpool
from distpool.exceptions import RayTaskError


@distpool.remote
def halve(x: float) -> float:
    return 1 / x


def test_a_callback_gets_the_value_or_the_exception() -> None:
    results: dict[int, Any] = {}
    called = [threading.Event() for _ in range(3)]

    def note(index: int, result: Any) -> None:
        results[index] = result
        called[index].set()

    refs = [distpool.put("put"), halve.remote(2), halve.remote(0)]
    for index, ref in enumerate(refs):
        ref._on_completed(lambda result, index=index: note(index, result))
    assert all(event.wait(20) for event in called)
    assert (results[0], results[1]) == ("put", 0.5)
    assert isinstance(results[2], RayTaskError)
