"""Addresses of clusters: which kind is meant, and one line about those that are none."""

from __future__ import annotations

import pytest

import distpool
from distpool.scheduler import client
from distpool.scheduler.shells import bridged


@pytest.fixture(autouse=True)
def no_session() -> None:
    """Tests of other files may have left theirs."""
    client.shutdown()


@pytest.mark.parametrize("address", ["ray:auto", "ray://h:10001", "dask://h:8786", "DASK://h"])
def test_of_another_kind(address: str) -> None:
    assert bridged.is_elsewhere(address)


@pytest.mark.parametrize("address", [None, "", "auto", "local", "h:9437", "tcp://h:9437"])
def test_of_our_own(address: str | None) -> None:
    assert not bridged.is_elsewhere(address)
    assert not client.is_elsewhere(address)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("foo://h:1", ""),
        ("dsk://h:1", " (did you mean dask://?)"),
        ("rey:auto", " (did you mean ray://?)"),
        ("rays://h:1", " (did you mean ray://?)"),
    ],
)
def test_of_no_kind(address: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = address.partition(":")[0]
    text = (
        f"there is no cluster of the kind {scheme!r}{hint}: an address is ray:auto or ray://HOST:10001, "
        "dask://HOST:8786, HOST:PORT or auto"
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared as a whole
        distpool.init(address=address)
    assert str(caught.value) == text
    monkeypatch.setenv("DISTPOOL_ADDRESS", address)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        distpool.Pool(1)
    assert str(caught.value) == text


@pytest.mark.parametrize("address", ["dask://", "dask://h:x", "ray://h:99999", "dask://:5"])
def test_that_is_incomplete(address: str) -> None:
    with pytest.raises(ValueError, match=r"^the address of a (Ray|Dask) cluster is .*, not "):
        distpool.init(address=address)


@pytest.mark.parametrize("address", ["dask://127.0.0.1:1", "ray://127.0.0.1:1"])
def test_where_nobody_answers_or_the_library_is_missing(address: str) -> None:
    with pytest.raises(ConnectionError) as caught:
        distpool.init(address=address)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not distpool.is_initialized()
