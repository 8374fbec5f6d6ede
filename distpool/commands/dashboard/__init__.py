"""``distpool dashboard``: a page, live, of what a cluster or a program does; and the same facts for Prometheus.

::

    words ──► whom to ask (``finding``) ── first look ──► a socket ──► Watch, Desk ──► server ──► the address, printed

One who only asks, as all commands are: it is started and ended beside what it looks at, and nothing there notices.
"""

from __future__ import annotations

import argparse
import errno
import ipaddress
import json
import os
import secrets
import select
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from distpool.commands.finding import Parser, asker
from distpool.errors import ClusterError

__all__ = ["run"]

PORT = 9438
#: How long pages have to take their last frame, when it ends.
FAREWELL_S = 1


def run(words: Sequence[str]) -> int:
    """``distpool dashboard``."""
    parser = Parser(
        "dashboard", "Serve a page that shows, live, what a cluster or a program does. Ctrl-C ends it."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen: an address of this machine (127.0.0.1: only from here)",
    )
    parser.add_argument("--port", type=int, help=f"0 for any that is free ({PORT}, or any if that is taken)")
    parser.add_argument("--for-program", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.port is not None and not 0 <= options.port < 65536:
        parser.error(f"a port is a number from 0 to 65535, not {options.port}")
    if options.for_program:
        return _for_program(options)
    token = _token()
    _need_libraries()
    from distpool.commands.dashboard.watching import Watch

    dial = lambda: asker(options)  # noqa: E731
    watch = Watch(dial)
    try:
        watch.look_once()  # what is wrong with the address is said here
        listening = _listen(options.host, options.port)
        print(f"distpool dashboard: {_address(listening, token)}", flush=True)
        print("Who has this address sees everything there is to see. Ctrl-C ends it.", flush=True)
        _serve(watch, dial, listening, token)
    finally:
        watch.stop()
    return 0


def _for_program(options: argparse.Namespace) -> int:
    """``dashboard=True``: our parent says whom to ask, is told the address, and is all that keeps us alive."""
    from distpool.commands.dashboard.watching import Watch
    from distpool.scheduler.shells.asking import Asker

    try:
        asked = json.loads(sys.stdin.readline())
        parent = os.pidfd_open(asked["pid"])  # it waits for our first word; later its number may be another's
        token = _token()
        _need_libraries()
        dial = lambda: Asker(asked["address"], asked["secret"])  # noqa: E731
        watch = Watch(dial)
        watch.look_once()
        listening = _listen(options.host, options.port)
    except (ClusterError, OSError, ValueError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({"url": _address(listening, token)}), flush=True)
    _serve(watch, dial, listening, token, until=lambda: _wait_for_the_end_of(parent))
    return 0


def _wait_for_the_end_of(parent: int) -> None:
    """Or until it has closed its end of the pipe; a child that it has forked may keep that open."""
    told = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([told, parent], [], [])
        if parent in ready or not os.read(told, 4096):
            return


def _token() -> str:
    from distpool.commands.dashboard.access import TOKEN_CHARS_MIN

    token = os.environ.pop("DISTPOOL_DASHBOARD_TOKEN", "")
    if not token:
        return secrets.token_urlsafe(24)
    if (
        len(token) < TOKEN_CHARS_MIN
        or not token.replace("-", "").replace("_", "").isalnum()
        or not token.isascii()
    ):
        raise ValueError(
            f"DISTPOOL_DASHBOARD_TOKEN is {TOKEN_CHARS_MIN} or more letters, digits, - and _: leave it out, and one "
            "is made"
        )
    return token


def _need_libraries() -> None:
    try:
        import starlette
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"the page needs {error.name}: pip install 'distpool[dashboard]'; `distpool top` does without"
        ) from None
    assert starlette


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket. Raises OSError, with the remedy."""
    wanted = PORT if port is None else port
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise OSError(f"there is no address {host!r} here ({error.strerror}): see --host") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(place)
        listening.listen(64)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE and port is None:
            return _listen(host, 0)
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {wanted} of {host} is in use: choose another by --port, or 0 for any that is free"
            ) from None
        raise OSError(
            f"cannot listen at {host} port {wanted}: {error.strerror}: see --host and --port"
        ) from None
    return listening


def _address(listening: socket.socket, token: str) -> str:
    name, port = listening.getsockname()[:2]
    if ipaddress.ip_address(name).is_unspecified:
        name = socket.gethostname()
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/?token={token}"


def _serve(
    watch: Any,
    dial: Callable[[], Any],
    listening: socket.socket,
    token: str,
    until: Callable[[], None] | None = None,
) -> None:
    """Until Ctrl-C, SIGTERM, or ``until`` returns."""
    import uvicorn

    from distpool.commands.dashboard.access import Access
    from distpool.commands.dashboard.server import application
    from distpool.commands.dashboard.watching import Desk

    desk = Desk(dial)
    name, port = listening.getsockname()[:2]
    app = application(watch, desk, Access(token, port, name))

    class Server(uvicorn.Server):
        """Lets pages go before it waits for them."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.close()
            await super().shutdown(sockets)

    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=FAREWELL_S,
        )
    )

    def stop() -> None:
        server.should_exit = True

    watch.start()
    if until is not None:
        waits = until

        def end_with_it() -> None:
            waits()
            stop()

        threading.Thread(target=end_with_it, daemon=True).start()
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # uvicorn raises it again when it has ended
    finally:
        watch.stop()
        desk.stop()
