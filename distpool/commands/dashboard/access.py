"""Who may look: whoever has the token, in the address that was printed, in the cookie that this gives, or in a header.

::

    GET /?token=T ──► right: a cookie, and the same address without it ──► GET / with the cookie
    Authorization: Bearer T ──► Prometheus, curl
    anything else ──► 401, one line with the remedy

Pure: headers in, a verdict out. Every request is looked at, whatever it asks for. A page of another site cannot use the
cookie: what it asks for comes with its own ``Origin``, or by a name (``Host``) that is not ours.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

__all__ = ["TOKEN_CHARS_MIN", "Access", "Verdict", "is_loopback"]

TOKEN_CHARS_MIN = 16
REMEDY = (
    "this dashboard opens by the whole address that it printed when it was started, with the token in it; "
    "programs send the header `Authorization: Bearer TOKEN`"
)


@dataclass(frozen=True)
class Verdict:
    """``status`` 200: go on. 303: to ``location``, with ``cookie``. Else a refusal, for people."""

    status: int
    text: str = ""
    location: str = ""
    cookie: str = ""


ALLOWED = Verdict(200)


def is_loopback(host: str) -> bool:
    """Whether an address, or name, is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Access:
    """Decides. ``token`` is the secret, ``host`` where it listens; ``port`` tells its cookie from another one's."""

    def __init__(self, token: str, port: int, host: str) -> None:
        self._token = token.encode()
        self._cookie = f"distpool-{port}"
        self._loopback = is_loopback(host)

    def check(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Verdict:
        """May this request go on? ``headers`` have lower-case names."""
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_name_of(host)):
            return Verdict(
                421,
                f"this dashboard is not called {host[:100]!r}: use the address that it printed when it was started",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Verdict(
                403, "a page of another site may not ask this dashboard: open the address that it printed"
            )
        if method not in ("GET", "HEAD"):
            return Verdict(405, "this dashboard only shows: it understands GET, and nothing else")
        words = parse_qsl(query, keep_blank_values=True)
        given = [value for name, value in words if name == "token"]
        if given:
            if not self._is_token(given[-1]):
                return Verdict(401, f"that is not the token: {REMEDY}")
            rest = urlencode([(name, value) for name, value in words if name != "token"])
            location = "/" + path.lstrip("/\\") + (f"?{rest}" if rest else "")
            cookie = f"{self._cookie}={self._token.decode()}; Path=/; HttpOnly; SameSite=Lax"
            return Verdict(303, location=location, cookie=cookie)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if token:
            right = kind.lower() == "bearer" and self._is_token(token.strip())
        else:
            right = any(self._is_token(value) for value in _cookies(headers.get("cookie", ""), self._cookie))
        return ALLOWED if right else Verdict(401, f"no token: {REMEDY}")

    def _is_token(self, given: str) -> bool:
        """In a time that does not depend on how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)


def _name_of(host: str) -> str:
    """Without the port, and the brackets of an address of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _cookies(header: str, name: str) -> list[str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [value for key, _, value in pairs if key == name]
