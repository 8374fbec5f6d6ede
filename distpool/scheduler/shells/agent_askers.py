"""Commands that ask an agent something (``distpool status``, ``top``, ``submit``, ...), by its ROUTER or by its port.

::

    command ── Survey, FactsQuery, ... ──► from_asker ──► the node's core (and its head)
            ── Upload ───────────────────►     └──► JobProcesses
            ◄── the answer ── tell ────────────────┘

They may look, and hand in jobs where the node is a cluster's; what programs keep for themselves they do not see. A
part of ``Agent``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from distpool.scheduler.messages import (
    METRICS_PREFIX,
    FactsQuery,
    GroupQuery,
    JobQuery,
    JobsReport,
    KeyGet,
    KeyList,
    Message,
    StopJob,
    SubmitJob,
    Survey,
    Upload,
    encode,
)

if TYPE_CHECKING:
    from distpool.scheduler.shells.gateway import Gateway

_NO_CLUSTER = "jobs are for clusters (`distpool start --head`), and this is a program's own session"


class AgentAskers:
    """``feed`` gives the node's core a message; ``upload`` takes a part of an archive, and is None without jobs."""

    def __init__(
        self,
        feed: Callable[[str, Message], None],
        send_to: Callable[[bytes, Message], bool],
        gateway: Gateway | None,
        upload: Callable[[Upload], Message] | None,
    ) -> None:
        self._feed, self._send_to, self._gateway, self._upload = feed, send_to, gateway, upload

    def hear(self, way: str, name: str, message: Message) -> None:
        """A command asks, by this ``way``: "here" (the ROUTER) or "port"."""
        who = f"{way}/{name}"
        match message:
            case SubmitJob() | StopJob() | JobQuery() | Upload() if self._upload is None:
                self.tell(who, JobsReport(message.request, (), _NO_CLUSTER))
            case Upload() if self._upload is not None:
                self.tell(who, self._upload(message))
            case GroupQuery():
                self._feed(f"asker:{who}", msgspec.structs.replace(message, wait=False))
            case KeyList(prefix=about) | KeyGet(key=about) if not about.startswith(METRICS_PREFIX):
                pass  # what programs keep for themselves is no command's business
            case FactsQuery() | Survey() | KeyList() | KeyGet() | SubmitJob() | StopJob() | JobQuery():
                self._feed(f"asker:{who}", message)
            case _:
                pass  # nothing that a command may say

    def tell(self, who: str, message: Message) -> None:
        """Answer one; if it is gone, nobody misses it."""
        way, _, name = who.partition("/")
        identity = b"q:" + name.encode()
        if way != "port":
            self._send_to(identity, message)
        elif self._gateway is not None:
            self._gateway.answer(identity, encode(message))
