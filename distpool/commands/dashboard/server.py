"""The web server: a page, what it shows, and the same for Prometheus. Starlette's application; uvicorn runs it.

::

    every request ──► Access ──┬─ /, /page/...          the page, its modules and the chart library: files of ours
                               ├─ /live                 server-sent events: a frame for each look (``overview``)
                               ├─ /table/NAME           a part of a table: workers, actors, errors, objects, ...
                               ├─ /error/N /log /stack  one error with its traceback, part of a log, a worker's stack
                               ├─ /timeline             a trace for Perfetto
                               └─ /metrics              Prometheus

It only shows. A frame is made when a page has taken the one before, so a slow page gets fewer of them and nothing piles
up; how many pages may be open, and how long a question takes, is bounded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from distpool.commands.dashboard import exposition, tables
from distpool.commands.dashboard.access import Access
from distpool.commands.dashboard.overview import Snapshot, error_row, frame
from distpool.commands.dashboard.watching import Desk, Watch
from distpool.commands.finding import missing
from distpool.errors import ClusterError
from distpool.scheduler.messages import (
    METRICS_PREFIX,
    KeyAnswer,
    KeyGet,
    KeyList,
    KeysReport,
    StoreReport,
    Surveyed,
    decode,
)
from distpool.scheduler.messages.insights import LogList, LogWanted, unpack_log, unpack_logs
from distpool.scheduler.remote import records

__all__ = ["Application", "application"]

PAGE = Path(__file__).parent / "page"
PAGES_MAX = 32
#: A page that hears nothing for so long takes us for dead; so we say something.
SILENT_S = 10.0
#: Actors, and what lies in stores, are looked up this seldom.
SELDOM_S = 5.0
LOG_BYTES_MAX = 128 << 10
METRIC_KEYS_MAX = 1_000

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_json = msgspec.json.Encoder().encode


class _Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _json(content)


class _Refused(Exception):
    """Said to who asks, in a line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Feed:
    """Wakes the pages when there is a new snapshot; of the loop, but for ``news``."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self.pages = 0
        self.closed = False
        watch.on_news = self.news

    def news(self, _: Snapshot) -> None:
        """Any thread."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # closed meanwhile

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """The server ends: the pages have had their last frame."""
        self.closed = True
        self._wake()

    async def after(self, before: Snapshot | None) -> Snapshot | None:
        """A snapshot that is newer; None: there was none for ``SILENT_S``."""
        self._loop = asyncio.get_running_loop()
        news = self._news
        if (now := self._watch.published) is not None and now is not before:
            return now
        try:
            await asyncio.wait_for(news.wait(), SILENT_S)
        except TimeoutError:
            return None
        now = self._watch.published
        return now if now is not before else None

    def count(self, more: int) -> None:
        """A page has come, or gone."""
        self.pages += more
        self._watch.watched(self.pages)


def application(watch: Watch, desk: Desk, access: Access) -> Application:
    """The ASGI application."""
    views = _Views(watch, desk)
    routes = [
        Route("/", views.page),
        Route("/page/{path:path}", views.file),
        Route("/live", views.live),
        Route("/history", views.history),
        Route("/table/{name}", views.table),
        Route("/error/{number:int}", views.error),
        Route("/log", views.log),
        Route("/stack", views.stack),
        Route("/timeline", views.timeline),
        Route("/metrics", views.metrics),
    ]
    app = Starlette(routes=routes, exception_handlers=_HANDLERS)
    return Application(app, access, views.close)


class Application:
    """Asks ``Access`` about every request before anything else sees it, and sets the headers of all answers.

    ``close`` ends the answers that would go on for ever; in the loop.
    """

    def __init__(self, app: Any, access: Access, close: Callable[[], None]) -> None:
        self._app = app
        self._access = access
        self.close = close

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        verdict = self._access.check(scope["method"], scope["path"], query, headers)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                had = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in had)]
            await send(message)

        if verdict.status == 200:
            await self._app(scope, receive, send_with_headers)
        elif verdict.status == 303:
            answer: Response = RedirectResponse(verdict.location, 303, {"set-cookie": verdict.cookie})
            await answer(scope, receive, send_with_headers)
        else:
            answer = PlainTextResponse(f"distpool dashboard: {verdict.text}\n", verdict.status)
            if verdict.status == 401:
                answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, send_with_headers)


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, _Refused) else 503
    return _Json({"error": str(error)}, status)


async def _bad_question(_: Request, error: Exception) -> Response:
    return _Json({"error": str(error)}, 400)


_HANDLERS: Mapping[Any, Any] = {_Refused: _refused, ClusterError: _refused, ValueError: _bad_question}


class _Views:
    """What is answered."""

    def __init__(self, watch: Watch, desk: Desk) -> None:
        self._watch = watch
        self._desk = desk
        self._feed = _Feed(watch)
        self.close = self._feed.close

    async def page(self, _: Request) -> Response:
        """The page itself."""
        return FileResponse(PAGE / "index.html")

    async def file(self, request: Request) -> Response:
        """What the page is made of."""
        path = (PAGE / request.path_params["path"]).resolve()
        if not path.is_relative_to(PAGE) or path.suffix not in TYPES or not path.is_file():
            raise _Refused(404, "there is no such file")
        return FileResponse(path, media_type=TYPES[path.suffix])

    async def live(self, _: Request) -> Response:
        """Frames, for as long as the page is open."""
        if self._feed.pages >= PAGES_MAX:
            raise _Refused(503, f"{PAGES_MAX} pages are open already: close one")
        return StreamingResponse(self._frames(), media_type="text/event-stream")

    async def _frames(self) -> AsyncIterator[bytes]:
        before: Snapshot | None = None
        self._feed.count(+1)
        try:
            while not self._feed.closed:
                now = await self._feed.after(before)
                if now is None:
                    yield b": nothing new\n\n"
                    continue
                yield b"data: " + await run_in_threadpool(self._frame, now, before) + b"\n\n"
                before = now
        finally:
            self._feed.count(-1)

    def _frame(self, now: Snapshot, before: Snapshot | None) -> bytes:
        with self._watch.lock:
            told = frame(self._watch.chronicle, now, before)
        return _json(told)

    async def history(self, request: Request) -> Response:
        """The numbers of the last ``seconds``, thinned."""
        seconds = request.query_params.get("seconds", "600")
        if not (seconds.isdecimal() and 0 < int(seconds) <= 86_400):
            raise ValueError(f"seconds is a whole number from 1 to 86400, not {seconds[:40]!r}")
        with self._watch.lock:
            since_s = self._watch.chronicle.day_s - int(seconds)
            return _Json(self._watch.chronicle.history.columns(since_s))

    async def table(self, request: Request) -> Response:
        """A part of a table."""
        wanted = tables.wanted_of(request.query_params)
        return _Json(await run_in_threadpool(self._table, request.path_params["name"], wanted))

    def _table(self, name: str, wanted: tables.Wanted) -> dict[str, Any]:
        chronicle, said = self._watch.chronicle, []
        self._watch.asked()
        if name in tables.TABLES:
            with self._watch.lock:
                rows = tables.TABLES[name](chronicle)
        elif name == "actors":
            surveyed = self._desk.survey("actors", kept_s=SELDOM_S)
            said = missing(surveyed)
            told = [records.decode(answer) for node in surveyed.nodes for answer in node.answers]
            with self._watch.lock:
                rows = tables.actor_rows(told, chronicle)
        elif name in ("objects", "holders"):
            surveyed = self._desk.survey("store", kept_s=SELDOM_S, owners=False)
            said = missing(surveyed)
            reports = _reports(surveyed)
            rows = tables.object_rows(reports) if name == "objects" else tables.holder_rows(reports)
        elif name == "logs":
            surveyed = self._desk.survey("logs", owners=False)
            lists = {node.node: _logs(node.own) for node in surveyed.nodes}
            rows = tables.log_rows(lists)
            said = missing(surveyed) + [
                f"node {node} has no logs: what is printed there goes where the output of process {told.elsewhere} goes"
                for node, told in lists.items()
                if told.elsewhere
            ]
        else:
            raise _Refused(404, f"there is no table {name[:40]!r}")
        return {**tables.cut(rows, wanted), "said": said}

    async def error(self, request: Request) -> Response:
        """A call that has failed, with its traceback."""
        number = request.path_params["number"]
        with self._watch.lock:
            found = next((e for e in self._watch.chronicle.errors if e.number == number), None)
        if found is None:
            raise _Refused(404, "that error is not known any more: the latest 1,000 are")
        return _Json(error_row(found, whole=True))

    async def log(self, request: Request) -> Response:
        """Part of a log: from ``offset`` on, or its end."""
        query = request.query_params
        node, worker, offset = query.get("node", ""), query.get("worker", "0"), query.get("offset", "-1")
        if not (worker.isdecimal() and offset.removeprefix("-").isdecimal()):
            raise ValueError("a log is named by node=NAME&worker=NUMBER, and offset is a whole number")
        return _Json(await run_in_threadpool(self._log, node, int(worker), int(offset)))

    def _log(self, node: str, worker: int, offset: int) -> dict[str, Any]:
        about = json.dumps([worker, offset, LOG_BYTES_MAX])
        assert msgspec.json.decode(about, type=LogWanted)
        surveyed = self._desk.survey("logs", kept_s=0.0, owners=False, node=node, about=about)
        if surveyed.missing or not surveyed.nodes or not surveyed.nodes[0].own:
            raise _Refused(503, "; ".join(missing(surveyed)) or f"node {node} cannot read that log")
        part = unpack_log(surveyed.nodes[0].own)
        if part.refusal:
            raise _Refused(404, part.refusal)
        return {
            "offset": part.offset,
            "next": part.offset + len(part.data),
            "size": part.size,
            "ended": part.ended,
            "text": part.data.decode("utf-8", "replace"),
        }

    async def stack(self, request: Request) -> Response:
        """Where a worker is in its Python code."""
        node, worker = request.query_params.get("node", ""), request.query_params.get("worker", "")
        if not worker.isdecimal():
            raise ValueError("a stack is asked for by node=NAME&worker=NUMBER")
        return _Json({"lines": await run_in_threadpool(self._stack, node, int(worker))})

    def _stack(self, node: str, worker: int) -> list[str]:
        from distpool.commands.stack import describe

        known = self._watch.chronicle.workers.get(f"{node}/{worker}")
        if known is None:
            raise _Refused(404, f"there is no worker {worker} on node {node[:100]!r}")
        surveyed = self._desk.survey(
            "stacks", kept_s=0.0, workers=True, owners=False, node=node, only=(worker,)
        )
        return list(describe(surveyed, {known.pid})) or missing(surveyed)

    async def timeline(self, _: Request) -> Response:
        """What ran where and when, as a file for Perfetto."""
        text = await run_in_threadpool(self._timeline)
        headers = {"content-disposition": 'attachment; filename="timeline.json"'}
        return Response(text, media_type="application/json", headers=headers)

    def _timeline(self) -> bytes:
        from distpool.timelines import events_of

        return _json(list(events_of(self._desk.survey("timeline", kept_s=0.0, workers=True, owners=False))))

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(
            await run_in_threadpool(self._metrics), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    def _metrics(self) -> str:
        self._watch.asked()
        of_programs = self._of_programs()
        with self._watch.lock:
            return exposition.text_of(self._watch.chronicle, of_programs)

    def _of_programs(self) -> list[Any]:
        from distpool.util import metrics_sharing as sharing

        by_process = {}
        for node in self._desk.survey("metrics").nodes:
            for answer in node.answers:
                process, blob = sharing.told(answer)
                by_process[process] = sharing.unpacked(blob)
        for key in self._desk.ask(KeyList(0, METRICS_PREFIX), KeysReport).keys[:METRIC_KEYS_MAX]:
            blob_ = self._desk.ask(KeyGet(0, key), KeyAnswer).value
            if blob_ is not None:
                by_process.setdefault(key.removeprefix(METRICS_PREFIX), sharing.unpacked(blob_))
        return sharing.merged(by_process)


def _reports(surveyed: Surveyed) -> list[StoreReport]:
    found: list[StoreReport] = []
    for node in surveyed.nodes:
        if node.own:
            report = decode(node.own)
            assert isinstance(report, StoreReport)
            found.append(report)
    return found


def _logs(own: bytes) -> LogList:
    return unpack_logs(own) if own else LogList(())
