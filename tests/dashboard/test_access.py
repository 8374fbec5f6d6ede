"""Who may look: every request has the token, and no page of another site can borrow it."""

from __future__ import annotations

import pytest

from distpool.commands.dashboard.access import Access, is_loopback

TOKEN = "a-token-of-24-characters"
HOST = {"host": "127.0.0.1:9438"}
ACCESS = Access(TOKEN, 9438, "127.0.0.1")


def status(path: str = "/", query: str = "", method: str = "GET", **headers: str) -> int:
    return ACCESS.check(method, path, query, {**HOST, **headers}).status


def test_the_printed_address_gives_a_cookie_and_hides_the_token() -> None:
    verdict = ACCESS.check("GET", "/", f"token={TOKEN}&x=1", HOST)
    assert (verdict.status, verdict.location) == (303, "/?x=1")
    assert verdict.cookie == f"distpool-9438={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
    assert status(cookie=f"other=1; distpool-9438={TOKEN}") == 200


@pytest.mark.parametrize("path", ["/", "/live", "/metrics", "/page/app.js", "/nothing"])
@pytest.mark.parametrize("headers", [{}, {"cookie": "distpool-9438=x"}, {"authorization": "Bearer x"}])
def test_nothing_without_it(path: str, headers: dict[str, str]) -> None:
    verdict = ACCESS.check("GET", path, "", {**HOST, **headers})
    assert verdict.status == 401
    assert "\n" not in verdict.text
    assert "address that it printed" in verdict.text


def test_a_header_does_and_a_wrong_one_is_not_saved_by_a_cookie() -> None:
    assert status(authorization=f"Bearer {TOKEN}") == 200
    assert status(authorization=f"Basic {TOKEN}") == 401
    assert status(authorization="Bearer no", cookie=f"distpool-9438={TOKEN}") == 401
    assert status(query="token=") == 401
    assert status(query=f"token={TOKEN}&token=no") == 401
    assert status(cookie=f"distpool-1={TOKEN}") == 401, "of another dashboard"
    assert status(cookie="distpool-9438=\udcff") == 401


def test_other_names_and_other_sites_are_refused() -> None:
    cookie = f"distpool-9438={TOKEN}"
    assert status(cookie=cookie, host="evil.example:9438") == 421, "a name that was made to lead here"
    assert status(cookie=cookie, host="localhost:1") == 200, "a port that is forwarded here"
    assert status(cookie=cookie, host="[::1]:9438") == 200
    assert status(cookie=cookie, origin="http://evil.example") == 403
    assert status(cookie=cookie, origin="null") == 403
    assert status(cookie=cookie, origin="http://127.0.0.1:9438") == 200
    open_ = Access(TOKEN, 9438, "0.0.0.0")
    assert open_.check("GET", "/", "", {"host": "box:9438", "cookie": cookie}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_it_only_shows(method: str) -> None:
    assert status(method=method, authorization=f"Bearer {TOKEN}") == 405


def test_the_way_back_stays_here() -> None:
    assert ACCESS.check("GET", "//evil.example/", f"token={TOKEN}", HOST).location == "/evil.example/"
    assert ACCESS.check("GET", "/\\evil.example", f"token={TOKEN}", HOST).location == "/evil.example"


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "localhost.evil.example", "")))
