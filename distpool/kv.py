"""Small values that all programs of a cluster share, and that outlive them: ``distpool.kv``.

::

    kv.put("best", b"0.93")                              any program, any node
    kv.get("best")                    ─► b"0.93"
    kv.compare_and_set("best", b"0.93", b"0.95")         True for one of many that try
    kv.keys("run-7/")                 ─► ["run-7/a", "run-7/b"]

The cluster's head keeps them, one after the other: whoever has read a value reads it or a later one. In a cluster that
``distpool start --head`` has begun, a change is on the head's disk before the call returns, and is there when the head
was killed, once. In a program's own session they end with it. For big values there are objects (``distpool.put``).

Calls may be made anywhere, in drivers, tasks and actors. Stands in for ``ray.experimental.internal_kv``.
"""

from __future__ import annotations

from distpool.scheduler.remote import cluster_facts

__all__ = ["compare_and_set", "delete", "get", "keys", "put"]

#: A key, with its namespace, may have so many characters; ...
KEY_CHARS_MAX = 1_000
#: ... and a value so many bytes. All of them together: ``Limits.keys_bytes_max``.
VALUE_BYTES_MAX = 1 << 20
#: Where keys are if nothing else is said.
NAMESPACE = "default"
#: How long a call waits for the head, in seconds: longer than one takes to be started again.
TIMEOUT_S = 60.0


def get(key: str, *, namespace: str = NAMESPACE, timeout: float | None = TIMEOUT_S) -> bytes | None:
    """What ``key`` holds; None if it is not there.

    Raises:
        ValueError: that can be no key, or no namespace.
        distpool.TimeoutError: the head has not answered within ``timeout`` seconds (None: wait for it).
        ClusterError: there is no cluster, or it was lost.
    """
    return cluster_facts.key_get(_name(key, namespace), timeout_s=timeout)


def put(key: str, value: bytes, *, namespace: str = NAMESPACE, timeout: float | None = TIMEOUT_S) -> None:
    """Have ``key`` hold ``value``. After a TimeoutError it may hold it, or come to do so.

    Raises:
        ValueError: that can be no key, or the value is larger than ``VALUE_BYTES_MAX``.
        TypeError: the value is not made of bytes.
        ClusterError: the head keeps as much as it may; else, and TimeoutError, as ``get``.
    """
    cluster_facts.key_put(_name(key, namespace), _checked(value), timeout_s=timeout)


def delete(key: str, *, namespace: str = NAMESPACE, timeout: float | None = TIMEOUT_S) -> bool:
    """Remove ``key``. Whether it was there. Raises as ``get`` does."""
    return cluster_facts.key_delete(_name(key, namespace), timeout_s=timeout)


def compare_and_set(
    key: str,
    expected: bytes | None,
    value: bytes,
    *,
    namespace: str = NAMESPACE,
    timeout: float | None = TIMEOUT_S,
) -> bool:
    """Have ``key`` hold ``value`` if it holds ``expected`` (None: if it is not there), in one step.

    Whether it did. Of several that expect the same, one succeeds. Raises as ``put`` does.
    """
    wanted = None if expected is None else _checked(expected)
    return cluster_facts.key_swap(_name(key, namespace), wanted, _checked(value), timeout_s=timeout)


def keys(prefix: str = "", *, namespace: str = NAMESPACE, timeout: float | None = TIMEOUT_S) -> list[str]:
    """The keys that begin with ``prefix``, in order. Raises as ``get`` does."""
    whole = _whole(prefix, namespace)
    before = len(whole) - len(prefix)
    return [key[before:] for key in cluster_facts.keys(whole, timeout_s=timeout)]


def _name(key: str, namespace: str) -> str:
    if key == "":
        raise ValueError("a key has at least one character")
    return _whole(key, namespace)


def _whole(key: str, namespace: str) -> str:
    """What the head calls it."""
    for what, text in (("key", key), ("namespace", namespace)):
        if not isinstance(text, str):
            raise TypeError(f"a {what} is a string, not {type(text).__name__}")
    if not namespace or "/" in namespace:
        raise ValueError(f"a namespace has at least one character, and no '/': {namespace!r}")
    whole = f"kv/{namespace}/{key}"
    if len(whole) > KEY_CHARS_MAX:
        raise ValueError(
            f"a key of {len(key)} characters is too long: with its namespace it may have {KEY_CHARS_MAX}"
        )
    return whole


def _checked(value: bytes) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(
            f"a value is made of bytes, not {type(value).__name__}: encode it, with pickle or json for example"
        )
    if memoryview(value).nbytes > VALUE_BYTES_MAX:
        raise ValueError(
            f"a value of {memoryview(value).nbytes} bytes is too large to keep at the head, which takes "
            f"{VALUE_BYTES_MAX}: put it into the object store (distpool.put), or into a file"
        )
    return bytes(value)
