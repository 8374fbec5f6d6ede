"""``distpool.kv``: small values that all programs of a cluster share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import distpool
from distpool import kv
from distpool.errors import ClusterError
from distpool.scheduler import client
from distpool.scheduler.messages import KeyAnswer

pytestmark = pytest.mark.usefixtures("session")
NAMESPACES = (kv.NAMESPACE, "one", "one more")


@pytest.fixture(autouse=True)
def nothing_kept(session: client.Session) -> Iterator[None]:
    yield
    for namespace in NAMESPACES:
        for key in kv.keys(namespace=namespace):
            kv.delete(key, namespace=namespace)


def test_put_get_delete_and_list() -> None:
    assert kv.get("a") is None
    kv.put("a", b"1")
    kv.put("a", bytearray(b"2"))
    kv.put("dir/x", b"")
    kv.put("dir/y", memoryview(b"3"))
    assert (kv.get("a"), kv.get("dir/x"), kv.get("dir/y")) == (b"2", b"", b"3")
    assert kv.keys("dir/") == ["dir/x", "dir/y"]
    assert kv.keys() == ["a", "dir/x", "dir/y"]
    assert kv.delete("a")
    assert not kv.delete("a")
    assert kv.get("a") is None


def test_namespaces_are_apart() -> None:
    kv.put("k", b"1", namespace="one")
    kv.put("k", b"2", namespace="one more")
    assert kv.get("k") is None
    assert kv.get("k", namespace="one") == b"1"
    assert kv.keys(namespace="one") == ["k"]
    assert kv.delete("k", namespace="one")
    assert kv.get("k", namespace="one more") == b"2"


def test_compare_and_set() -> None:
    assert not kv.compare_and_set("k", b"", b"1"), "it is not there, which is not the same as empty"
    assert kv.compare_and_set("k", None, b"1")
    assert not kv.compare_and_set("k", None, b"2")
    assert not kv.compare_and_set("k", b"2", b"3")
    assert kv.compare_and_set("k", b"1", b"2")
    assert kv.get("k") == b"2"


def test_of_many_tasks_that_try_one_succeeds_each_time() -> None:
    @distpool.remote
    def add(times: int) -> None:
        for _ in range(times):
            while True:
                held = kv.get("count")
                if kv.compare_and_set("count", held, b"%d" % (int(held or b"0") + 1)):
                    break

    distpool.get([add.remote(10) for _ in range(4)])
    assert kv.get("count") == b"40"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: kv.get(""), ValueError, "at least one character"),
        (lambda: kv.put("k" * 1000, b""), ValueError, "a key of 1000 characters is too long"),
        (lambda: kv.get("k", namespace="a/b"), ValueError, "no '/': 'a/b'"),
        (lambda: kv.keys(namespace=""), ValueError, "a namespace has at least one character"),
        (lambda: kv.put("k", "text"), TypeError, "made of bytes, not str: encode it"),  # type: ignore[arg-type]
        (lambda: kv.get(1), TypeError, "a key is a string, not int"),  # type: ignore[arg-type]
        (lambda: kv.put("k", bytes(1 << 20 | 1)), ValueError, "a value of 1048577 bytes is too large"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


def test_what_the_head_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps only so much: tests/cores says how much."""
    full = KeyAnswer(1, None, refusal="the cluster's head keeps 3 bytes, and at most 3")
    monkeypatch.setattr(client.session(), "ask", lambda *_: full)
    with pytest.raises(ClusterError, match="keeps 3 bytes, and at most 3"):
        kv.put("k", b"1")


def test_it_is_there_without_an_import_of_its_own() -> None:
    assert distpool.kv is kv
